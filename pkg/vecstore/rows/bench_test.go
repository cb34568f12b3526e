package rows

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/engram-memory/engram/pkg/vfs"
)

const benchDim = 768

// benchRecord is an observation of 768 components and a body of 200 bytes.
func benchRecord(encoding Encoding) Record {
	rng := rand.New(rand.NewPCG(5, 6))
	rec := Record{
		Kind: KindObserve, Encoding: encoding, Space: 1,
		Vector: make([]byte, encoding.Size(benchDim)), Body: bytes.Repeat([]byte("body "), 40),
	}
	for i := range rec.Vector {
		rec.Vector[i] = byte(rng.Uint32())
	}
	return rec
}

func benchLog(b *testing.B, mode Mode) *Log {
	b.Helper()
	opt := Options{
		Mode: mode, HashKey: testKey,
		Commit: func([]Segment, uint32) error { return nil },
		Replay: func(*Entry, func() (Record, error)) error { return nil },
	}
	l, _, err := Open(vfs.OS(), b.TempDir(), testSource, opt)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return l
}

// BenchmarkAppend adds and flushes batches of 500 rows, without and with a checkpoint behind each. The files are removed
// now and then, so that the disk does not fill.
func BenchmarkAppend(b *testing.B) {
	for _, encoding := range []Encoding{F32, F16, I8} {
		for _, durable := range []bool{false, true} {
			b.Run(fmt.Sprintf("%v/checkpoint=%t", encoding, durable), func(b *testing.B) {
				const batch = 500
				l := benchLog(b, Verified)
				rec := benchRecord(encoding)
				ids := make([]string, batch)
				for i := range ids {
					ids[i] = fmt.Sprint("observation-", i)
				}
				before, sequence := l.Bytes(), uint64(0)
				b.ReportAllocs()
				for b.Loop() {
					for _, id := range ids {
						sequence++
						rec.Sequence = sequence
						if err := l.Add(&rec, id); err != nil {
							b.Fatal(err)
						}
					}
					if _, err := l.Flush(); err != nil {
						b.Fatal(err)
					}
					if durable {
						checkpoint(b, l)
					}
				}
				b.SetBytes((l.Bytes() - before) / int64(b.N))
				b.ReportMetric(batch*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

// BenchmarkRead reads records of 768 components at random, into a buffer that is used again.
func BenchmarkRead(b *testing.B) {
	for _, encoding := range []Encoding{F32, I8} {
		for _, compressed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%v/compressed=%t", encoding, compressed), func(b *testing.B) {
				l := benchLog(b, Verified)
				rec := benchRecord(encoding)
				rec.Body = bytes.Repeat([]byte("body "), 400)
				const n = 2000
				for i := range n {
					rec.Sequence = uint64(i)
					if err := l.Add(&rec, fmt.Sprint(i)); err != nil {
						b.Fatal(err)
					}
				}
				refs := flush(b, l)
				l.opt.SegmentSize = 1
				rec.Sequence = n
				if err := l.Add(&rec, "last"); err != nil {
					b.Fatal(err)
				}
				flush(b, l)
				if compressed {
					rw := rewrite(b, l, RewriteOptions{Keep: func(*Entry) bool { return true }, Compress: true}, 1)
					for i := range refs {
						refs[i], _ = rw.Moved(refs[i])
					}
				}
				rng := rand.New(rand.NewPCG(1, 2))
				var buf []byte
				var err error
				b.ReportAllocs()
				b.SetBytes(int64(refs[0].Length()))
				for b.Loop() {
					if _, buf, err = l.Read(refs[rng.IntN(n)], buf); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkOpen opens a log of a million rows. The segments are as short as that allows: a trusted open does not read them,
// and a verified one is measured by its bytes.
func BenchmarkOpen(b *testing.B) {
	const n = 1_000_000
	dir := b.TempDir()
	var list []Segment
	var next uint32
	open := func(b *testing.B, mode Mode) *Log {
		entries := 0
		l, rec, err := Open(vfs.OS(), dir, testSource, Options{
			Mode: mode, HashKey: testKey, Segments: list, NextID: next, SegmentSize: 64 << 20,
			Commit: func(l []Segment, id uint32) error { list, next = l, id; return nil },
			Replay: func(*Entry, func() (Record, error)) error { entries++; return nil },
		})
		if err != nil || rec.Mode != mode {
			b.Fatalf("Open = %+v, %v", rec, err)
		}
		if next > 0 && entries < n {
			b.Fatalf("%d entries", entries)
		}
		return l
	}
	l := open(b, Verified)
	rec := Record{Kind: KindObserve, Encoding: I8, Space: 1, Vector: make([]byte, 36)}
	for i := range n {
		rec.Sequence = uint64(i + 1)
		if err := l.Add(&rec, fmt.Sprint("observation-", i)); err != nil {
			b.Fatal(err)
		}
		if i%10_000 == 9_999 {
			flush(b, l)
		}
	}
	l.Close()
	for _, mode := range []Mode{Trusted, Verified} {
		b.Run(mode.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				open(b, mode).Close()
			}
			b.SetBytes(l.Bytes())
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/open")
		})
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*.idx")); err != nil || len(names) != len(list) {
		b.Fatalf("%d indexes, %v", len(names), err)
	}
}

// BenchmarkRewrite rewrites a segment of rows with texts, half of which are kept.
func BenchmarkRewrite(b *testing.B) {
	for _, compress := range []bool{false, true} {
		b.Run(fmt.Sprintf("compress=%t", compress), func(b *testing.B) {
			l := benchLog(b, Verified)
			rec := benchRecord(F32)
			for i := range 10_000 {
				rec.Sequence = uint64(i)
				if err := l.Add(&rec, fmt.Sprint(i)); err != nil {
					b.Fatal(err)
				}
				if i == 9_998 {
					flush(b, l)
					l.opt.SegmentSize = 1
				}
			}
			flush(b, l)
			b.SetBytes(l.Bytes())
			for b.Loop() {
				rw := rewrite(b, l, RewriteOptions{Keep: func(e *Entry) bool { return e.Sequence%2 == 0 }, Compress: compress}, 1)
				if err := l.Discard(rw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
