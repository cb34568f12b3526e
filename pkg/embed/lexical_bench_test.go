package embed

import (
	"context"
	"testing"
)

// paragraph is 300 bytes of the kind of text that is embedded most.
const paragraph = "ReadFile reads the file named by filename and returns the contents. A successful call returns err == nil, " +
	"not err == EOF. Because ReadFile reads the whole file, it does not treat an EOF from Read as an error to be reported. " +
	"Use a Scanner or NewReader when lines of a large input are to be parsed one by one."

func BenchmarkLexical(b *testing.B) {
	texts, l := []string{paragraph}, NewLexical()
	for _, dim := range []int{512, 768} {
		b.Run(map[int]string{512: "dim512", 768: "dim768"}[dim], func(b *testing.B) {
			b.SetBytes(int64(len(paragraph)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Embed(context.Background(), texts, dim); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Once its memory is there, a sketch takes a text without allocating; the vector is the one allocation.
func TestLexicalAllocates(t *testing.T) {
	s := newSketch()
	text := paragraph + " Ärger mit 東京の天気 und ПРИВЕТ."
	work := func() {
		s.reset(512)
		s.scan(text)
		if len(s.vector()) != 512 {
			t.Error("no vector")
		}
	}
	work()
	if n := testing.AllocsPerRun(50, work); n != 1 {
		t.Errorf("%v allocations a text, want 1", n)
	}
}
