package vecstore_test

import (
	"context"
	"syscall"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// A compaction of a space comes to its end and the row log is not written anew, since the disk is full. The shard is opened
// again, with the records of what was reclaimed, and then the row log is written anew because of another space: the forget
// must stay as long as the observation that it ended, or that would be back.
func TestForgetOutlivesWhatItEnded(t *testing.T) {
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	opt := vecstore.Options{FS: fault, KeepVersions: -1}
	h := newHistory(1)
	for _, name := range []string{"s", "t"} {
		h.define(vecstore.Definition{Name: name, Dimension: 4, Metric: vecstore.Cosine})
		h.observe(name, "x", h.vector(4))
		h.observe(name, "y", h.vector(4))
	}
	h.forget("s", "x")
	h.forget("t", "x")
	h.observe("s", "z", h.vector(4))
	s, _ := open(t, "shard", opt)
	feed(t, s, h, h.last())
	s.Applied(h.last())

	fault.Inject(vfs.Rule{Ops: vfs.OpCreate, Match: "rows-*", Onwards: true, Err: syscall.ENOSPC})
	if _, err := s.Compact(context.Background(), "s"); err == nil {
		t.Fatal("a full disk went unnoticed")
	}
	fault.Clear()
	must(t, s.Close())

	s, _ = open(t, "shard", opt)
	s.Applied(h.last())
	compact(t, s, "t")
	must(t, s.Close())

	s, _ = open(t, "shard", opt)
	for _, name := range []string{"s", "t"} {
		must(t, h.as(name, h.last()).compare(s, name, 0))
	}
}
