package snapshot_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/snapshot"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// source is the log of the tests.
func source() vecstore.Source {
	return vecstore.Source{Epoch: "epoch", Shard: 3, CreatedAt: 1_700_000_000_000_000_001}
}

// memory is a shard whose files are in memory, with one space of wide rows, so that there are several chunks.
type memory struct {
	t    *testing.T
	fsys *vfs.Mem
	*vecstore.Shard
	last uint64
}

func options(fsys vfs.FS) vecstore.Options {
	return vecstore.Options{FS: fsys, SegmentSize: 9 << 20, KeepVersions: -1, GraphRows: 1 << 30}
}

const dimension = 16000

func newMemory(t *testing.T) *memory {
	t.Helper()
	fsys := vfs.NewMem()
	s, _, err := vecstore.Open("shard", source(), options(fsys))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abandon() })
	m := &memory{t: t, fsys: fsys, Shard: s}
	m.take(vecstore.Event{Kind: vecstore.KindDefine, Space: "s", Definition: &vecstore.Definition{Name: "s", Dimension: dimension, Metric: vecstore.Dot, Generation: 1}})
	return m
}

// take appends and applies events.
func (m *memory) take(events ...vecstore.Event) {
	m.t.Helper()
	var given []*vecstore.Event
	for i := range events {
		m.last++
		events[i].Sequence = m.last
		if err := m.Appender().Add(&events[i]); err != nil {
			m.t.Fatal(err)
		}
		if events[i].SpaceKey() != nil {
			given = append(given, &events[i])
		}
	}
	if err := m.Appender().Flush(); err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.Apply(given, m.last-uint64(len(events))); err != nil {
		m.t.Fatal(err)
	}
	m.Applied(m.last)
}

// fill adds observations with ids from a number to below another one; 150 of them are about 9 MiB.
func (m *memory) fill(from, to int) {
	m.t.Helper()
	for i := from; i < to; i++ {
		v := make([]byte, 4*dimension)
		for j := range dimension {
			binary.LittleEndian.PutUint32(v[4*j:], math.Float32bits(float32(i*31+j%97)))
		}
		m.take(vecstore.Event{Kind: vecstore.KindObserve, Space: "s", ID: fmt.Sprint(i), Vector: v, Body: fmt.Appendf(nil, "body of %d", i)})
	}
}

func (m *memory) snapshot(store snapshot.Store, keep int) (snapshot.Taken, error) {
	m.t.Helper()
	export, err := m.Export(time.Now())
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() {
		if err := export.Close(); err != nil {
			m.t.Error(err)
		}
	}()
	return snapshot.Take(within(m.t), store, export, snapshot.Options{
		Worker: "Worker_1", Keep: keep, Applied: func(context.Context, uint64) error { return nil },
	})
}

func (m *memory) mustSnapshot(store snapshot.Store, keep int) snapshot.Taken {
	m.t.Helper()
	taken, err := m.snapshot(store, keep)
	if err != nil {
		m.t.Fatal(err)
	}
	return taken
}

// ids returns the ids of a shard's observations, in order.
func ids(t *testing.T, s *vecstore.Shard) []string {
	t.Helper()
	rows, _, err := s.List("s", 0, 1<<20, vecstore.At{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range rows {
		if string(r.Body) != "body of "+r.ID {
			t.Fatalf("%s has the body %q", r.ID, r.Body)
		}
		out = append(out, r.ID)
	}
	slices.Sort(out)
	return out
}

// restored is what a snapshot makes of an empty disk.
func restored(t *testing.T, store snapshot.Store, m *snapshot.Manifest) *vecstore.Shard {
	t.Helper()
	fsys := vfs.NewMem()
	if err := snapshot.Restore(within(t), store, m, fsys, "shard", nil); err != nil {
		t.Fatal(err)
	}
	s, _, err := vecstore.Open("shard", source(), options(fsys))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abandon() })
	if s.Appended() != m.Position {
		t.Fatalf("restored at %d, want %d", s.Appended(), m.Position)
	}
	return s
}

// counting counts what is put into a store, and fails what it is told to.
type counting struct {
	snapshot.Store
	mu     sync.Mutex
	puts   []string
	failAt int // the put that fails, from 1; 0 for none
}

func (c *counting) Put(ctx context.Context, name string, data []byte) error {
	c.mu.Lock()
	c.puts = append(c.puts, name[strings.LastIndexByte(name, '/')+1:])
	fail := len(c.puts) == c.failAt
	c.mu.Unlock()
	if fail {
		return syscall.ECONNRESET
	}
	return c.Store.Put(ctx, name, data)
}

func (c *counting) reset() { c.puts = nil }

func (c *counting) put(kind string) (n int) {
	for _, name := range c.puts {
		if strings.HasPrefix(name, kind) {
			n++
		}
	}
	return n
}

func newStore(t *testing.T) *counting {
	t.Helper()
	s, err := snapshot.NewDir(vfs.NewMem(), "store", "test")
	if err != nil {
		t.Fatal(err)
	}
	return &counting{Store: s}
}

// The second snapshot stores what is new, and both are whole.
func TestSnapshotsAreIncremental(t *testing.T) {
	m, store := newMemory(t), newStore(t)
	m.fill(0, 300) // two full segments, and the third has begun
	first := m.mustSnapshot(store, 2)
	if n := store.put("chunk-"); n != first.Chunks || n != first.Manifest.Chunks() || first.Known != 0 || len(first.Segments) != 3 {
		t.Fatalf("%d chunks were stored of %d in %d segments: %+v", n, first.Manifest.Chunks(), len(first.Segments), first)
	}
	store.reset()
	m.fill(300, 310)
	second := m.mustSnapshot(store, 2)
	// What was the last segment has grown; the chunks of those before it are known without reading them.
	if n := store.put("chunk-"); n != 1 || second.Chunks != 1 || second.Known != second.Manifest.Chunks()-1 || second.Bytes >= snapshot.ChunkSize {
		t.Errorf("%d chunks were stored of %d: %+v", n, second.Manifest.Chunks(), second)
	}
	store.reset()
	if third := m.mustSnapshot(store, 2); !third.Unchanged || third.ID() != second.ID() || store.put("chunk-")+store.put("snapshot-") != 0 {
		t.Errorf("nothing was new, and there was stored: %q, %+v", store.puts, third)
	}
	for _, taken := range []snapshot.Taken{first, second} {
		v, err := snapshot.Verify(within(t), store, taken.Manifest, nil)
		if err != nil || v.Chunks != taken.Manifest.Chunks() || v.Bytes != taken.Manifest.Bytes || v.Records != taken.Records {
			t.Errorf("%+v, %v; want what is in %+v", v, err, taken.Manifest)
		}
	}
	if got := ids(t, restored(t, store, first.Manifest)); len(got) != 300 {
		t.Errorf("the first one has %d observations, want 300", len(got))
	}
	if got := ids(t, restored(t, store, second.Manifest)); len(got) != 310 {
		t.Errorf("the second one has %d observations, want 310", len(got))
	}
}

// What a compaction has erased is in no snapshot that is taken behind it, and gone with those before it.
func TestOlderSnapshotsGo(t *testing.T) {
	m, store := newMemory(t), newStore(t)
	m.fill(0, 200)
	var all []snapshot.Taken
	for i := range 4 {
		m.take(vecstore.Event{Kind: vecstore.KindForget, Space: "s", IDs: []string{fmt.Sprint(i)}})
		if _, err := m.Erase(within(t), "s"); err != nil {
			t.Fatal(err)
		}
		all = append(all, m.mustSnapshot(store, 2))
	}
	if r := all[3].Removed; len(r) != 1 || r[0] != all[1].ID() {
		t.Errorf("the last one removed %v, want %v", r, all[1].ID())
	}
	found, err := snapshot.Of(within(t), store, source())
	if err != nil || len(found) != 2 || found[0].ID != all[3].ID() || found[1].ID != all[2].ID() {
		t.Fatalf("there are %v, %v", found, err)
	}
	used := map[string]bool{}
	for _, taken := range all[2:] {
		for _, s := range taken.Segments {
			for _, sum := range s.Chunks {
				used["chunk-"+sum.String()] = true
			}
		}
		if _, err := snapshot.Verify(within(t), store, taken.Manifest, nil); err != nil {
			t.Error(err)
		}
	}
	blobs, err := store.List(within(t), "")
	if err != nil || len(blobs) != len(used)+2 {
		t.Errorf("%d blobs, want %d chunks and two manifests: %v", len(blobs), len(used), err)
	}
	if got := ids(t, restored(t, store, all[3].Manifest)); len(got) != 196 {
		t.Errorf("%d observations, want 196", len(got))
	}
}

// A put fails, whichever it is: there is no half snapshot, what there was stays, and the next one is whole.
func TestPutThatFails(t *testing.T) {
	for n := 1; ; n++ {
		m, store := newMemory(t), newStore(t)
		m.fill(0, 10)
		before := m.mustSnapshot(store, 1)
		m.fill(10, 20)
		store.reset()
		store.failAt = n
		_, err := m.snapshot(store, 1)
		if len(store.puts) < n {
			if n < 4 {
				t.Fatalf("%d puts only", len(store.puts))
			}
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("put %d failed, and taking a snapshot says %v", n, err)
		}
		found, err := snapshot.Of(within(t), store, source())
		if err != nil || len(found) != 1 || found[0].ID != before.ID() {
			t.Fatalf("put %d failed, and there are %v: %v", n, found, err)
		}
		if got := ids(t, restored(t, store, before.Manifest)); len(got) != 10 {
			t.Errorf("%d observations, want 10", len(got))
		}
		store.failAt = 0
		after := m.mustSnapshot(store, 1)
		if got := ids(t, restored(t, store, after.Manifest)); len(got) != 20 {
			t.Errorf("%d observations, want 20", len(got))
		}
	}
}

// Every blob of a snapshot is damaged in every way: verifying and restoring both find it, and an older one is restored.
func TestDamageIsFound(t *testing.T) {
	m, store := newMemory(t), newStore(t)
	m.fill(0, 100)
	older := m.mustSnapshot(store, 2)
	m.take(vecstore.Event{Kind: vecstore.KindForget, Space: "s", IDs: []string{"1"}})
	if _, err := m.Erase(within(t), "s"); err != nil {
		t.Fatal(err)
	}
	m.fill(100, 110)
	newest := m.mustSnapshot(store, 2)
	mine := map[string]bool{}
	for _, s := range newest.Segments {
		for _, sum := range s.Chunks {
			mine["chunk-"+sum.String()] = true
		}
	}
	blobs, err := store.List(within(t), "")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, blob := range blobs {
		base := blob.Name[strings.LastIndexByte(blob.Name, '/')+1:]
		if !mine[base] && !strings.Contains(base, newest.ID().String()) {
			continue
		}
		good, err := store.Get(within(t), blob.Name)
		if err != nil {
			t.Fatal(err)
		}
		for what, bad := range map[string][]byte{
			"a bit": flipped(good, len(good)/2), "the first byte": flipped(good, 0), "the last byte": flipped(good, len(good)-1),
			"short": good[:len(good)-1], "long": append(slices.Clone(good), 0), "empty": {}, "missing": nil,
		} {
			tried++
			if bad == nil {
				err = store.Delete(within(t), blob.Name)
			} else {
				err = store.Store.Put(within(t), blob.Name, bad)
			}
			if err != nil {
				t.Fatal(err)
			}
			found := snapshot.Found{Source: source(), ID: newest.ID()}
			got, err := snapshot.Load(within(t), store, found)
			if err == nil {
				_, err = snapshot.Verify(within(t), store, got, nil)
			}
			if !errors.Is(err, snapshot.ErrCorrupt) && !errors.Is(err, snapshot.ErrNotFound) {
				t.Errorf("%s of %s: verifying says %v", what, base, err)
			}
			skipped := 0
			fsys := vfs.NewMem()
			used, err := snapshot.RestoreNewest(within(t), store, snapshot.Wanted{
				Source: source(), End: math.MaxUint64, Skipped: func(snapshot.ID, error) { skipped++ },
			}, fsys, "shard", nil)
			if err != nil || used.ID() != older.ID() || skipped != 1 && what != "missing" {
				t.Errorf("%s of %s: %d snapshots were skipped, restored was %v, %v", what, base, skipped, used, err)
			}
		}
		if err := store.Store.Put(within(t), blob.Name, good); err != nil {
			t.Fatal(err)
		}
	}
	if tried < 4*7 {
		t.Errorf("only %d damages were tried", tried)
	}
}

func flipped(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 0x10
	return b
}

// A chunk that verifying found damaged is discarded and stored anew by the next snapshot, though its segment has not changed.
func TestDamagedChunkIsStoredAnew(t *testing.T) {
	m, store := newMemory(t), newStore(t)
	m.fill(0, 300)
	taken := m.mustSnapshot(store, 2)
	name := ""
	blobs, err := store.List(within(t), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		if strings.HasSuffix(b.Name, taken.Segments[0].Chunks[0].String()) {
			name = b.Name
		}
	}
	if err := store.Store.Put(within(t), name, make([]byte, snapshot.ChunkSize)); err != nil {
		t.Fatal(err)
	}
	v, err := snapshot.Verify(within(t), store, taken.Manifest, nil)
	if !errors.Is(err, snapshot.ErrCorrupt) || len(v.Damaged) != 1 {
		t.Fatalf("%+v, %v", v, err)
	}
	if err := snapshot.Discard(within(t), store, taken.Manifest, v.Damaged[0]); err != nil {
		t.Fatal(err)
	}
	if again := m.mustSnapshot(store, 2); again.Unchanged || again.Chunks != 2 { // with the end of the last segment, which says when it was taken
		t.Errorf("%+v", again)
	}
	if _, err := snapshot.Verify(within(t), store, taken.Manifest, nil); err != nil {
		t.Error(err)
	}
}

// While somebody takes a snapshot of a shard, nobody else does; a lock whose time is over does not count.
func TestOneAtATime(t *testing.T) {
	m, store := newMemory(t), newStore(t)
	m.fill(0, 3)
	name := "epoch/3/1700000000000000001/lock-" + snapshot.Token("Worker_2") + ".json"
	lock := func(until time.Time) {
		if err := store.Store.Put(within(t), name, fmt.Appendf(nil, `{"worker":"Worker_2","until":%q}`, until.Format(time.RFC3339Nano))); err != nil {
			t.Fatal(err)
		}
	}
	lock(time.Now().Add(time.Minute))
	if _, err := m.snapshot(store, 1); !errors.Is(err, snapshot.ErrBusy) || !strings.Contains(err.Error(), "Worker_2") {
		t.Errorf("beside another one: %v", err)
	}
	if _, err := store.Get(within(t), name); err != nil {
		t.Errorf("the lock of the other one: %v", err)
	}
	lock(time.Now().Add(-time.Second))
	m.mustSnapshot(store, 1)
	if blobs, err := store.List(within(t), "epoch/3/1700000000000000001/lock-"); err != nil || len(blobs) > 0 {
		t.Errorf("locks are left: %v, %v", blobs, err)
	}
}

// A manifest of a later version is left alone, with all chunks, since nobody here can tell which are its own.
func TestLaterVersionIsLeftAlone(t *testing.T) {
	m, store := newMemory(t), newStore(t)
	m.fill(0, 3)
	m.mustSnapshot(store, 1)
	blobs, err := store.List(within(t), "")
	if err != nil {
		t.Fatal(err)
	}
	later := "epoch/3/1700000000000000001/snapshot-00000000000000000002-00000000000000000005.json"
	if err := store.Store.Put(within(t), later, signed(`{"format":"engram-snapshot","version":2}`)); err != nil {
		t.Fatal(err)
	}
	m.fill(3, 6)
	m.mustSnapshot(store, 1)
	after, err := store.List(within(t), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		if strings.Contains(b.Name, "chunk-") && !slices.Contains(names(after), b.Name) {
			t.Errorf("%s is gone", b.Name)
		}
	}
	if !slices.Contains(names(after), later) {
		t.Error("the manifest of a later version is gone")
	}
	_, err = snapshot.Load(within(t), store, snapshot.Found{Source: source(), ID: snapshot.ID{Position: 2, Taken: time.Unix(0, 5)}})
	if !errors.Is(err, snapshot.ErrVersion) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("%v", err)
	}
}
