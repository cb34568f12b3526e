package vecstore

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const benchDim, benchRows = 768, 10_000

// benchEvents makes observations of space s from a sequence on, with a body of 200 bytes each.
func benchEvents(sequence uint64, n int) []*Event {
	rng := rand.New(rand.NewPCG(5, 6))
	body := make([]byte, 200)
	events := make([]*Event, n)
	for i := range events {
		v := make([]byte, 0, benchDim*4)
		for range benchDim {
			v = binary.LittleEndian.AppendUint32(v, math.Float32bits(float32(rng.NormFloat64())))
		}
		events[i] = &Event{
			Sequence: sequence + uint64(i), Kind: KindObserve, Space: "s", ID: fmt.Sprint("observation-", i), Vector: v, Body: body,
		}
	}
	return events
}

// benchShard is a shard with a cosine space s, defined by event 1.
func benchShard(b *testing.B, dir string) *Shard {
	s := openTest(b, dir, Options{})
	define := defineTest(1, "s", benchDim)
	define.Definition.Metric = Cosine
	put(b, s, define)
	return s
}

func reportRows(b *testing.B, rows int) {
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkAppend adds and flushes batches of 500 rows, without and with a checkpoint behind each.
func BenchmarkAppend(b *testing.B) {
	for _, checkpoint := range []bool{false, true} {
		b.Run(fmt.Sprintf("checkpoint=%t", checkpoint), func(b *testing.B) {
			s := benchShard(b, b.TempDir())
			events := benchEvents(0, 500)
			before := s.LogBytes()
			sequence := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				for _, e := range events {
					sequence++
					e.Sequence = sequence
					if err := s.Appender().Add(e); err != nil {
						b.Fatal(err)
					}
				}
				if err := s.Appender().Flush(); err != nil {
					b.Fatal(err)
				}
				if checkpoint {
					checkpointTest(b, s)
				}
			}
			b.SetBytes((s.LogBytes() - before) / int64(b.N))
			reportRows(b, len(events))
		})
	}
}

// BenchmarkApply makes batches of 500 rows searchable in the exact index.
func BenchmarkApply(b *testing.B) {
	s := benchShard(b, b.TempDir())
	events := benchEvents(2, benchRows)
	put(b, s, events[0])
	sp, _ := s.space("s")
	for _, e := range events {
		e.space, e.ref = sp, events[0].ref
	}
	b.ReportAllocs()
	for next := benchRows; b.Loop(); next += 500 {
		if next == benchRows { // begin again, since memory is not endless
			b.StopTimer()
			next = 0
			fresh, err := newSpace(sp.def, sp.number)
			if err != nil {
				b.Fatal(err)
			}
			for _, e := range events {
				e.space = fresh
			}
			b.StartTimer()
		}
		if _, err := s.Apply(events[next:next+500], 0); err != nil {
			b.Fatal(err)
		}
	}
	reportRows(b, 500)
}

// BenchmarkSearch asks 10,000 rows for the nearest ten, of which it reads vector and body.
func BenchmarkSearch(b *testing.B) {
	s := benchShard(b, b.TempDir())
	put(b, s, benchEvents(2, benchRows)...)
	query := make([]float32, benchDim)
	decodeInto(query, benchEvents(0, 1)[0].Vector)
	b.SetBytes(benchRows * benchDim * 4)
	b.ReportAllocs()
	for b.Loop() {
		res, err := s.Search("s", Query{Vector: query, K: 10, MinScore: -1, Now: testTime})
		if err != nil || len(res.Rows) != 10 {
			b.Fatalf("Search = %d rows, %v", len(res.Rows), err)
		}
	}
}

// BenchmarkOpen replays a row log of 10,000 rows.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s := benchShard(b, dir)
	put(b, s, benchEvents(2, benchRows)...)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s, rec, err := Open(dir, testSource, Options{})
		if err != nil || rec.Records != benchRows+2 {
			b.Fatalf("Open = %+v, %v", rec, err)
		}
		b.SetBytes(rec.Bytes)
		if err := s.Abandon(); err != nil {
			b.Fatal(err)
		}
	}
	reportRows(b, benchRows)
}

// BenchmarkCheckpoint takes checkpoints of a row each, in a shard of few and of many spaces.
func BenchmarkCheckpoint(b *testing.B) {
	for _, spaces := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("spaces=%d", spaces), func(b *testing.B) {
			s := openTest(b, b.TempDir(), Options{})
			sequence := uint64(0)
			for range spaces {
				sequence++
				put(b, s, defineTest(sequence, fmt.Sprint("s", sequence), 2))
			}
			for b.Loop() {
				sequence++
				e := observeTest(sequence)
				e.Space = fmt.Sprint("s", sequence%uint64(spaces)+1)
				put(b, s, e)
				if err := s.Checkpoint(time.Unix(0, 1)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
