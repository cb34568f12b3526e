package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/membership"
	"github.com/engram-memory/engram/pkg/snapshot"
)

// snapshots has a worker keep its snapshots in a directory, and take those alone that the test asks for.
func inDirectory(dir string) func(*Options) {
	return func(o *Options) {
		o.Config.Snapshot.Store, o.Config.Snapshot.Interval = "dir:"+dir, 0
		o.Config.Index.KeepVersions = 0
	}
}

func (c *tested) takeSnapshot(t testing.TB) snapshot.Taken {
	t.Helper()
	taken, err := c.shard().snapshot(within(t), 2)
	if err != nil {
		t.Fatal(err)
	}
	return taken
}

// wipe removes the files of the shard.
func (w *world) wipe() {
	w.t.Helper()
	if err := os.RemoveAll(filepath.Join(w.dir, "shard-0")); err != nil {
		w.t.Fatal(err)
	}
}

// trimTo removes what the log has below a sequence, as trimming does.
func (w *world) trimTo(sequence uint64) {
	w.t.Helper()
	if err := w.stream(bus.LogStream(0)).Purge(within(w.t), jetstream.WithPurgeSequence(sequence)); err != nil {
		w.t.Fatal(err)
	}
}

func forget(space string, ids ...string) *api.LogEvent {
	return &api.LogEvent{Event: &api.LogEvent_Forget{Forget: &api.ForgetEvent{Space: space, Ids: ids}}}
}

// A worker that lost its disk begins with the newest snapshot and reads the rest of the log, of which what the snapshot
// has is gone: everything is there, once, and what was forgotten, before the snapshot or behind it, is not.
func TestRestoreOnAFreshDisk(t *testing.T) {
	w, store := newWorld(t), t.TempDir()
	c := w.start(inDirectory(store))
	w.publish(append([]*api.LogEvent{define("a", 3), define("gone", 3), observe("gone", "x", 1, 0, 0)}, several(0, 50)...)...)
	last := w.publish(forget("a", "3", "7"), observe("a", "8", direction(200)...))
	c.reach(t, last)
	taken := c.takeSnapshot(t)
	if taken.Position != last || taken.Unchanged || taken.Chunks == 0 {
		t.Fatalf("the snapshot has position %d, want %d: %+v", taken.Position, last, taken)
	}
	if got := counted(c.Metrics.SnapshotBytes); int64(got) != taken.Bytes {
		t.Errorf("%d bytes are counted, and %d were stored", got, taken.Bytes)
	}
	if again := c.takeSnapshot(t); !again.Unchanged {
		t.Errorf("nothing happened, and there is another snapshot: %v", again.ID())
	}
	end := w.publish(append(several(50, 60), forget("a", "9"),
		&api.LogEvent{Event: &api.LogEvent_Drop{Drop: &api.DropEvent{Space: "gone", Generation: 1}}})...)
	c.reach(t, end)
	c.close(t)

	w.trimTo(last + 1)
	w.wipe()
	c = w.start(inDirectory(store))
	if n := c.log.count("restored from a snapshot"); n != 1 {
		t.Fatalf("%d snapshots were restored", n)
	}
	c.reach(t, end)
	w.expectAll(10, 60)
	if n := w.count("a"); n != 57 {
		t.Errorf("%d observations, want 60 without the three that were forgotten", n)
	}
	for i, want := range map[int]string{3: "4", 7: "6", 200: "8"} {
		if id := w.nearest(i); id != want {
			t.Errorf("the nearest to %d is %q, want %q", i, id, want)
		}
	}
	resp := new(api.SpacesResponse)
	if code := w.ask(bus.VerbSpaces, &api.SpacesRequest{}, resp); code != "" || len(resp.GetSpaces()) != 1 {
		t.Errorf("the spaces are %v, want one: %s", resp.GetSpaces(), code)
	}
	if c.log.count("the log begins behind") != 0 {
		t.Error("the worker says that the log begins behind its position")
	}
}

// An old copy of a worker's directory is put back, from before what the log still has: the newest snapshot takes its place.
// Where the log has what follows, the old copy goes on by itself.
func TestOldBackupIsPutBack(t *testing.T) {
	for _, trimmed := range []bool{false, true} {
		t.Run(fmt.Sprint("trimmed ", trimmed), func(t *testing.T) {
			w, store, backup := newWorld(t), t.TempDir(), filepath.Join(t.TempDir(), "shard-0")
			c := w.start(inDirectory(store))
			last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 10)...)...)
			c.reach(t, last)
			c.close(t)
			if err := os.CopyFS(backup, os.DirFS(filepath.Join(w.dir, "shard-0"))); err != nil {
				t.Fatal(err)
			}
			c = w.start(inDirectory(store))
			last = w.publish(append(several(10, 30), forget("a", "2"))...)
			c.reach(t, last)
			c.takeSnapshot(t)
			end := w.publish(append(several(30, 40), forget("a", "4"))...)
			c.reach(t, end)
			c.close(t)

			w.wipe()
			if err := os.CopyFS(filepath.Join(w.dir, "shard-0"), os.DirFS(backup)); err != nil {
				t.Fatal(err)
			}
			want := 0
			if trimmed {
				w.trimTo(last + 1)
				want = 1
			}
			c = w.start(inDirectory(store))
			if n := c.log.count("restored from a snapshot"); n != want || len(w.aside()) != want {
				t.Errorf("%d snapshots were restored and %d directories set aside, want %d", n, len(w.aside()), want)
			}
			c.reach(t, end)
			w.expectAll(5, 40)
			if n := w.count("a"); n != 38 {
				t.Errorf("%d observations, want 38", n)
			}
		})
	}
}

// The newest snapshot is damaged: the one before is restored, and the worker says so.
func TestDamagedSnapshotIsSkipped(t *testing.T) {
	w, store := newWorld(t), t.TempDir()
	c := w.start(inDirectory(store))
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 10)...)...)
	c.reach(t, last)
	first := c.takeSnapshot(t)
	last = w.publish(several(10, 20)...)
	c.reach(t, last)
	second := c.takeSnapshot(t)
	c.close(t)
	chunk := second.Segments[0].Chunks[0]
	name := filepath.Join(store, w.topo.Epoch, "0", fmt.Sprint(second.StreamCreatedAt), "chunk-"+chunk.String())
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	w.wipe()
	c = w.start(inDirectory(store))
	if c.log.count("an older one is tried") != 1 || c.log.count(first.ID().String()) != 1 {
		t.Error("the worker does not say that it took the older snapshot")
	}
	c.reach(t, last)
	w.expectAll(0, 20)
}

// A snapshot of another incarnation of the log is not looked at.
func TestSnapshotOfAnotherLogIsNotRestored(t *testing.T) {
	w, store := newWorld(t), t.TempDir()
	c := w.start(inDirectory(store))
	c.reach(t, w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 10)...)...))
	c.takeSnapshot(t)
	c.close(t)
	w.remake()
	w.wipe()
	c = w.start(inDirectory(store))
	c.reach(t, w.publish(define("a", 3), several(20, 21)[0]))
	if n := w.count("a"); n != 1 {
		t.Errorf("%d observations, want that of the new log", n)
	}
}

// A snapshot is taken by itself.
func TestSnapshotsAtAnInterval(t *testing.T) {
	w, store := newWorld(t), t.TempDir()
	c := w.start(func(o *Options) {
		inDirectory(store)(o)
		o.Config.Snapshot.Interval = minSnapshotInterval
	})
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 10)...)...)
	c.reach(t, last)
	s, err := snapshot.Open(within(t), "dir:"+store, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "there is a snapshot", func() bool {
		found, err := snapshot.List(within(t), s)
		return err == nil && len(found) == 1 && found[0].ID.Position == last
	})
}

// Of several copies the first one by name takes the snapshots.
func TestWhoTakesSnapshots(t *testing.T) {
	view := membership.View{Living: map[string]membership.Member{
		"a": {Name: "a"}, "b": {Name: "b", Serving: []int{0, 1}}, "c": {Name: "c", Serving: []int{1, 2}},
	}}
	for shard, want := range []string{"b", "b", "c", ""} {
		for _, name := range []string{"a", "b", "c"} {
			if got := takesSnapshots(name, shard, view); got != (name == want) {
				t.Errorf("worker %s takes snapshots of shard %d: %t", name, shard, got)
			}
		}
	}
}
