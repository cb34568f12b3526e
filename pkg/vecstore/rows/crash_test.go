package rows_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore/manifest"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
	"github.com/engram-memory/engram/pkg/vfs"
)

const dir = "shard"

// seeds is how many losses of power are tried at each call, each with other parts of the disk written.
var seeds = flag.Uint64("seeds", 1, "losses of power at each call")

// machine runs a log with its manifest on a disk that dies, loses power or fails at a chosen call, and keeps account of what
// the log has promised.
type machine struct {
	*testing.T
	what  string // which call it is about
	mem   *vfs.Mem
	fault *vfs.Fault
	m     *manifest.Manifest
	l     *rows.Log
	rw    *rows.Rewritten

	added, flushed, durable uint64
	// Observations of every third sequence are left out where segments are rewritten: leaving says that it may have happened
	// up to a sequence, left that it has.
	leaving, left uint64
	failures      int
	seeds         uint64
	// unnoted: a sync has failed, and the manifest does not say so yet. Who is killed then leaves something behind that
	// nobody can know of: bytes that can be read, and that later syncs do not write.
	unnoted bool
}

func leftOut(sequence uint64) bool {
	rec, _ := rows.Event(sequence)
	return rec.Kind == rows.KindObserve && sequence%3 == 0
}

// replayed is what an open gives.
type replayed struct {
	sequences []uint64
	records   []rows.Record
}

// open opens the log of a disk as whoever comes next would, and returns the manifest with which it is in use.
func open(fsys vfs.FS) (*manifest.Manifest, *rows.Log, *replayed, rows.Recovery, error) {
	none := rows.Recovery{}
	m, err := manifest.Load(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		m = manifest.New(rows.TestSource)
		m.HashKey = rows.HashKey{1}
		if err := fsys.MkdirAll(dir); err != nil {
			return nil, nil, nil, none, err
		}
	} else if err != nil {
		return nil, nil, nil, none, err
	}
	identity, err := fsys.Identity(dir)
	if err != nil {
		return nil, nil, nil, none, err
	}
	mode := rows.Verified
	switch {
	case m.State == manifest.Failed:
		mode = rows.Distrusted
	case m.State == manifest.Open && m.Identity == identity:
		mode = rows.Trusted
	}
	got := &replayed{}
	last := rows.Ref(0)
	l, rec, err := rows.Open(fsys, dir, rows.TestSource, rows.Options{
		Mode: mode, SegmentSize: 500, HashKey: m.HashKey, Segments: m.Segments, NextID: m.NextID,
		Commit: func(list []rows.Segment, next uint32) error {
			changed := *m
			changed.Segments, changed.NextID = list, next
			if err := changed.Store(fsys, dir); err != nil {
				return err
			}
			*m = changed
			return nil
		},
		Replay: func(e *rows.Entry, body func() (rows.Record, error)) error {
			if e.Kind == rows.KindCheckpoint || e.Ref == last {
				return nil
			}
			last = e.Ref
			rec, err := body()
			got.sequences, got.records = append(got.sequences, e.Sequence), append(got.records, rows.CopyRecord(rec))
			return err
		},
		Restart: func() { *got, last = replayed{}, 0 },
	})
	if err != nil {
		return nil, nil, nil, none, err
	}
	used := *m
	used.State, used.Identity, used.Segments = manifest.Open, identity, l.Segments()
	if err := used.Store(fsys, dir); err != nil {
		return nil, nil, nil, none, errors.Join(err, l.Close())
	}
	*m = used
	return m, l, got, rec, nil
}

// crash looks at what the death of the process, and the loss of power, would leave now.
func (m *machine) crash(when string) {
	m.Helper()
	m.survives(when+", killed", m.mem.Kill(), m.flushed)
	m.survives(when+", no power", m.mem.LosePower(nil), m.durable)
	for seed := range m.seeds {
		rng := rand.New(rand.NewPCG(seed, uint64(m.failures)))
		m.survives(fmt.Sprintf("%s, no power (%d)", when, seed), m.mem.LosePower(rng), m.durable)
	}
}

// survives checks that a disk has everything through a sequence at least, and nothing but what was added, each event whole.
func (m *machine) survives(what string, disk *vfs.Mem, atLeast uint64) {
	m.Helper()
	_, l, got, rec, err := open(disk)
	if err != nil {
		m.Fatalf("%s, %s: %v", m.what, what, err)
	}
	defer l.Close()
	if l.Appended() < atLeast || l.Appended() > m.added || l.Durable() > l.Appended() {
		m.Fatalf("%s, %s: through %d, durable %d; want %d to %d: %+v", m.what, what, l.Appended(), l.Durable(), atLeast, m.added, rec)
	}
	m.wantEvents(what, l, got)
	// It goes on from there, and is found whole by the next one.
	for sequence := l.Appended() + 1; sequence <= m.added+2; sequence++ {
		event, ids := rows.Event(sequence)
		if err := l.Add(&event, ids...); err != nil {
			m.Fatal(err)
		}
	}
	if _, err := l.Flush(); err != nil {
		m.Fatalf("%s, %s: Flush: %v", m.what, what, err)
	}
	if err := errors.Join(l.Checkpoint(time.Unix(1, 0)), l.Close()); err != nil {
		m.Fatalf("%s, %s: %v", m.what, what, err)
	}
	if m.unnoted {
		disk = disk.Kill()
	} else {
		disk = disk.LosePower(nil)
	}
	_, again, got, rec, err := open(disk)
	if err != nil || rec.Torn != 0 || again.Appended() < m.added+2 {
		m.Fatalf("%s, %s: opened again: %+v, %v", m.what, what, rec, err)
	}
	m.wantEvents(what+", opened again", again, got)
	again.Close()
}

// wantEvents checks that what was replayed is the events through what the log has, less those that a rewriting left out.
func (m *machine) wantEvents(what string, l *rows.Log, got *replayed) {
	m.Helper()
	i := 0
	for sequence := uint64(1); sequence <= l.Appended(); sequence++ {
		there := i < len(got.sequences) && got.sequences[i] == sequence
		may, must := leftOut(sequence) && sequence <= m.leaving, leftOut(sequence) && sequence <= m.left
		if there && must || !there && !may {
			m.Fatalf("%s, %s: event %d is there: %t; of %d", m.what, what, sequence, there, got.sequences)
		}
		if there {
			want, _ := rows.Event(sequence)
			rows.WantRecord(m, got.records[i], want)
			i++
		}
	}
	if i != len(got.sequences) {
		m.Fatalf("%s, %s: events that never were: %d", m.what, what, got.sequences)
	}
}

// do repeats a step until it succeeds, as a worker does, and looks at what is left whenever it fails.
func (m *machine) do(name string, step func() error) {
	m.Helper()
	for try := 0; ; try++ {
		err := step()
		if err == nil {
			return
		}
		m.failures++
		if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EIO) && !errors.Is(err, rows.ErrFailed) {
			m.Fatalf("%s, %s: %v", m.what, name, err)
		}
		m.unnoted = m.unnoted || errors.Is(err, rows.ErrFailed)
		m.crash(fmt.Sprintf("after %s failed", name))
		if try == 1 {
			m.fault.Clear() // the disk has room again
		}
		if try == 5 {
			m.Fatalf("%s, %s: %v, again and again", m.what, name, err)
		}
		if errors.Is(err, rows.ErrFailed) {
			m.restart()
		}
	}
}

// restart opens a log anew that has failed for good.
func (m *machine) restart() {
	m.Helper()
	m.do("restart", func() error {
		if err := m.l.Close(); err != nil {
			return err
		}
		failed := *m.m
		failed.State = manifest.Failed
		if err := failed.Store(m.fault, dir); err != nil {
			return err
		}
		m.unnoted = false
		return m.open()
	})
	if m.l.Appended() < m.durable {
		m.Fatalf("%s: through %d after a failed sync, %d were durable", m.what, m.l.Appended(), m.durable)
	}
	m.flushed = m.l.Appended()
	m.rw = nil
}

func (m *machine) open() error {
	state, l, got, _, err := open(m.fault)
	if err != nil {
		return err
	}
	m.m, m.l = state, l
	m.wantEvents("open", l, got)
	return nil
}

func (m *machine) write(last uint64) {
	m.Helper()
	m.do(fmt.Sprintf("writing through %d", last), func() error {
		for m.l.Through() < last {
			event, ids := rows.Event(m.l.Through() + 1)
			if err := m.l.Add(&event, ids...); err != nil {
				return err
			}
			m.added = max(m.added, m.l.Through())
		}
		if _, err := m.l.Flush(); err != nil {
			return err
		}
		m.flushed = last
		return nil
	})
}

func (m *machine) checkpoint() {
	m.Helper()
	m.do("a checkpoint", func() error {
		through := m.l.Appended()
		if err := m.l.Checkpoint(time.Unix(1, 0)); err != nil {
			return err
		}
		m.durable = max(m.durable, through)
		return nil
	})
}

// rewrite leaves things out of the first segments.
func (m *machine) rewrite(n int) {
	m.Helper()
	var ids []uint32
	m.do("rewriting", func() error {
		last := uint64(0)
		if m.rw == nil {
			ids = nil
			for _, s := range m.l.Segments()[:n] {
				ids = append(ids, s.ID)
			}
			rw, err := m.l.Rewrite(ids, rows.RewriteOptions{Compress: true, Keep: func(e *rows.Entry) bool {
				last = max(last, e.Sequence)
				return !leftOut(e.Sequence)
			}})
			if err != nil {
				return err
			}
			m.rw = rw
			m.leaving = max(m.leaving, last)
		}
		if err := m.l.Replace(m.rw); err != nil {
			return err
		}
		m.left = m.leaving
		return nil
	})
	m.rw = nil
	if err := m.l.Retire(ids...); err != nil && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EIO) {
		m.Fatal(err)
	}
}

// close closes the log, and the manifest says so.
func (m *machine) close() {
	m.Helper()
	m.checkpoint()
	m.do("closing", func() error {
		clean := *m.m
		clean.State, clean.Segments = manifest.Clean, m.l.Sealed()
		return clean.Store(m.fault, dir)
	})
	if err := m.l.Close(); err != nil {
		m.Fatal(err)
	}
}

// run is the life of a log.
func run(t *testing.T, what string, rule vfs.Rule, seeds uint64) (m *machine, hit bool) {
	t.Helper()
	m = &machine{T: t, what: what, mem: vfs.NewMem(), seeds: seeds}
	m.fault = vfs.NewFault(m.mem)
	if rule.Err == nil {
		rule.Before = func() { m.crash("before it") }
	}
	m.fault.Inject(rule)
	m.do("open", m.open)
	m.write(2)
	m.checkpoint()
	m.write(6)
	m.write(9)
	m.checkpoint()
	m.write(13)
	m.rewrite(1)
	m.write(16)
	m.checkpoint()
	m.rewrite(2)
	m.write(19)
	m.close()
	m.do("open after a close", m.open)
	m.write(22)
	if err := m.l.Close(); err != nil { // as good as killed
		t.Fatal(err)
	}
	m.do("open after a kill", m.open)
	m.checkpoint()
	hits := m.fault.Hits()
	m.fault.Clear()
	m.write(22) // what a failed sync has taken comes again
	m.checkpoint()
	m.crash("at the end")
	if m.l.Durable() != 22 || m.left < 6 {
		t.Fatalf("%s: durable %d, left out through %d", what, m.l.Durable(), m.left)
	}
	list := m.l.Segments()
	if err := m.l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, l, _, _, err := open(m.mem); err != nil || !slices.Equal(l.Segments(), list) {
		t.Fatalf("%s: the last open: %v", what, err)
	} else {
		l.Close()
	}
	// No file is left over, whatever happened.
	names, err := m.mem.List(dir)
	if err != nil || len(names) != 1+2*len(list) {
		t.Fatalf("%s: the files are %q, %v; want those of %d segments", what, names, err, len(list))
	}
	return m, hits > 0
}

// TestCrashAtEachCall has the process die and the power go before each call that changes anything on the disk.
func TestCrashAtEachCall(t *testing.T) {
	t.Parallel()
	n := 1
	for ; ; n++ {
		if _, hit := run(t, fmt.Sprint("call ", n), vfs.Rule{Ops: vfs.OpChanges, N: n}, *seeds); !hit {
			break
		}
	}
	if n < 100 {
		t.Errorf("only %d calls", n)
	}
}

// TestFailureOfEachCall fails each call, alone or with all that follow for a while, and has the process die and the power go
// before and after it.
func TestFailureOfEachCall(t *testing.T) {
	for name, test := range map[string]struct {
		rule vfs.Rule
		step int
	}{
		"once":      {vfs.Rule{Ops: vfs.OpAll, Err: syscall.EIO}, 1},
		"half":      {vfs.Rule{Ops: vfs.OpWrite, Err: syscall.ENOSPC, Short: true}, 1},
		"full":      {vfs.Rule{Ops: vfs.OpWrite | vfs.OpCreate, Err: syscall.ENOSPC, Short: true, Onwards: true}, 1},
		"sync":      {vfs.Rule{Ops: vfs.OpSync | vfs.OpSyncDir, Err: syscall.EIO}, 1},
		"sync full": {vfs.Rule{Ops: vfs.OpSync, Err: syscall.ENOSPC, Onwards: true}, 1},
		"gone":      {vfs.Rule{Ops: vfs.OpAll, Err: syscall.EIO, Onwards: true}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failures := 0
			for n := 1; ; n += test.step {
				test.rule.N = n
				m, hit := run(t, fmt.Sprint("call ", n), test.rule, 1)
				failures += m.failures
				if !hit {
					break
				}
			}
			if failures < 10 {
				t.Errorf("only %d failures", failures)
			}
		})
	}
}
