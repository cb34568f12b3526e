package manifest

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

var update = flag.Bool("update", false, "write the golden file anew")

// TestGolden holds the format still: what is written today must be what was written by this version ever since. The golden
// file is the dump of a manifest.
func TestGolden(t *testing.T) {
	const path = "testdata/MANIFEST.golden"
	var out strings.Builder
	if err := Dump(&out, encode(t, demo())); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("the manifest is now\n%s", out.String())
	}
}

// TestDumpOfDamage prints what there is, and says what is wrong.
func TestDumpOfDamage(t *testing.T) {
	good := encode(t, demo())
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		var out strings.Builder
		err := Dump(&out, bad)
		if !errors.Is(err, rows.ErrCorrupt) && !errors.Is(err, rows.ErrVersion) {
			t.Fatalf("Dump with another byte at %d = %v", i, err)
		}
		if i > 12 && !strings.Contains(out.String(), "epoch") {
			t.Fatalf("the dump with another byte at %d is %q", i, out.String())
		}
		if err := Dump(&out, good[:i]); !errors.Is(err, rows.ErrCorrupt) {
			t.Fatalf("Dump of %d bytes = %v", i, err)
		}
	}
	if IsDumpable(good[:7]) || !IsDumpable(good[:8]) {
		t.Error("IsDumpable is wrong")
	}
}
