package storetest

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore"
)

func testList(t *testing.T, f Factory) {
	h := newHarness(t, f)
	h.take(h.define("s", 2, vecstore.L2, 1))
	applied := h.shard.Appended()
	var events []*vecstore.Event
	for i := range 30 {
		events = append(events, h.observe("s", fmt.Sprint(i%25), h.vector(2)))
	}
	h.add(events...)
	h.rng.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	for _, e := range events {
		h.apply(applied, e) // newest first is about sequences, not about when they were applied
	}
	for _, limit := range []int{1, 7, 24, 25, 26} {
		var got []string
		before := uint64(0)
		for page := 0; ; page++ {
			rows, more, err := h.shard.List("s", before, limit, vecstore.At{Now: h.now})
			if err != nil || len(rows) > limit || len(rows) == 0 {
				t.Fatalf("page %d of %d = %d rows, %v", page, limit, len(rows), err)
			}
			for _, row := range rows {
				if before != 0 && row.Sequence >= before {
					t.Fatalf("sequence %d is listed before %d", row.Sequence, before)
				}
				before = row.Sequence
				got = append(got, row.ID)
			}
			if more != (len(got) < 25) {
				t.Fatalf("more is %t after %d of 25 rows", more, len(got))
			}
			if !more {
				break
			}
		}
		if want := "4 3 2 1 0 24 23 22 21 20 19 18 17 16 15 14 13 12 11 10 9 8 7 6 5"; strings.Join(got, " ") != want {
			t.Fatalf("pages of %d give %q", limit, got)
		}
	}
	for _, limit := range []int{0, -1} {
		if rows, more, err := h.shard.List("s", 0, limit, vecstore.At{Now: h.now}); err != nil || len(rows) != 0 || !more {
			t.Errorf("List with limit %d = %d rows, %t, %v", limit, len(rows), more, err)
		}
	}
	h.settle()
}

func testGet(t *testing.T, f Factory) {
	h := newHarness(t, f)
	h.fill("s", 3, 5, vecstore.Cosine)
	h.take(h.observe("s", "", h.vector(3)), h.observe("s", strings.Repeat("long", 64), h.vector(3)))
	for ids, want := range map[string]string{"1,0": "1,0", "nobody": "", "4,nobody,2": "4,2", "3,": "3,"} {
		rows, err := h.shard.Get("s", strings.Split(ids, ","), vecstore.At{Now: h.now})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, row := range rows {
			h.checkRow("s", row, h.model.spaces["s"].rows[row.ID])
			got = append(got, row.ID)
		}
		if strings.Join(got, ",") != want {
			t.Errorf("Get(%q) = %q, want %q", ids, got, want)
		}
	}
	// What Get returns is the caller's: writing to it changes no later answer.
	rows, err := h.shard.Get("s", []string{"1"}, vecstore.At{Now: h.now})
	if err != nil {
		t.Fatal(err)
	}
	clear(rows[0].Vector)
	clear(rows[0].Body)
	h.settle()
}

// testForms checks that a vector comes back as exactly as the form that the space keeps it in promises, by every read.
func testForms(t *testing.T, f Factory) {
	h := newHarness(t, f)
	const dim = 37
	h.take(h.define("s", dim, vecstore.L2, 1))
	least := float32(math.Inf(-1))
	for i := range 40 {
		v := h.vector(dim)
		largest := float64(0)
		for j := range v {
			v[j] *= float32(math.Pow(10, float64(i%7-3)))
			largest = max(largest, math.Abs(float64(v[j])))
		}
		id := fmt.Sprint(i)
		h.take(h.observe("s", id, v))
		res, err := h.shard.Search("s", vecstore.Query{Vector: v, K: 1, MinScore: least, Now: h.now})
		got, gerr := h.shard.Get("s", []string{id}, vecstore.At{Now: h.now})
		list, _, lerr := h.shard.List("s", 0, 1, vecstore.At{Now: h.now})
		if err := errors.Join(err, gerr, lerr); err != nil {
			t.Fatal(err)
		}
		for _, row := range append(append(res.Rows, got...), list...) {
			if row.ID != id {
				t.Fatalf("%q is found where %q is", row.ID, id)
			}
			for j, x := range unpack(row.Vector) {
				miss := math.Abs(float64(x) - float64(v[j]))
				limit := map[vecstore.Vectors]float64{
					vecstore.VectorsF16:  math.Abs(float64(v[j]))/(1<<11) + 1.0/(1<<25), // half of the last bit
					vecstore.VectorsNone: largest/254 + 1e-6*largest,                    // half a step
				}[f.Vectors]
				if miss > limit {
					t.Fatalf("%g comes back as %g, which may be %g away", v[j], x, limit)
				}
			}
		}
		if res.Exact != (f.Vectors != vecstore.VectorsNone) && f.Engine == vecstore.EngineExact {
			t.Fatalf("an answer from form %d says of itself that it is exact: %t", f.Vectors, res.Exact)
		}
	}
	h.settle()
}

// testRefusals checks that a refused event leaves nothing behind, in memory or on disk.
func testRefusals(t *testing.T, f Factory) {
	h := newHarness(t, f)
	h.fill("s", 4, 5, vecstore.Cosine)
	size := h.shard.LogBytes()
	definition := func(change func(*vecstore.Definition)) vecstore.Event {
		d := vecstore.Definition{Name: "new", Dimension: 4, Metric: vecstore.Dot, Generation: 1, Engine: f.Engine}
		change(&d)
		return vecstore.Event{Kind: vecstore.KindDefine, Space: "new", Definition: &d}
	}
	v := pack([]float32{1, 2, 3, 4})
	for name, test := range map[string]struct {
		event vecstore.Event
		want  error
	}{
		"observe: short":            {vecstore.Event{Kind: vecstore.KindObserve, Space: "s", ID: "x", Vector: v[:12]}, vecstore.ErrDimension},
		"observe: long":             {vecstore.Event{Kind: vecstore.KindObserve, Space: "s", ID: "x", Vector: append(v, v...)}, vecstore.ErrDimension},
		"observe: half a number":    {vecstore.Event{Kind: vecstore.KindObserve, Space: "s", ID: "x", Vector: v[:15]}, vecstore.ErrDimension},
		"observe: none":             {vecstore.Event{Kind: vecstore.KindObserve, Space: "s", ID: "x"}, vecstore.ErrDimension},
		"observe: unknown space":    {vecstore.Event{Kind: vecstore.KindObserve, Space: "t", ID: "x", Vector: v}, vecstore.ErrUnknownSpace},
		"observe: body":             {vecstore.Event{Kind: vecstore.KindObserve, Space: "s", ID: "x", Vector: v, Body: make([]byte, 2<<20)}, vecstore.ErrTooLarge},
		"observe: id":               {vecstore.Event{Kind: vecstore.KindObserve, Space: "s", ID: strings.Repeat("x", 1<<16), Vector: v}, vecstore.ErrTooLarge},
		"forget: unknown space":     {vecstore.Event{Kind: vecstore.KindForget, Space: "t", IDs: []string{"0"}}, vecstore.ErrUnknownSpace},
		"forget: endless id":        {vecstore.Event{Kind: vecstore.KindForget, Space: "s", IDs: []string{strings.Repeat("x", 2<<20)}}, vecstore.ErrTooLarge},
		"define: nothing":           {vecstore.Event{Kind: vecstore.KindDefine, Space: "new"}, vecstore.ErrDefinition},
		"define: no dimension":      {definition(func(d *vecstore.Definition) { d.Dimension = 0 }), vecstore.ErrDefinition},
		"define: endless dimension": {definition(func(d *vecstore.Definition) { d.Dimension = math.MaxUint32 }), vecstore.ErrDefinition},
		"define: no metric":         {definition(func(d *vecstore.Definition) { d.Metric = 0 }), vecstore.ErrDefinition},
		"define: unknown metric":    {definition(func(d *vecstore.Definition) { d.Metric = 4 }), vecstore.ErrDefinition},
		"define: unknown engine":    {definition(func(d *vecstore.Definition) { d.Engine = "perpetuum" }), vecstore.ErrDefinition},
		"define: unknown form":      {definition(func(d *vecstore.Definition) { d.Vectors = 3 }), vecstore.ErrDefinition},
		"define: endless name":      {definition(func(d *vecstore.Definition) { d.Embedder = strings.Repeat("x", 2<<20) }), vecstore.ErrTooLarge},
		"kind 0":                    {vecstore.Event{Space: "s"}, vecstore.ErrDefinition},
		"kind 5":                    {vecstore.Event{Kind: 5, Space: "s"}, vecstore.ErrDefinition},
	} {
		e := h.event(test.event)
		if err := h.shard.Appender().Add(e); !errors.Is(err, test.want) {
			t.Errorf("%s: Add = %v, want %v", name, err, test.want)
		}
		if e.SpaceKey() != nil {
			t.Errorf("%s: the refused event has a SpaceKey", name)
		}
		if n, err := h.shard.Apply([]*vecstore.Event{e}, 0); n != 0 || !errors.Is(err, vecstore.ErrUnknownSpace) {
			t.Errorf("%s: Apply of the refused event = %d, %v; want ErrUnknownSpace", name, n, err)
		}
	}
	h.flush()
	if h.shard.LogBytes() != size {
		t.Errorf("refused events made the row log grow from %d to %d bytes", size, h.shard.LogBytes())
	}
	if h.shard.Appended() != h.seq {
		t.Errorf("Appended() = %d after refused events, want %d: they count as passed", h.shard.Appended(), h.seq)
	}
	h.wantUnknown("new")
	h.wantUnknown("t")
	h.check()
	h.take(h.observe("s", "after", h.vector(4)))
	h.settle()
}

func testOddQueries(t *testing.T, f Factory) {
	h := newHarness(t, f)
	h.fill("s", 4, 5, vecstore.Cosine)
	h.take(h.define("empty", 4, vecstore.L2, 1), h.define("other", 4, vecstore.L2, 1), h.observe("other", "elsewhere", h.vector(4)))
	nan := []float32{float32(math.NaN()), 0, 0, 1}
	least := float32(math.Inf(-1))
	for name, test := range map[string]struct {
		space string
		query vecstore.Query
		hits  int
		want  error
	}{
		"k 0":                  {"s", vecstore.Query{Vector: h.vector(4), MinScore: least}, 0, nil},
		"k below 0":            {"s", vecstore.Query{Vector: h.vector(4), K: -3, MinScore: least}, 0, nil},
		"k 0 by id":            {"s", vecstore.Query{ID: "1", MinScore: least}, 0, nil},
		"k below 0 by id":      {"s", vecstore.Query{ID: "1", K: math.MinInt, MinScore: least}, 0, nil},
		"k endless":            {"s", vecstore.Query{Vector: h.vector(4), K: math.MaxInt, MinScore: least}, 5, nil},
		"k endless by id":      {"s", vecstore.Query{ID: "1", K: math.MaxInt, MinScore: least}, 4, nil},
		"min_score NaN":        {"s", vecstore.Query{Vector: h.vector(4), K: 3, MinScore: nan[0]}, 0, nil},
		"vector NaN":           {"s", vecstore.Query{Vector: nan, K: 3, MinScore: least}, 0, nil},
		"vector short":         {"s", vecstore.Query{Vector: h.vector(3), K: 3}, 0, vecstore.ErrDimension},
		"vector long":          {"s", vecstore.Query{Vector: h.vector(5), K: 3}, 0, vecstore.ErrDimension},
		"vector empty":         {"s", vecstore.Query{Vector: []float32{}, K: 3}, 0, vecstore.ErrDimension},
		"id unknown":           {"s", vecstore.Query{ID: "nobody", K: 3}, 0, vecstore.ErrNotFound},
		"id of another space":  {"s", vecstore.Query{ID: "elsewhere", K: 3}, 0, vecstore.ErrNotFound},
		"space unknown":        {"t", vecstore.Query{Vector: h.vector(4), K: 3}, 0, vecstore.ErrUnknownSpace},
		"space empty":          {"empty", vecstore.Query{Vector: h.vector(4), K: 3, MinScore: least}, 0, nil},
		"space empty by an id": {"empty", vecstore.Query{ID: "1", K: 3, MinScore: least}, 0, vecstore.ErrNotFound},
	} {
		test.query.Now = h.now
		res, err := h.shard.Search(test.space, test.query)
		if !errors.Is(err, test.want) || len(res.Rows) != test.hits {
			t.Errorf("%s: %d hits, %v; want %d, %v", name, len(res.Rows), err, test.hits, test.want)
		}
	}
	a, b := h.observe("s", "a", h.vector(4)), h.observe("other", "b", h.vector(4))
	h.add(a, b)
	if n, err := h.shard.Apply([]*vecstore.Event{a, b}, 0); n != 1 || !errors.Is(err, vecstore.ErrUnknownSpace) {
		t.Errorf("Apply of two spaces at once = %d, %v; want 1 and ErrUnknownSpace", n, err)
	}
	h.apply(0, b)
	h.settle()
}

func testClosed(t *testing.T, f Factory) {
	for name, end := range map[string]func(*vecstore.Shard) error{"Close": (*vecstore.Shard).Close, "Abandon": (*vecstore.Shard).Abandon} {
		h := newHarness(t, f)
		h.fill("s", 4, 5, vecstore.Cosine)
		s, late := h.shard, h.observe("s", "late", h.vector(4))
		for range 2 { // once more changes nothing
			if err := end(s); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		_, serr := s.Search("s", vecstore.Query{Vector: h.vector(4), K: 1, Now: h.now})
		_, gerr := s.Get("s", []string{"1"}, vecstore.At{Now: h.now})
		_, _, lerr := s.List("s", 0, 1, vecstore.At{Now: h.now})
		if err := s.Appender().Add(late); err != nil {
			t.Errorf("Add, which writes nothing, = %v after %s", err, name)
		}
		for call, err := range map[string]error{
			"Search": serr, "Get": gerr, "List": lerr, "Flush": s.Appender().Flush(), "Checkpoint": s.Checkpoint(h.now),
		} {
			if !errors.Is(err, vecstore.ErrClosed) {
				t.Errorf("%s after %s = %v, want ErrClosed", call, name, err)
			}
		}
		h.kill()
		h.check()
	}
}
