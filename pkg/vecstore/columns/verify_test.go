package columns

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/vfs"
)

const sealedRows = 1500

// sealed makes a file that was closed cleanly.
func sealed(t *testing.T, fsys vfs.FS, path string) {
	t.Helper()
	f := created(t, fsys, path, sealedRows)
	fillAll(f, sealedRows)
	ok(t, f.Seal(2))
	ok(t, f.Close())
}

// verified opens and verifies a file and returns what was wrong with it.
func verified(fsys vfs.FS, path string) error {
	f, err := Open(fsys, path, header(small()))
	if err != nil {
		return err
	}
	return errors.Join(f.Verify(context.Background(), 2), f.Close())
}

func TestSealAndVerify(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, path string) {
		sealed(t, fsys, path)
		f := opened(t, fsys, path)
		ok(t, f.Verify(context.Background(), 2))
		ok(t, f.Verify(context.Background(), 0))
		checkAll(t, f, sealedRows)
		canceled, cancel := context.WithCancel(context.Background())
		cancel()
		is(t, f.Verify(canceled, 2), context.Canceled)
		fill(f.Chunks(), sealedRows)
		is(t, f.Verify(context.Background(), 2), ErrCorrupt)
		ok(t, f.Grow(5000))
		is(t, f.Verify(context.Background(), 2), ErrNotSealed)
		ok(t, f.Close())
		// The checksums are gone once the file has grown, and can be made again.
		is(t, verified(fsys, path), ErrNotSealed)
		f = opened(t, fsys, path)
		ok(t, f.Seal(1))
		ok(t, f.Seal(1))
		ok(t, f.Close())
		ok(t, verified(fsys, path))
	})
}

// Whoever opens a file and dies before it is written to leaves it as sealed as it was; who is about to write does not,
// whether there is room already or not.
func TestSealLastsUntilGrow(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, path string) {
		sealed(t, fsys, path)
		for range 3 {
			ok(t, verified(fsys, path))
		}
		f := opened(t, fsys, path)
		ok(t, f.Verify(context.Background(), 1))
		ok(t, f.Grow(1))
		if _, err := fsys.Stat(SumsPath(path)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the checksums are there when the file is about to be written: %v", err)
		}
		ok(t, f.Close())
		is(t, verified(fsys, path), ErrNotSealed)
		// Checksums of this process go as well as those of another.
		f = opened(t, fsys, path)
		ok(t, f.Seal(1))
		ok(t, f.Grow(1))
		ok(t, f.Close())
		is(t, verified(fsys, path), ErrNotSealed)
	})
}

func TestVerifyNamesTheBlock(t *testing.T) {
	mem := vfs.NewMem()
	sealed(t, mem, "a.col")
	l := small()
	for at, want := range map[int64]string{
		20:    "the checksum of the header",
		9000:  "the header block",
		60000: "the header block",
		l.chunkOffset(1) + l.columnOffset(ColumnCodes) + 5: "block 0 of the codes of chunk 1",
	} {
		dead := mem.Kill()
		flip(t, dead, "a.col", at, 1)
		if err := verified(dead, "a.col"); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "a.col") {
			t.Errorf("byte %d: %v", at, err)
		}
	}
}

func flip(t *testing.T, fsys vfs.FS, path string, at int64, bits byte) {
	t.Helper()
	f, err := fsys.Open(path)
	ok(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	ok(t, err)
	b[0] ^= bits
	_, err = f.WriteAt(b, at)
	ok(t, errors.Join(err, f.Close()))
}

func length(t *testing.T, fsys vfs.FS, path string) int64 {
	t.Helper()
	info, err := fsys.Stat(path)
	ok(t, err)
	return info.Size()
}

func damaged(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) || errors.Is(err, ErrIdentity)
}

// Every kind of byte is flipped: all fields of both files, and of each column of each chunk some of the first, the last
// and others, padding included.
func TestEveryFlipIsDetected(t *testing.T) {
	mem := vfs.NewMem()
	sealed(t, mem, "a.col")
	rng := rand.New(rand.NewPCG(1, 2))
	var places []int64
	for at := range int64(128) {
		places = append(places, at, stateOffset+at)
	}
	for at := range int64(8) {
		places = append(places, fixedBytes-8+at)
	}
	for _, b := range small().blocks(2) {
		places = append(places, b.offset, b.offset+b.length-1)
		for range 4 {
			places = append(places, b.offset+rng.Int64N(b.length))
		}
	}
	undetected := 0
	for _, at := range places {
		dead := mem.Kill()
		flip(t, dead, "a.col", at, 1<<rng.IntN(8))
		if err := verified(dead, "a.col"); !damaged(err) {
			undetected++
			t.Errorf("byte %d: %v", at, err)
		}
	}
	n := length(t, mem, SumsPath("a.col"))
	for at := range n {
		dead := mem.Kill()
		flip(t, dead, SumsPath("a.col"), at, 1<<rng.IntN(8))
		if err := verified(dead, "a.col"); !damaged(err) {
			undetected++
			t.Errorf("byte %d of the checksums: %v", at, err)
		}
	}
	if t.Logf("%d flips, %d undetected", int64(len(places))+n, undetected); undetected > 0 || n < 50 {
		t.Error("some were not detected")
	}
}

// Both files are cut, and made longer, at the boundaries of their parts and beside them.
func TestEveryTruncationIsDetected(t *testing.T) {
	mem := vfs.NewMem()
	sealed(t, mem, "a.col")
	size := length(t, mem, "a.col")
	sizes := []int64{0, 1, 128, fixedBytes - 1, fixedBytes, size + 1, size + small().chunkBytes()}
	for _, b := range small().blocks(2) {
		sizes = append(sizes, b.offset+b.length-1, b.offset+b.length, b.offset+b.length+1)
	}
	for _, n := range sizes {
		if n == size {
			continue
		}
		dead := mem.Kill()
		cut(t, dead, "a.col", n)
		if err := verified(dead, "a.col"); !damaged(err) {
			t.Errorf("%d bytes of %d: %v", n, size, err)
		}
	}
	sums := length(t, mem, SumsPath("a.col"))
	for n := range sums + 8 {
		if n == sums {
			continue
		}
		dead := mem.Kill()
		cut(t, dead, SumsPath("a.col"), n)
		if err := verified(dead, "a.col"); !damaged(err) {
			t.Errorf("%d bytes of %d of checksums: %v", n, sums, err)
		}
	}
	dead := mem.Kill()
	ok(t, dead.Remove(SumsPath("a.col")))
	is(t, verified(dead, "a.col"), ErrNotSealed)
}

func cut(t *testing.T, fsys vfs.FS, path string, size int64) {
	t.Helper()
	f, err := fsys.Open(path)
	ok(t, err)
	ok(t, errors.Join(f.Truncate(size), f.Close()))
}

// Without checksums, the header tells that chunks are missing.
func TestOpenFindsMissingChunks(t *testing.T) {
	mem := vfs.NewMem()
	ok(t, created(t, mem, "a.col", 3000).Close())
	for _, size := range []int64{headerBytes, small().chunkOffset(1), small().chunkOffset(3) - 1} {
		dead := mem.Kill()
		cut(t, dead, "a.col", size)
		_, err := Open(dead, "a.col", header(small()))
		is(t, err, ErrCorrupt)
	}
	dead := mem.Kill()
	flip(t, dead, "a.col", stateOffset+7, 0xff)
	_, err := Open(dead, "a.col", header(small()))
	is(t, err, ErrCorrupt)
}

func TestUnknownVersions(t *testing.T) {
	mem := vfs.NewMem()
	sealed(t, mem, "a.col")
	dead := mem.Kill()
	flip(t, dead, "a.col", 8, 3)
	is(t, verified(dead, "a.col"), ErrVersion)
	dead = mem.Kill()
	flip(t, dead, SumsPath("a.col"), 8, 3)
	is(t, verified(dead, "a.col"), ErrVersion)
}

func TestScrubber(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, path string) {
		f := created(t, fsys, path, 2048)
		fillAll(f, 2048)
		ok(t, f.Settle(1))
		ok(t, f.Settle(0))
		per := len(small().chunkBlocks(nil, 0, hot))
		if n := f.SettledBlocks(); n != 2*per {
			t.Fatalf("%d blocks are settled", n)
		}
		// What may change does not matter.
		f.Chunks().Links(1030)[2]++
		f.Chunks().Upper(130)[2]++
		*f.Chunks().UpperIndex(1030)++
		for i := range f.SettledBlocks() {
			ok(t, f.VerifyBlock(i))
		}
		for i, change := range []func(){
			func() { f.Chunks().Sketch(1030)[4]++ },
			func() { f.Chunks().Info(1030).Norm++ },
			func() { f.Chunks().SketchInfo(1030).Norm++ },
			func() { f.Chunks().Code(1030)[4]++ },
			func() { *f.Chunks().Sequence(1030)++ },
		} {
			change()
			bad := 0
			for i := range f.SettledBlocks() {
				if err := f.VerifyBlock(i); err != nil {
					is(t, err, ErrCorrupt)
					bad++
				}
			}
			if bad != 1 {
				t.Errorf("after change %d, %d blocks are bad", i, bad)
			}
			ok(t, f.Settle(1))
		}
		if err := errors.Join(f.Settle(2), f.Settle(-1)); err == nil {
			t.Error("chunks that are not there were settled")
		}
		if err := errors.Join(f.VerifyBlock(2*per), f.VerifyBlock(-1)); err == nil {
			t.Error("blocks that are not there were verified")
		}
		ok(t, f.Close())
	})
}

// The power is lost before each call that a clean close, and the use after it, makes: what Verify then vouches for is what
// was sealed, to the last byte.
func TestVerifyAfterPowerLoss(t *testing.T) {
	trusted, lost := 0, 0
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		fault := vfs.NewFault(mem)
		var crashed []*vfs.Mem
		f := created(t, fault, "a.col", sealedRows)
		ok(t, mem.SyncDir("."))
		fillAll(f, sealedRows)
		fault.Inject(vfs.Rule{Ops: vfs.OpAll, N: n, Before: func() {
			crashed = append(crashed, mem.LosePower(nil))
			for seed := range uint64(4) {
				crashed = append(crashed, mem.LosePower(rand.New(rand.NewPCG(seed, uint64(n)))))
			}
		}})
		ok(t, f.Seal(1))
		ok(t, f.Close())
		want := contentOf(t, mem, "a.col")
		f = opened(t, fault, "a.col")
		ok(t, f.Verify(context.Background(), 1))
		fill(f.Chunks(), sealedRows)
		ok(t, f.Grow(2100))
		fill(f.Chunks(), 2060)
		ok(t, f.Sync())
		ok(t, f.Close())
		if crashed == nil {
			break
		}
		for _, dead := range crashed {
			if _, err := dead.Stat("a.col"); err != nil {
				lost++
				continue
			}
			got := contentOf(t, dead, "a.col")
			switch err := verified(dead, "a.col"); {
			case err == nil && !bytes.Equal(got, want):
				t.Fatalf("before call %d, a file that is not the one that was sealed was verified", n)
			case err == nil:
				trusted++
			default:
				lost++
			}
		}
	}
	if trusted == 0 || lost == 0 {
		t.Errorf("%d were trusted, %d lost", trusted, lost)
	}
}

// The death of the process loses nothing, wherever it happens.
func TestOpenAfterKill(t *testing.T) {
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		fault := vfs.NewFault(mem)
		f := created(t, fault, "a.col", 10)
		var dead *vfs.Mem
		var rows uint32
		fault.Inject(vfs.Rule{Ops: vfs.OpAll, N: n, Before: func() { dead = mem.Kill() }})
		for row := range uint32(2100) {
			ok(t, f.Grow(row+1))
			fill(f.Chunks(), row)
			if dead == nil {
				rows = row + 1
			}
		}
		ok(t, f.Seal(1))
		ok(t, f.Close())
		if dead == nil {
			break
		}
		again := opened(t, dead, "a.col")
		checkAll(t, again, rows)
		ok(t, again.Grow(3000))
		ok(t, again.Close())
	}
}
