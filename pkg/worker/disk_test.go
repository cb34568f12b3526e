package worker

import (
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vecstore/columns"
	"github.com/engram-memory/engram/pkg/vfs"
)

func diskFull() error {
	return fmt.Errorf("growing a column: %w", &fs.PathError{Op: "fallocate", Path: "/somewhere/secret", Err: syscall.ENOSPC})
}

// A disk that fails under a recall is said so, in a sentence without what is of no concern to a client; the log has the rest.
func TestDiskErrorsReachTheCaller(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	c.reach(t, w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 3)...)...))
	body, err := proto.Marshal(&api.RecallRequest{Space: "a", Embedding: embedding(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	broken := &fs.PathError{Op: "read", Path: "/somewhere/secret", Err: syscall.EIO}
	for _, tc := range []struct {
		err  error
		code string
	}{
		{fmt.Errorf("reading a row: %w", broken), "unavailable"}, {diskFull(), "unavailable"}, {fmt.Errorf("mapping: %w", syscall.ENOMEM), "unavailable"},
		{fmt.Errorf("%w: %w", vecstore.ErrFailed, syscall.EIO), "unavailable"},
		{fmt.Errorf("searching: %w: at address 0x1", vfs.ErrFault), "unavailable"},
		{fmt.Errorf("linking: %w", columns.ErrCorrupt), "internal"},
		{fmt.Errorf("%w in %s", vecstore.ErrCorrupt, "/somewhere/secret"), "internal"},
		{fmt.Errorf("space %q: %w", "a", vecstore.ErrUnsupported), "unsupported"},
	} {
		c.search = func(*vecstore.Shard, string, vecstore.Query) (vecstore.Result, error) {
			return vecstore.Result{}, tc.err
		}
		msg, err := w.conn.NC.RequestWithContext(within(t), bus.ShardSubject(0, bus.VerbRecall), body)
		if err != nil {
			t.Fatal(err)
		}
		refusal := new(api.Error)
		if err := proto.Unmarshal(msg.Data, refusal); err != nil || msg.Header.Get(micro.ErrorCodeHeader) == "" {
			t.Fatalf("%v: answered with %q, %v", tc.err, msg.Data, err)
		}
		if refusal.GetCode() != tc.code || len(refusal.GetMessage()) < 20 || strings.Contains(refusal.GetMessage(), "secret") {
			t.Errorf("%v: %v, want %s", tc.err, refusal, tc.code)
		}
	}
	if n := c.log.count("secret"); n != 3 {
		t.Errorf("the log names the file %d times, want 3", n)
	}
	c.search = (*vecstore.Shard).Search
	w.expectAll(0, 3)
}

// An index that cannot be written for want of room stands still, loses nothing, calls nothing poison, and goes on.
func TestFullDiskUnderTheIndex(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	apply := c.pool.apply
	var full atomic.Bool
	var tries atomic.Int64
	full.Store(true)
	c.pool.apply = func(s *store, evs []*storeEvent, applied uint64) (int, error) {
		if !full.Load() {
			return apply(s, evs, applied)
		}
		tries.Add(1)
		n, err := apply(s, evs[:len(evs)/2], applied) // a part of it has room
		if err == nil {
			err = diskFull()
		}
		return n, err
	}
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 100)...)...)
	until(t, "it was tried again", func() bool { return tries.Load() > 4 })
	if c.applied() == last {
		t.Error("everything is searchable with a full disk")
	}
	full.Store(false)
	c.reach(t, last)
	w.expectAll(0, 100)
	if n := len(w.quarantine()); n != 0 {
		t.Errorf("%d events are in the quarantine", n)
	}
	if c.log.count("stands still") == 0 {
		t.Error("the log says nothing of it")
	}
}

// What a store refuses since it failed as a whole is no poison: the shard is opened again and has it.
func TestFailedStoreIsNotPoison(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	c.reach(t, w.publish(define("a", 3)))
	apply, stuck := c.pool.apply, newGate(t)
	failed := c.shard().store.Load()
	c.pool.apply = func(s *store, evs []*storeEvent, applied uint64) (int, error) {
		if s != failed {
			return apply(s, evs, applied)
		}
		stuck.wait()
		return 0, vecstore.ErrClosed
	}
	last := w.publish(several(0, 50)...)
	until(t, "all are fetched", func() bool { return failed.Appended() == last })
	if err := failed.Abandon(); err != nil {
		t.Fatal(err)
	}
	stuck.open()
	last = w.publish(several(50, 60)...)
	until(t, "the shard is opened again", func() bool { return c.shard().store.Load() != failed })
	c.reach(t, last)
	w.expectAll(0, 60)
	if n := len(w.quarantine()); n != 0 {
		t.Errorf("%d events are in the quarantine", n)
	}
}
