package columns

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/vfs"
)

var update = flag.Bool("update", false, "write testdata anew")

func dumped(t *testing.T, b []byte) (string, error) {
	t.Helper()
	var out strings.Builder
	err := Dump(&out, bytes.NewReader(b), int64(len(b)))
	return out.String(), err
}

func TestDump(t *testing.T) {
	mem := vfs.NewMem()
	f := created(t, mem, "a.col", 1500)
	fillAll(f, 1500)
	f.State().Linked.Store(1400)
	f.State().Linking.Store(1400)
	f.State().Slots.Store(93)
	f.State().Entry = 960<<8 | 2
	ok(t, f.Seal(1))
	ok(t, f.Close())
	for name, file := range map[string]string{"testdata/columns.txt": "a.col", "testdata/sums.txt": SumsPath("a.col")} {
		got, err := dumped(t, contentOf(t, mem, file))
		ok(t, err)
		if *update {
			ok(t, os.WriteFile(name, []byte(got), 0o644))
		}
		want, err := os.ReadFile(name)
		ok(t, err)
		if got != string(want) {
			t.Errorf("%s is not as it was; go test -update writes it anew, and a new version number goes with it:\n%s", name, got)
		}
	}
}

// The parts of a row are told apart whatever the length of a sketch, and every byte of the header is printed.
func TestDumpOfLongCodes(t *testing.T) {
	at := int64(0)
	for _, f := range headerFields() {
		at += f.size
	}
	if at != headerBytes {
		t.Errorf("%d bytes of the header are printed", at)
	}
	for _, dim := range []int{1, 300, 384, 784, 3000} {
		mem := vfs.NewMem()
		f, err := Create(mem, "a.col", header(layoutFor(dim, 5, 0)))
		ok(t, err)
		ok(t, f.Grow(1))
		*f.Chunks().Info(0) = Info{Factor: 1.5, Norm: 2.5, Missed: BoundOf(3.5), Rounded: BoundOf(0.75)}
		f.State().Linking.Store(1)
		ok(t, f.Close())
		out, err := dumped(t, contentOf(t, mem, "a.col"))
		ok(t, err)
		if !strings.Contains(out, "row 0 factor: 1.5, norm: 2.5, missed: 3.5, rounded: 0.75") {
			t.Errorf("dimension %d:\n%s", dim, out)
		}
	}
}

func TestDumpOfDamage(t *testing.T) {
	mem := vfs.NewMem()
	sealed(t, mem, "a.col")
	b := contentOf(t, mem, "a.col")

	out, err := dumped(t, b[:small().chunkOffset(1)+5])
	is(t, err, ErrCorrupt)
	if !strings.Contains(out, "chunk 0") || strings.Contains(out, "chunk 1,") {
		t.Error("what is left was not printed")
	}
	out, err = dumped(t, append(bytes.Clone(b), 1, 2, 3))
	ok(t, err)
	if !strings.Contains(out, "3  not part of a chunk") {
		t.Error("what is too much was not printed")
	}
	b[100]++
	out, err = dumped(t, b)
	is(t, err, ErrCorrupt)
	if !strings.Contains(out, "dimension: 31") {
		t.Error("the header was not printed")
	}
	if IsDumpable(b[:7]) || !IsDumpable(b[:8]) || !IsColumns(b) {
		t.Error("a column file is not known as one")
	}
	if sums := contentOf(t, mem, SumsPath("a.col")); IsDumpable(sums[:7]) || !IsDumpable(sums[:8]) || IsColumns(sums) {
		t.Error("checksums are not known as such")
	}
	if _, err := dumped(t, nil); err == nil {
		t.Error("a file without bytes is none")
	}
}
