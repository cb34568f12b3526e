package vecstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// A walk has the observations of a moment once, in the order that is asked for and between two sequences, also while the
// space is compacted under it.
func TestWalk(t *testing.T) {
	s, _ := open(t, "shard", vecstore.Options{FS: vfs.NewMem(), KeepVersions: time.Hour})
	h := newHistory(82)
	h.define(vecstore.Definition{Name: "s", Dimension: 4, Metric: vecstore.L2})
	for i := range 50 {
		h.observe("s", fmt.Sprint(i%40), h.vector(4)) // the first ten are replaced
	}
	feed(t, s, h, h.last())
	s.Applied(h.last())
	last := h.last()
	walk := func(w vecstore.Walk, each func(n int)) (ids []string) {
		t.Helper()
		err := s.Walk(context.Background(), "s", w, func(row *vecstore.Row, load func() (vecstore.Row, error)) (bool, error) {
			whole, err := load()
			if whole.ID != row.ID || len(whole.Vector) != 16 || row.Vector != nil {
				t.Errorf("%+v is loaded as %+v", row, whole)
			}
			ids = append(ids, row.ID)
			if each != nil {
				each(len(ids))
			}
			return len(ids) < 1000, err
		})
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	now := vecstore.At{Now: testNow}
	up := walk(vecstore.Walk{Ascending: true, At: now}, nil)
	down := walk(vecstore.Walk{At: now}, nil)
	slices.Reverse(down)
	if len(up) != 40 || !slices.Equal(up, down) || up[0] != "10" || up[39] != "9" {
		t.Errorf("up %q, down %q", up, down)
	}
	if got := walk(vecstore.Walk{Ascending: true, Above: last - 10, Below: last - 5, At: now}, nil); strings.Join(got, " ") != "0 1 2 3" {
		t.Errorf("between two sequences: %q", got)
	}
	if got := walk(vecstore.Walk{Ascending: true, At: vecstore.At{Now: testNow, AsOf: last - 10}}, nil); len(got) != 40 || got[0] != "0" {
		t.Errorf("as of a position: %q", got)
	}
	moving := walk(vecstore.Walk{Ascending: true, At: now}, func(n int) {
		if n == 20 {
			if _, err := s.Erase(context.Background(), "s"); err != nil {
				t.Error(err)
			}
		}
	})
	if !slices.Equal(moving, up) {
		t.Errorf("while the space is compacted: %q", moving)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Walk(ended, "s", vecstore.Walk{At: now}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a walk that nobody waits for: %v", err)
	}
	if err := s.Walk(context.Background(), "s", vecstore.Walk{At: vecstore.At{Now: testNow, AsOf: 3}}, nil); !errors.Is(err, vecstore.ErrGone) {
		t.Errorf("as of what is gone: %v", err)
	}
	if err := s.Walk(context.Background(), "nobody", vecstore.Walk{At: now}, nil); !errors.Is(err, vecstore.ErrUnknownSpace) {
		t.Errorf("an unknown space: %v", err)
	}
}

// A filter that fails ends the search with its error, and is asked again by the next one.
func TestFilterFails(t *testing.T) {
	s, _ := open(t, "shard", vecstore.Options{FS: vfs.NewMem()})
	h := newHistory(83)
	h.define(vecstore.Definition{Name: "s", Dimension: 4, Metric: vecstore.L2})
	for i := range 10 {
		h.observe("s", fmt.Sprint(i), h.vector(4))
	}
	feed(t, s, h, h.last())
	wrong := errors.New("too costly")
	fails := true
	filter := &vecstore.Filter{Key: "fails", Match: func(row *vecstore.Row) (bool, error) {
		if fails && row.ID == "5" {
			return false, wrong
		}
		return true, nil
	}}
	q := vecstore.Query{Vector: make([]float32, 4), K: everything, MinScore: anyScore, Now: testNow, Filter: filter}
	if _, err := s.Search("s", q); !errors.Is(err, wrong) {
		t.Fatalf("%v", err)
	}
	fails = false
	if res, err := s.Search("s", q); err != nil || len(res.Rows) != 10 {
		t.Errorf("%d rows, %v", len(res.Rows), err)
	}
}

// A forget of more ids than a record holds takes effect as a whole, also where the shard is opened again.
func TestForgetOfVeryMany(t *testing.T) {
	const rows = 12_000
	mem := vfs.NewMem()
	opt := vecstore.Options{FS: mem}
	s, _ := open(t, "shard", opt)
	h := newHistory(84)
	h.define(vecstore.Definition{Name: "s", Dimension: 1, Metric: vecstore.L2})
	var ids []string
	long := strings.Repeat("x", 200)
	for i := range rows {
		ids = append(ids, fmt.Sprint(long, i))
		h.observe("s", ids[i], h.vector(1))
	}
	h.observe("s", "kept", h.vector(1))
	h.forget("s", ids...)
	feed(t, s, h, h.last())
	for range 2 {
		var left []string
		err := s.Walk(context.Background(), "s", vecstore.Walk{At: vecstore.At{Now: testNow}}, func(row *vecstore.Row, _ func() (vecstore.Row, error)) (bool, error) {
			left = append(left, row.ID)
			return true, nil
		})
		if err != nil || !slices.Equal(left, []string{"kept"}) || s.Appended() != h.last() {
			t.Fatalf("%d are left, appended %d of %d: %v", len(left), s.Appended(), h.last(), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, _ = open(t, "shard", opt)
	}
}

// What is looked for is found in each place until it is erased, and what came behind the forget is not meant.
func TestLook(t *testing.T) {
	s, _ := open(t, "shard", vecstore.Options{FS: vfs.NewMem(), KeepVersions: time.Hour, GraphRows: 200, TailRows: 10})
	h := newHistory(85)
	h.define(vecstore.Definition{Name: "s", Dimension: 4, Metric: vecstore.L2})
	for i := range 600 {
		h.observe("s", fmt.Sprint(i), h.vector(4))
	}
	h.forget("s", "7", "8")
	forget := h.last()
	h.observe("s", "8", h.vector(4))
	feed(t, s, h, h.last())
	s.Applied(h.last())
	must(t, s.Link(context.Background(), "s"))
	look := func() map[string]uint64 {
		t.Helper()
		found, err := s.Look(context.Background(), "s", vecstore.Forgotten{IDs: []string{"7", "8"}, Sequence: forget, Traces: [][]byte{[]byte("no such bytes")}})
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]uint64{}
		for _, f := range found {
			if all[f.Place] = f.Found; f.Items == 0 {
				t.Errorf("%s: nothing was looked at", f.Place)
			}
		}
		return all
	}
	if got := look(); got["row log"] != 2 || got["index"] != 0 || got["columns"] != 2 || got["files"] != 0 {
		t.Errorf("before: %v", got)
	}
	if _, err := s.Erase(context.Background(), "s"); err != nil {
		t.Fatal(err)
	}
	if got := look(); got["row log"]+got["index"]+got["columns"]+got["files"] != 0 {
		t.Errorf("after: %v", got)
	}
}
