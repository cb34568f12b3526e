package storetest

import (
	"errors"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore"
)

func testGenerations(t *testing.T, f Factory) {
	h := newHarness(t, f)
	h.take(h.define("s", 4, vecstore.Cosine, 1), h.observe("s", "a", h.vector(4)), h.observe("s", "b", h.vector(4)))

	// The first definition of a generation holds; a later one changes nothing and costs nothing.
	size := h.shard.LogBytes()
	h.take(h.define("s", 4, vecstore.Cosine, 1), h.define("s", 9, vecstore.Dot, 1))
	if h.shard.LogBytes() != size {
		t.Error("a definition that changes nothing was written")
	}
	h.check()

	h.take(h.drop("s", 1))
	if _, ok := h.shard.Definition("s"); ok {
		t.Fatal("a dropped space has a definition")
	}
	h.wantUnknown("s")
	h.settle()

	h.take(h.define("s", 7, vecstore.L2, 2), h.observe("s", "a", h.vector(7)))
	old := h.observe("s", "b", h.vector(4))
	if err := h.shard.Appender().Add(old); !errors.Is(err, vecstore.ErrDimension) {
		t.Fatalf("Add with the dimension of the old generation = %v, want ErrDimension", err)
	}
	h.settle()

	// A drop of a generation that has ended already leaves the living one alone.
	h.take(h.drop("s", 1), h.drop("never-was", 1))
	h.settle()

	// A newer generation takes the place of one that no drop came for.
	h.take(h.define("s", 3, vecstore.Dot, 5), h.observe("s", "c", h.vector(3)))
	h.settle()
	h.take(h.define("s", 7, vecstore.L2, 2))
	h.settle()

	// A drop and a definition within one batch, with rows of both lives.
	h.take(h.observe("s", "d", h.vector(3)), h.drop("s", 5), h.define("s", 5, vecstore.Cosine, 6), h.observe("s", "d", h.vector(5)))
	h.settle()
}

func (h *harness) wantUnknown(name string) {
	h.t.Helper()
	_, err := h.shard.Search(name, vecstore.Query{Vector: h.vector(4), K: 1, Now: h.now})
	_, gerr := h.shard.Get(name, []string{"a"}, vecstore.At{Now: h.now})
	_, _, lerr := h.shard.List(name, 0, 1, vecstore.At{Now: h.now})
	for call, err := range map[string]error{"Search": err, "Get": gerr, "List": lerr} {
		if !errors.Is(err, vecstore.ErrUnknownSpace) {
			h.t.Errorf("%s of %q = %v, want ErrUnknownSpace", call, name, err)
		}
	}
	if st, ok := h.shard.Stats(name); ok {
		h.t.Errorf("Stats(%q) = %+v", name, st)
	}
}

// testDropWithRowsOnTheirWay applies rows of a generation after it has ended.
func testDropWithRowsOnTheirWay(t *testing.T, f Factory) {
	h := newHarness(t, f)
	h.take(h.define("s", 4, vecstore.Cosine, 1))
	late := []*vecstore.Event{h.observe("s", "a", h.vector(4)), h.observe("s", "b", h.vector(4)), h.forget("s", "a")}
	applied := h.shard.Appended()
	h.add(late...)
	h.add(h.drop("s", 1))
	h.apply(applied, late[0])
	h.wantUnknown("s")
	define, mine := h.define("s", 4, vecstore.Cosine, 2), h.observe("s", "a", h.vector(4))
	h.add(define, mine)
	h.apply(applied, mine)
	h.apply(applied, late[1], late[2])
	h.settle()
}
