package vecstore_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vecstore/columns"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
	"github.com/engram-memory/engram/pkg/vfs"
)

// unlucky is a shard whose disk fails at one call, and whoever owns it does what there is to do about it.
type unlucky struct {
	t     *testing.T
	what  string
	h     *history
	mem   *vfs.Mem
	fault *vfs.Fault
	err   error // that is injected
	s     *vecstore.Shard
	seen  []error // what the owner was told
	hits  int     // how many calls have failed, and
	mute  bool    // nobody was told
	// durable is the highest position that the shard has ever called durable.
	durable uint64
	// unsynced: a graph could not be made durable.
	unsynced bool
}

func (u *unlucky) fatalf(format string, args ...any) {
	u.t.Helper()
	u.t.Fatalf("%s: %s; seen: %v", u.what, fmt.Sprintf(format, args...), u.seen)
}

// told notes an error, which must be the one that was injected.
func (u *unlucky) told(where string, err error) {
	u.t.Helper()
	if err == nil {
		return
	}
	if !errors.Is(err, u.err) || errors.Is(err, vecstore.ErrCorrupt) || errors.Is(err, vecstore.ErrVersion) {
		u.fatalf("%s: %v", where, err)
	}
	u.seen = append(u.seen, fmt.Errorf("%s: %w", where, err))
}

// retry makes a call, and once more when it has failed and the fault is gone. It tells whether the shard is still usable.
func (u *unlucky) retry(where string, call func() error) bool {
	u.t.Helper()
	err := call()
	u.told(where, err)
	if errors.Is(err, vecstore.ErrFailed) {
		u.fail(where)
		return false
	}
	if err != nil {
		u.fault.Clear()
		if err := call(); err != nil {
			u.fatalf("%s, when the fault is gone: %v", where, err)
		}
	}
	u.durable = max(u.durable, u.s.Durable())
	return true
}

// fail checks that a failed fsync stays failed, that what is there can be read, and that the next open distrusts what was
// not made durable before.
func (u *unlucky) fail(where string) {
	u.t.Helper()
	u.fault.Clear()
	appended := u.s.Appended()
	for call, err := range map[string]error{
		"Flush": u.s.Appender().Flush(), "Checkpoint": u.s.Checkpoint(testNow), "Usable": u.s.Usable(), "Close": u.s.Close(),
	} {
		if !errors.Is(err, vecstore.ErrFailed) || !errors.Is(err, u.err) {
			u.fatalf("%s failed, and %s then says %v", where, call, err)
		}
	}
	if u.s.Durable() != u.durable {
		u.fatalf("durable went from %d to %d by a failed fsync", u.durable, u.s.Durable())
	}
	rec := u.open()
	if rec.Mode != rows.Distrusted || u.s.Appended() != u.durable || appended < u.durable {
		u.fatalf("opened %v at %d after a failed fsync, and %d was durable", rec.Mode, u.s.Appended(), u.durable)
	}
	u.check()
}

func (u *unlucky) open() (rec vecstore.Recovery) {
	u.t.Helper()
	opt := crashOptions(u.fault)
	s, rec, err := vecstore.Open("shard", testSource, opt)
	u.told("Open", err)
	if err != nil {
		u.fault.Clear()
		if s, rec, err = vecstore.Open("shard", testSource, opt); err != nil {
			u.fatalf("Open, when the fault is gone: %v", err)
		}
	}
	for _, err := range rec.Damaged {
		u.told("the graph", err)
	}
	if rec.IndexRepaired > 0 || rec.Doubt != nil {
		u.seen = append(u.seen, fmt.Errorf("%d indexes were repaired; doubt: %v", rec.IndexRepaired, rec.Doubt))
	}
	if u.unsynced && rec.Columns > 0 {
		u.fatalf("a graph that failed to reach the disk is in use again")
	}
	u.unsynced = false
	abandonLater(u.t, s)
	u.s = s
	if s.Appended() < u.durable {
		u.fatalf("opened at %d, and %d was durable: %+v", s.Appended(), u.durable, rec)
	}
	return rec
}

func (u *unlucky) feed(to uint64) {
	u.t.Helper()
	for u.s.Appended() < to {
		applied := u.s.Appended()
		events := u.h.take(applied+1, min(to, applied+60))
		for _, e := range events {
			if err := u.s.Appender().Add(e); err != nil {
				u.fatalf("Add: %v", err)
			}
		}
		if !u.retry("Flush", u.s.Appender().Flush) {
			continue // with what was lost
		}
		if err := apply(u.s, applied, events); err != nil {
			u.told("Apply", err) // of a space that had to be read again
			u.fault.Clear()
			if err := apply(u.s, applied, events); err != nil {
				u.fatalf("Apply, when the fault is gone: %v", err)
			}
		}
	}
}

func (u *unlucky) checkpoint() {
	u.t.Helper()
	position := u.s.Appended()
	if !u.retry("Checkpoint", func() error { return u.s.Checkpoint(testNow) }) {
		u.feed(position)
		u.checkpoint()
	}
	if u.s.Durable() != position {
		u.fatalf("a checkpoint at %d made %d durable", position, u.s.Durable())
	}
}

func (u *unlucky) close() {
	u.t.Helper()
	err := u.s.Close()
	u.told("Close", err)
	u.told("Maintenance", u.s.Maintenance())
	u.unsynced = errors.Is(err, columns.ErrFailed)
	u.durable = max(u.durable, u.s.Durable())
	if err != nil {
		u.fault.Clear()
	}
}

// link waits for the graph; what hindered it before is over, or is told.
func (u *unlucky) link() {
	u.t.Helper()
	u.told("Linking", u.s.Linking())
	u.retry("Link", func() error { return u.s.Link(context.Background(), "large") })
}

// check compares with the history.
func (u *unlucky) check() {
	u.t.Helper()
	for _, name := range []string{"large", "small"} {
		rows := u.h.as(name, u.s.Appended())
		if rows == nil {
			continue
		}
		err := rows.compare(u.s, name, 0)
		if err != nil && errors.Is(err, u.err) {
			u.told("a read", err)
			u.fault.Clear()
			err = rows.compare(u.s, name, 0)
		}
		if err != nil {
			u.fatalf("at %d: %v", u.s.Appended(), err)
		}
	}
}

// ordeal is what happens to a shard in each of the tests.
func (u *unlucky) ordeal(graph bool) {
	n := uint64(150)
	if graph {
		n = 420
	}
	u.open()
	u.feed(n / 2)
	u.checkpoint()
	u.feed(n)
	if graph {
		u.link()
	}
	u.check()
	u.checkpoint()
	u.close()
	u.open()
	u.feed(n + 40)
	u.checkpoint()
	u.feed(n + 60)
	if graph {
		u.link()
	}
	u.check()
	u.close()
	u.fault.Clear()

	// Whatever happened, it is over.
	u.hits, u.mute = u.fault.Hits(), len(u.seen) == 0
	end := u.durable
	dark := u.mem.LosePower(nil)
	u.open()
	u.check()
	u.feed(n + 80)
	u.checkpoint()
	if graph {
		u.link()
	}
	if err := errors.Join(u.s.Linking(), u.s.Maintenance(), u.s.Close()); err != nil {
		u.fatalf("in the end: %v", err)
	}
	// And a loss of power in that state takes nothing that was durable.
	u.mem, u.fault, u.durable = dark, vfs.NewFault(dark), end
	u.open()
	u.check()
}

// failEverywhere lives through the ordeal once for each call of the kinds that goes to files of some names.
func failEverywhere(t *testing.T, graph bool, match string, kinds map[vfs.Op][]vfs.Rule) {
	h := eventful(600)
	total := 0
	for op, rules := range kinds {
		for _, rule := range rules {
			step := 1
			if op == vfs.OpRead {
				step = 3 // there are many, of few kinds
			}
			for n := 1; ; n += step {
				mem := vfs.NewMem()
				u := &unlucky{
					t: t, h: h, mem: mem, fault: vfs.NewFault(mem), err: rule.Err,
					what: fmt.Sprintf("%v at call %d of kind %b to %q (short %t, onwards %t)", rule.Err, n, op, match, rule.Short, rule.Onwards),
				}
				rule.Ops, rule.N, rule.Match = op, n, match
				u.fault.Inject(rule)
				if u.ordeal(graph); u.hits == 0 {
					break
				}
				total++
				// What cannot be removed is removed later, and what cannot be linked is tried again, which may have
				// succeeded before anyone asked.
				retried := vfs.OpRemove
				if graph {
					retried |= vfs.OpCreate | vfs.OpMap | vfs.OpWrite
				}
				if u.mute && (rule.Onwards || op&retried == 0) {
					t.Errorf("%s: it came to nobody's notice", u.what)
				}
			}
		}
	}
	if t.Logf("%d faults", total); total < 30 {
		t.Error("these are too few to test anything")
	}
}

// Each call to the disk fails in turn, in each of the ways that calls of its kind fail. The error comes to whoever made the
// call, what was durable stays, and when the fault is gone all goes on; but for a failed fsync, which is the end of what it
// should have covered.
func TestFaultAtEveryCall(t *testing.T) {
	t.Parallel()
	once := vfs.Rule{Err: syscall.EIO}
	full := vfs.Rule{Err: syscall.ENOSPC, Onwards: true}
	half := vfs.Rule{Err: syscall.ENOSPC, Short: true}
	kinds := map[vfs.Op][]vfs.Rule{
		vfs.OpOpen: {once}, vfs.OpCreate: {once, full}, vfs.OpRemove: {once}, vfs.OpRename: {once}, vfs.OpSyncDir: {once},
		vfs.OpRead: {once}, vfs.OpWrite: {once, full, half}, vfs.OpTruncate: {once}, vfs.OpSync: {once},
	}
	failEverywhere(t, false, "", kinds)
}

func TestFaultAtEveryCallOfAGraph(t *testing.T) {
	t.Parallel()
	once := vfs.Rule{Err: syscall.EIO}
	full := vfs.Rule{Err: syscall.ENOSPC, Onwards: true}
	half := vfs.Rule{Err: syscall.ENOSPC, Short: true, Onwards: true}
	kinds := map[vfs.Op][]vfs.Rule{
		vfs.OpOpen: {once}, vfs.OpCreate: {once, full}, vfs.OpRemove: {once}, vfs.OpRead: {once},
		vfs.OpWrite: {once, half}, vfs.OpTruncate: {once}, vfs.OpSync: {once}, vfs.OpAllocate: {full, half},
		vfs.OpMap: {once}, vfs.OpMsync: {once},
	}
	failEverywhere(t, true, "space-*", kinds)
}
