package filter_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/wire"
)

// BenchmarkStore is what a filter costs for each row of a space of 20,000 with 384 components, in nanoseconds: the first time,
// when every row is read from the row log and asked about, and when what was found out is known.
func BenchmarkStore(b *testing.B) {
	const n, dim = 20_000, 384
	s, _, err := vecstore.Open(b.TempDir(), vecstore.Source{Epoch: "e", CreatedAt: 1}, vecstore.Options{GraphRows: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}()
	app := s.Appender()
	add := func(e *vecstore.Event) {
		if err := app.Add(e); err != nil {
			b.Fatal(err)
		}
		if err := app.Flush(); err != nil {
			b.Fatal(err)
		}
		if e.Kind == vecstore.KindObserve {
			if _, err := s.Apply([]*vecstore.Event{e}, e.Sequence); err != nil {
				b.Fatal(err)
			}
		}
	}
	add(&vecstore.Event{Sequence: 1, Kind: vecstore.KindDefine, Space: "s", Definition: &vecstore.Definition{Name: "s", Dimension: dim, Metric: vecstore.Cosine, Generation: 1}})
	vector := make([]float32, dim)
	for i := range n {
		for j := range vector {
			vector[j] = float32(math.Sin(float64(i*dim + j)))
		}
		o := observation()
		o.Metadata, _ = wire.MetadataFrom(map[string]any{"service": fmt.Sprint("s", i%100), "attempt": i % 7})
		row, err := proto.Marshal(o)
		if err != nil {
			b.Fatal(err)
		}
		add(&vecstore.Event{Sequence: uint64(i + 2), Kind: vecstore.KindObserve, Space: "s", ID: fmt.Sprint(i), Vector: event.AppendF32(nil, vector), Body: row})
	}
	f, err := compiler(b).Compile(`metadata.service == "s7" && metadata.attempt > 2`)
	if err != nil {
		b.Fatal(err)
	}
	keys := 0
	search := func(filter *vecstore.Filter) time.Duration {
		start := time.Now()
		if _, err := s.Search("s", vecstore.Query{Vector: vector, K: 10, MinScore: float32(math.Inf(-1)), Now: start, Filter: filter, OmitVectors: true}); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	match := func(row *vecstore.Row) (bool, error) { return f.Match(row.ID, row.Body) }
	for name, filtered := range map[string]func() *vecstore.Filter{
		"none":  func() *vecstore.Filter { return nil },
		"new":   func() *vecstore.Filter { keys++; return &vecstore.Filter{Key: fmt.Sprint(keys), Match: match} },
		"known": func() *vecstore.Filter { return &vecstore.Filter{Key: "known", Match: match} },
	} {
		b.Run(name, func(b *testing.B) {
			search(filtered())
			var took time.Duration
			for b.Loop() {
				took += search(filtered())
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64(b.N)/n, "ns/row")
		})
	}
}
