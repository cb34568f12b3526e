package vecstore_test

import (
	"fmt"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// Spaces that are not searched give their codes up, again and again, while rows of theirs are on their way, and answer as if
// they had them.
func TestColdSpacesAnswer(t *testing.T) {
	const spaces = 6
	mem := vfs.NewMem()
	opt := vecstore.Options{FS: mem, TailBytes: 4000, GraphRows: 300}
	h := newHistory(5)
	name := func(i int) string { return fmt.Sprint("s", i) }
	for i := range spaces {
		h.define(vecstore.Definition{Name: name(i), Dimension: uint32(3 + 5*i), Metric: vecstore.L2})
	}
	for range 2400 {
		i := h.rng.IntN(spaces)
		if i == 0 || h.rng.IntN(8) == 0 {
			i = h.rng.IntN(2) // one that outgrows the others, and gets a graph
		}
		if id := fmt.Sprint(h.rng.IntN(400)); h.rng.IntN(10) == 0 {
			h.forget(name(i), id)
		} else {
			h.observe(name(i), id, h.vector(3+5*i))
		}
	}
	s, _ := open(t, "shard", opt)
	var waiting []*vecstore.Event
	cold := 0
	for s.Appended() < h.last() {
		applied := s.Appended() - uint64(len(waiting))
		next := h.take(s.Appended()+1, min(h.last(), s.Appended()+40))
		must(t, write(s, next))
		waiting = append(waiting, next...)
		// The last ones stay on their way.
		n := max(0, len(waiting)-h.rng.IntN(10))
		must(t, apply(s, applied, waiting[:n]))
		waiting = waiting[n:]
		must(t, s.Checkpoint(testNow))
		if bytes := vecstore.TailBytes(s); bytes < 3000 {
			cold++
		}
		done := s.Appended() - uint64(len(waiting))
		i := h.rng.IntN(spaces)
		if err := h.as(name(i), done).search(s, name(i), h.vector(3+5*i), vecstore.Query{K: everything}); err != nil {
			t.Fatalf("at %d: %v", done, err)
		}
	}
	if cold < 10 {
		t.Errorf("codes were given up only %d times", cold)
	}
	must(t, apply(s, s.Appended()-uint64(len(waiting)), waiting))
	check := func() {
		t.Helper()
		for i := range spaces {
			rows := h.as(name(i), h.last())
			if err := rows.compare(s, name(i), 0); err != nil {
				t.Error(err)
			}
			if err := rows.search(s, name(i), h.vector(3+5*i), vecstore.Query{K: everything}); err != nil {
				t.Error(err)
			}
		}
	}
	check()
	must(t, s.Checkpoint(testNow))
	must(t, s.Close())
	s, _ = open(t, "shard", opt)
	if vecstore.TailBytes(s) != 0 {
		t.Error("codes are in memory that nobody has asked for")
	}
	check()
	opt.FS = mem.Kill()
	s, _ = open(t, "shard", opt)
	check()
}
