package worker

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/snapshot"
)

// trimmer trims the log two hours from now, by a store of snapshots.
func (w *world) trimmer(place string) *snapshot.Trimmer {
	w.t.Helper()
	s, err := snapshot.Open(within(w.t), place, "test", w.conn.JS)
	if err != nil {
		w.t.Fatal(err)
	}
	return &snapshot.Trimmer{
		Store: s, Conn: w.conn.NC, JetStream: w.conn.JS, Epoch: w.topo.Epoch, Keep: time.Hour, Now: time.Now().Add(2 * time.Hour),
	}
}

func (w *world) firstSequence() uint64 {
	w.t.Helper()
	return w.stream(bus.LogStream(0)).CachedInfo().State.FirstSeq
}

// trimmed is a world whose log was trimmed below two snapshots, at the older of which it now begins. The worker runs, and
// the log ends at end; 60 observations were made, and 3 and 5 are forgotten.
func trimmed(t *testing.T, change func(*Options)) (w *world, c *tested, trimmer *snapshot.Trimmer, covered, end uint64) {
	t.Helper()
	w = newWorld(t)
	c = w.start(change)
	w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 40)...)...)
	covered = w.publish(forget("a", "3"), observe("a", "4", direction(100)...))
	c.reach(t, covered)
	c.takeSnapshot(t)
	c.reach(t, w.publish(several(40, 50)...))
	c.takeSnapshot(t)
	end = w.publish(append(several(50, 60), forget("a", "5"))...)
	c.reach(t, end)
	until(t, "it is durable", func() bool { return c.shard().store.Load().Durable() == end })

	trimmer = w.trimmer(c.Config.Snapshot.Store)
	now := *trimmer
	now.Now = time.Time{}
	if plan, err := now.Trim(within(t), 0); err != nil || plan.Messages() != 0 || plan.Kept != 1 || plan.Covered != covered || plan.Snapshots != 2 {
		t.Fatalf("what is young: %+v, %v", plan, err)
	}
	dry := *trimmer
	dry.Dry = true
	if plan, err := dry.Trim(within(t), 0); err != nil || plan.Through != covered || plan.Messages() != covered || w.firstSequence() != 1 {
		t.Fatalf("what would be trimmed: %+v, %v", plan, err)
	}
	if plan, err := trimmer.Trim(within(t), 0); err != nil || plan.Through != covered || w.firstSequence() != covered+1 {
		t.Fatalf("what was trimmed: %+v, %v; the log begins at %d", plan, err, w.firstSequence())
	}
	if plan, err := trimmer.Trim(within(t), 0); err != nil || plan.Messages() != 0 {
		t.Fatalf("there is nothing more: %+v, %v", plan, err)
	}
	return w, c, trimmer, covered, end
}

// whole checks that everything is there, once, that trimmed has left.
func (w *world) whole() {
	w.t.Helper()
	w.expectAll(10, 60)
	if n := w.count("a"); n != 58 {
		w.t.Errorf("%d observations, want 58", n)
	}
	if id := w.nearest(100); id != "4" {
		w.t.Errorf("the nearest to 100 is %q, want the new version of 4", id)
	}
}

// From end to end, in a directory and in the bucket: observe, forget, snapshot, trim, wipe, start.
func TestTrimmedLogAndWipedWorker(t *testing.T) {
	for _, place := range []string{"dir:" + t.TempDir(), snapshot.PlaceBucket} {
		t.Run(place, func(t *testing.T) {
			change := func(o *Options) {
				inDirectory("")(o)
				o.Config.Snapshot.Store = place
			}
			w, c, _, _, end := trimmed(t, change)
			w.whole()
			c.close(t)
			w.wipe()
			c = w.start(change)
			c.reach(t, end)
			w.whole()
			if c.log.count("restored from a snapshot") != 1 {
				t.Error("no snapshot was restored")
			}
		})
	}
}

// A worker that would have to begin within what was trimmed, and has no snapshots, or none that can be used, does not answer
// without what is missing, but says what to do.
func TestWorkerThatIsCutOff(t *testing.T) {
	store := t.TempDir()
	w, c, _, covered, end := trimmed(t, inDirectory(store))
	c.close(t)
	w.wipe()
	fails := func(change func(*Options), want string) {
		t.Helper()
		opt, _ := w.options(change)
		c, err := Start(within(t), opt)
		if err == nil {
			_ = c.Close()
		}
		if !errors.Is(err, ErrCutOff) || !strings.Contains(err.Error(), want) {
			t.Errorf("the worker starts: %v; want %q", err, want)
		}
		w.wipe()
	}
	fails(nil, "set snapshot.store")
	fails(inDirectory(t.TempDir()), "has no snapshot that has what is missing")
	// Snapshots whose chunks are damaged.
	s, err := snapshot.Open(within(t), "dir:"+store, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := s.List(within(t), "")
	if err != nil {
		t.Fatal(err)
	}
	good := map[string][]byte{}
	for _, b := range blobs {
		if strings.Contains(b.Name, "chunk-") {
			if good[b.Name], err = s.Get(within(t), b.Name); err != nil {
				t.Fatal(err)
			}
			if err := s.Put(within(t), b.Name, []byte("damaged")); err != nil {
				t.Fatal(err)
			}
		}
	}
	fails(inDirectory(store), "cannot be used")
	for name, b := range good {
		if err := s.Put(within(t), name, b); err != nil {
			t.Fatal(err)
		}
	}
	c = w.start(inDirectory(store))
	c.reach(t, end)
	w.whole()
	if trim, err := bus.Trimmed(within(t), w.conn.JS, 0); err != nil || trim.Through != covered {
		t.Errorf("the log was trimmed through %+v, %v", trim, err)
	}
}

// Nothing is trimmed that a copy has not read yet, whether it is heard or has left a consumer; but for one that is said to be gone.
func TestTrimmingThatWouldCutACopyOff(t *testing.T) {
	store := t.TempDir()
	w := newWorld(t)
	idle := w.start(func(o *Options) { o.Config.Name, o.Config.Dir = "idle", t.TempDir() })
	idle.reach(t, w.publish(define("a", 3)))
	idle.close(t) // its consumer stays, with what it acknowledged

	c := w.start(inDirectory(store))
	last := w.publish(several(0, 10)...)
	c.reach(t, last)
	trimmer := w.trimmer("dir:" + store)
	if _, err := trimmer.Trim(within(t), 0); !errors.Is(err, snapshot.ErrRefused) || !strings.Contains(err.Error(), "no snapshot") {
		t.Errorf("without a snapshot: %v", err)
	}
	taken := c.takeSnapshot(t)
	if _, err := trimmer.Trim(within(t), 0); !errors.Is(err, snapshot.ErrRefused) || !strings.Contains(err.Error(), "cut off idle at ") {
		t.Errorf("with a worker that is away: %v", err)
	}
	trimmer.CutOff = []string{"idle"}
	if plan, err := trimmer.Trim(within(t), 0); err != nil || plan.Through != taken.Position {
		t.Errorf("%+v, %v", plan, err)
	}

	// A heartbeat of a copy that lags.
	c.reach(t, w.publish(several(10, 20)...))
	w.wipeSnapshots(store)
	c.takeSnapshot(t)
	late, stop := context.WithCancel(context.Background())
	defer stop()
	w.heartbeats(late, "late", taken.StreamCreatedAt, taken.Position)
	if _, err := trimmer.Trim(within(t), 0); !errors.Is(err, snapshot.ErrRefused) || !strings.Contains(err.Error(), "cut off late at ") {
		t.Errorf("with a copy that lags: %v", err)
	}
}

// wipeSnapshots removes all snapshots.
func (w *world) wipeSnapshots(store string) {
	w.t.Helper()
	entries, err := os.ReadDir(store)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(store + "/" + e.Name()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// The log is trimmed beyond a worker that is cut off from it for so long, and runs on: it takes the newest snapshot.
func TestTrimmedWhileAWorkerWasAway(t *testing.T) {
	store, dir := t.TempDir(), t.TempDir()
	w := newWorld(t)
	second := func(o *Options) {
		inDirectory(store)(o)
		o.Config.Name, o.Config.Dir = "second", dir
	}
	// It has the beginning of the log, and nobody hears of it any more.
	away := w.start(second)
	away.reach(t, w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 10)...)...))
	away.close(t)

	c := w.start(inDirectory(store))
	last := w.publish(several(10, 20)...)
	c.reach(t, last)
	c.takeSnapshot(t)
	trimmer := w.trimmer("dir:" + store)
	trimmer.CutOff = []string{"second"}
	if plan, err := trimmer.Trim(within(t), 0); err != nil || plan.Through != last {
		t.Fatalf("%+v, %v", plan, err)
	}
	c.close(t)
	away = w.start(second)
	end := w.publish(several(20, 30)...)
	away.reach(t, end)
	w.expectAll(0, 30)
	if n := w.count("a"); n != 30 {
		t.Errorf("%d observations, want 30", n)
	}
}

// The same of a worker that ran on all the while, and was not given anything: it meets a hole that nobody's delete has made.
func TestTrimmedBeyondARunningWorker(t *testing.T) {
	store := t.TempDir()
	w := newWorld(t)
	late := w.start(func(o *Options) {
		inDirectory(store)(o)
		o.Config.Name, o.Config.Dir = "late", t.TempDir()
	})
	late.reach(t, w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 10)...)...))
	if _, err := w.conn.JS.PauseConsumer(within(t), bus.LogStream(0), "worker_late", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	c := w.start(inDirectory(store))
	last := w.publish(several(10, 20)...)
	c.reach(t, last)
	c.takeSnapshot(t)
	trimmer := w.trimmer("dir:" + store)
	if _, err := trimmer.Trim(within(t), 0); !errors.Is(err, snapshot.ErrRefused) || !strings.Contains(err.Error(), "late at ") {
		t.Fatalf("%v", err)
	}
	trimmer.CutOff = []string{"late"}
	if _, err := trimmer.Trim(within(t), 0); err != nil {
		t.Fatal(err)
	}
	end := w.publish(several(20, 30)...)
	c.reach(t, end)
	c.close(t) // from now on the other one answers
	if _, err := w.conn.JS.ResumeConsumer(within(t), bus.LogStream(0), "worker_late"); err != nil {
		t.Fatal(err)
	}
	late.reach(t, end)
	w.expectAll(0, 30)
	if n := w.count("a"); n != 30 {
		t.Errorf("%d observations, want 30", n)
	}
	if late.log.count("restored from a snapshot") != 1 {
		t.Error("no snapshot was restored")
	}
}
