package vfs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/engram-memory/engram/pkg/vfs"
)

func dice(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func TestKillKeepsEverything(t *testing.T) {
	mem := vfs.NewMem()
	ok(t, mem.MkdirAll("d"))
	f := create(t, mem, "d/file", "hello")
	ok(t, f.Truncate(vfs.PageSize))
	m := must[vfs.Mapping](t)(f.Map(0, vfs.PageSize))
	copy(m.Bytes(), "mapped")
	dead := mem.Kill()
	// What goes on here does not happen there.
	copy(m.Bytes(), "later.")
	ok(t, mem.Rename("d/file", "d/other"))

	if got := content(t, dead, "d/file"); string(got[:6]) != "mapped" {
		t.Errorf("it holds %q", got[:6])
	}
	if must[string](t)(dead.Identity("d")) != must[string](t)(mem.Identity("d")) {
		t.Error("the identity changed")
	}
	// It is as volatile in the copy as it was.
	if got := must[[]string](t)(dead.LosePower(nil).List("/")); len(got) > 0 {
		t.Errorf("%q survived both", got)
	}
}

func TestPowerLossKeepsWhatIsSynced(t *testing.T) {
	for seed := range uint64(20) {
		mem := vfs.NewMem()
		ok(t, mem.MkdirAll("d"))
		ok(t, mem.SyncDir("/"))
		f := create(t, mem, "d/file", strings.Repeat("durable.", 3000))
		ok(t, f.Sync())
		ok(t, create(t, mem, "d/unnamed", "x").Close())
		ok(t, mem.SyncDir("d"))
		want := content(t, mem, "d/file")
		var rng *rand.Rand
		if seed > 0 {
			rng = dice(seed)
		}
		lost := mem.LosePower(rng)
		if got := content(t, lost, "d/file"); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: it holds %d bytes", seed, len(got))
		}
		if must[string](t)(lost.Identity("d")) == must[string](t)(mem.Identity("d")) {
			t.Error("the identity is the same")
		}
		if got := must[[]string](t)(lost.LosePower(nil).List("d")); !slices.Equal(got, []string{"file", "unnamed"}) {
			t.Errorf("after a second loss: %q", got)
		}
	}
}

func TestPowerLossWithoutSyncs(t *testing.T) {
	mem := vfs.NewMem()
	ok(t, mem.MkdirAll("d"))
	ok(t, mem.SyncDir("/"))
	f := create(t, mem, "d/file", "old")
	ok(t, f.Sync())
	ok(t, mem.SyncDir("d"))
	_ = must[int](t)(f.WriteAt([]byte("new and longer"), 0))
	ok(t, create(t, mem, "d/more", "x").Close())
	if lost := mem.LosePower(nil); string(content(t, lost, "d/file")) != "old" || len(must[[]string](t)(lost.List("d"))) != 1 {
		t.Error("what was not synced survived")
	}
}

// Over many losses of power, every sector that changed is seen old and new, and none in any other state.
func TestPowerLossOfSectors(t *testing.T) {
	const sectors = 16
	mem := vfs.NewMem()
	f := create(t, mem, "file", strings.Repeat("a", sectors*512))
	ok(t, f.Sync())
	ok(t, mem.SyncDir("/"))
	m := must[vfs.Mapping](t)(f.Map(0, sectors*512))
	for i := range m.Bytes() {
		m.Bytes()[i] = 'b'
	}
	var seen [sectors][2]int
	for seed := range uint64(50) {
		got := content(t, mem.LosePower(dice(seed)), "file")
		for i := range sectors {
			switch s := string(got[i*512 : (i+1)*512]); s {
			case strings.Repeat("a", 512):
				seen[i][0]++
			case strings.Repeat("b", 512):
				seen[i][1]++
			default:
				t.Fatalf("sector %d holds %q", i, s)
			}
		}
	}
	for i, n := range seen {
		if n[0] == 0 || n[1] == 0 {
			t.Errorf("sector %d was old %d times and new %d times", i, n[0], n[1])
		}
	}
	// A part of a mapping that is synced is kept.
	ok(t, m.Sync(4096, 100))
	for seed := range uint64(10) {
		if got := content(t, mem.LosePower(dice(seed)), "file"); string(got[4096:8192]) != strings.Repeat("b", 4096) {
			t.Error("a part that was synced was lost")
		}
	}
	if got := content(t, mem.LosePower(nil), "file"); string(got[:4096]) != strings.Repeat("a", 4096) {
		t.Error("a part that was not synced was kept")
	}
}

func TestPowerLossOfSizes(t *testing.T) {
	mem := vfs.NewMem()
	f := create(t, mem, "file", "0123456789")
	ok(t, f.Sync())
	ok(t, mem.SyncDir("/"))
	_ = must[int](t)(f.WriteAt(bytes.Repeat([]byte{'x'}, 2000), 10))
	sizes := map[string]int{}
	for seed := range uint64(60) {
		switch got := content(t, mem.LosePower(dice(seed)), "file"); {
		case len(got) == 10:
			sizes["old"]++
		case len(got) == 2010:
			sizes["new"]++
		case len(got) > 10 && len(got) < 2010:
			sizes["between"]++
		default:
			t.Errorf("%d bytes", len(got))
		}
	}
	if len(sizes) != 3 {
		t.Errorf("the sizes were %v", sizes)
	}
	ok(t, f.Truncate(5))
	ok(t, f.Sync())
	for seed := range uint64(10) {
		if got := content(t, mem.LosePower(dice(seed)), "file"); string(got) != "01234" {
			t.Errorf("after a truncation that was synced: %q", got)
		}
	}
}

// A rename happens whole or not at all, and a file that is moved twice has one name.
func TestPowerLossOfNames(t *testing.T) {
	mem := vfs.NewMem()
	for _, name := range []string{"current", "old"} {
		f := create(t, mem, name, name)
		ok(t, f.Sync())
	}
	ok(t, mem.SyncDir("/"))
	f := create(t, mem, "next", "next")
	ok(t, f.Sync())
	ok(t, mem.Rename("next", "current"))
	ok(t, mem.Rename("old", "older"))
	ok(t, mem.Rename("older", "oldest"))
	ok(t, create(t, mem, "new", "").Close())
	ok(t, mem.Remove("new"))

	states := map[string]bool{}
	for seed := range uint64(100) {
		lost := mem.LosePower(dice(seed))
		names := must[[]string](t)(lost.List("/"))
		states[strings.Join(names, " ")+"="+string(content(t, lost, "current"))] = true
		old := 0
		for _, name := range names {
			if strings.HasPrefix(name, "old") {
				old++
				if got := content(t, lost, name); string(got) != "old" {
					t.Errorf("%s holds %q", name, got)
				}
			}
		}
		if old != 1 {
			t.Errorf("the file that was moved twice has %d names: %q", old, names)
		}
	}
	for _, want := range []string{
		"current old=current", "current old=next", "current next old=current", "current older=current", "current oldest=next", "current new old=current",
	} {
		if !states[want] {
			t.Errorf("never seen: %s", want)
		}
	}
	ok(t, mem.SyncDir("/"))
	if names := must[[]string](t)(mem.LosePower(dice(0)).List("/")); !slices.Equal(names, []string{"current", "oldest"}) {
		t.Errorf("after SyncDir: %q", names)
	}
}

// A directory whose own name was never synced takes everything in it along.
func TestPowerLossOfDirectories(t *testing.T) {
	mem := vfs.NewMem()
	ok(t, mem.MkdirAll("a/b"))
	f := create(t, mem, "a/b/file", "x")
	ok(t, f.Sync())
	ok(t, mem.SyncDir("a/b"))
	ok(t, mem.SyncDir("/"))
	if _, err := mem.LosePower(nil).Stat("a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a/b: %v", err)
	}
	ok(t, mem.SyncDir("a"))
	if got := content(t, mem.LosePower(nil), "a/b/file"); string(got) != "x" {
		t.Errorf("it holds %q", got)
	}
}

func TestSameNumbersSameLoss(t *testing.T) {
	mem := vfs.NewMem()
	for _, name := range []string{"a", "b", "c", "d"} {
		ok(t, create(t, mem, name, strings.Repeat(name, 5000)).Close())
	}
	one, two := mem.LosePower(dice(7)), mem.LosePower(dice(7))
	names := must[[]string](t)(one.List("/"))
	if !slices.Equal(names, must[[]string](t)(two.List("/"))) {
		t.Fatal("the names differ")
	}
	for _, name := range names {
		if !bytes.Equal(content(t, one, name), content(t, two, name)) {
			t.Errorf("%s differs", name)
		}
	}
}

// What a sync failed to write stays lost though later syncs succeed, until it is written again.
func TestFailedSyncIsNotMadeUpFor(t *testing.T) {
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	f := create(t, fault, "file", strings.Repeat("a", 3*4096))
	ok(t, f.Sync())
	ok(t, fault.SyncDir("/"))
	m := must[vfs.Mapping](t)(f.Map(0, 3*4096))
	copy(m.Bytes()[4096:], "first")
	fault.Inject(vfs.Rule{Ops: vfs.OpSync | vfs.OpMsync, Err: syscall.EIO})
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("the sync: %v", err)
	}
	ok(t, f.Sync())
	ok(t, m.Sync(0, 3*4096))
	if got := content(t, mem.LosePower(nil), "file"); string(got[4096:4101]) != "aaaaa" {
		t.Errorf("a later sync wrote %q", got[4096:4101])
	}
	if got := content(t, mem, "file"); string(got[4096:4101]) != "first" {
		t.Errorf("meanwhile it reads %q", got[4096:4101])
	}
	copy(m.Bytes()[4096:], "again")
	_ = must[int](t)(f.WriteAt([]byte("third"), 8192))
	ok(t, f.Sync())
	if got := content(t, mem.LosePower(nil), "file"); string(got[4096:4101]) != "again" || string(got[8192:8197]) != "third" {
		t.Errorf("after writing again: %q, %q", got[4096:4101], got[8192:8197])
	}
}

// A mapping may be written while the file is synced and cloned.
func TestSyncWhileMappingIsWritten(t *testing.T) {
	mem := vfs.NewMem()
	f := create(t, mem, "file", "")
	ok(t, f.Truncate(vfs.PageSize))
	m := must[vfs.Mapping](t)(f.Map(0, vfs.PageSize))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range m.Bytes() {
			m.Bytes()[i] = byte(i)
		}
	}()
	for range 5 {
		ok(t, m.Sync(0, vfs.PageSize))
		ok(t, f.Sync())
		_ = mem.LosePower(dice(1))
		_ = mem.Kill()
	}
	<-done
}
