package vecstore

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/hnsw"
)

// scrubbedShard has one space whose columns have a full chunk.
func scrubbedShard(t *testing.T) (*Shard, *graph) {
	t.Helper()
	const dim = 8
	s, _, err := Open(t.TempDir(), Source{Epoch: "scrub", CreatedAt: 1}, Options{
		Graph: hnsw.Config{M: 4, EfConstruction: 8}, GraphRows: 256,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Abandon(); err != nil {
			t.Error(err)
		}
	})
	rng := rand.New(rand.NewPCG(1, 2))
	sequence := uint64(1)
	take := func(events ...*Event) {
		t.Helper()
		for _, e := range events {
			if err := s.Appender().Add(e); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Appender().Flush(); err != nil {
			t.Fatal(err)
		}
		if events[0].SpaceKey() == nil {
			return
		}
		if _, err := s.Apply(events, sequence-uint64(len(events))); err != nil {
			t.Fatal(err)
		}
	}
	d := &Definition{Name: "s", Dimension: dim, Metric: L2, Generation: 1}
	take(&Event{Sequence: sequence, Kind: KindDefine, Space: "s", Definition: d})
	rows := int(s.spaces["s"].codec.layout(s.opt.Graph).ChunkRows())
	for made := 0; made < rows; {
		var events []*Event
		for range min(4096, rows-made) {
			sequence++
			v := make([]float32, dim)
			for i := range v {
				v[i] = float32(rng.NormFloat64())
			}
			events = append(events, &Event{
				Sequence: sequence, Kind: KindObserve, Space: "s", ID: fmt.Sprint(sequence), Vector: event.AppendF32(nil, v),
			})
		}
		take(events...)
		made += len(events)
	}
	if err := s.Link(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	x, ok := s.spaces["s"].graph()
	if !ok || int(x.linked()) != rows {
		t.Fatal("the space has no full graph")
	}
	return s, x
}

// overwrite changes a byte of a file that is in use.
func overwrite(t *testing.T, path string, offset int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, offset); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, offset); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestScrubberFindsDamagedColumns(t *testing.T) {
	s, x := scrubbedShard(t)
	for range 20 {
		if err := s.scrub(context.Background(), time.Now()); err != nil {
			t.Fatalf("with nothing wrong: %v", err)
		}
	}
	before := x.file.Path()
	overwrite(t, before, 65536+100*64) // the header, and then the codes of the first chunk
	var err error
	for range 20 {
		if err = s.scrub(context.Background(), time.Now()); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "codes") {
		t.Fatalf("a changed code was found as %v", err)
	}
	after, ok := s.spaces["s"].graph()
	if !ok || after.file.Path() == before || after.linked() < x.linked()-blockRows {
		t.Fatal("the graph was not built again")
	}
	if _, err := os.Stat(before); !os.IsNotExist(err) {
		t.Errorf("the damaged file: %v, want it gone", err)
	}
	if _, err := os.Stat(before + asideMark); err != nil {
		t.Errorf("the damaged file was not set aside: %v", err)
	}
	q := Query{Vector: make([]float32, 8), K: 10, MinScore: float32(math.Inf(-1)), Now: time.Now()}
	if res, err := s.Search("s", q); err != nil || len(res.Rows) != 10 {
		t.Errorf("a search finds %d rows, %v", len(res.Rows), err)
	}
}

func TestScrubberFindsDamagedRecords(t *testing.T) {
	s, _ := scrubbedShard(t)
	overwrite(t, filepath.Join(s.dir, "rows-00000001.seg"), 1<<20)
	var err error
	for range 100 {
		if err = s.scrub(context.Background(), time.Now()); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "row log") {
		t.Fatalf("a changed record was found as %v", err)
	}
}
