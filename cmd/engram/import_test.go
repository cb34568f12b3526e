package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/engram-memory/engram/pkg/npy"
)

func npyFile(t *testing.T, name string, dtype npy.DType, rows, cols int) string {
	t.Helper()
	var b bytes.Buffer
	err := npy.Write(&b, dtype, rows, cols, func(i int, dst []float32) error {
		for j := range dst {
			dst[j] = float32((i*7+j*j)%11) + 0.5
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, name, b.String())
}

// imported is the result without what differs from run to run.
func imported(t *testing.T, text string) importJSON {
	t.Helper()
	r := decode[importJSON](t, text)
	r.Seconds, r.Position = 0, ""
	return r
}

func TestImport(t *testing.T) {
	startNode(t)
	var jsonl, txt strings.Builder
	for i := range 120 {
		fmt.Fprintf(&jsonl, `{"text":"event number %d","metadata":{"n":%d}}`+"\n", i, i)
		fmt.Fprintf(&txt, "note number %d\n", i)
	}
	engram(t, "create", "ones", "--dim", "1", "--metric", "l2")
	for _, tc := range []struct {
		space, path string
		id          string // of the record with index 17
	}{
		{"events", writeFile(t, "e.jsonl", jsonl.String()), "e.jsonl:18"},
		{"lines", writeFile(t, "n.txt", txt.String()), "n.txt:18"},
		{"floats", npyFile(t, "v.npy", npy.Float32, 120, 8), "v.npy:17"},
		{"halves", npyFile(t, "h.npy", npy.Float16, 120, 8), "h.npy:17"},
		{"ones", npyFile(t, "o.npy", npy.Float32, 120, 1), "o.npy:17"},
	} {
		t.Run(tc.space, func(t *testing.T) {
			args := []string{"import", tc.space, tc.path, "--batch", "25", "--window", "3", "--json"}
			want := importJSON{Space: tc.space, File: tc.path, Records: 120, Sent: 120, Searchable: true}
			if diff := cmp.Diff(want, imported(t, engram(t, args...))); diff != "" {
				t.Fatal(diff)
			}
			before := engram(t, "list", tc.space, "--limit", "1000", "--json")
			want.Sent, want.Present = 0, 120
			if diff := cmp.Diff(want, imported(t, engram(t, args...))); diff != "" {
				t.Fatal(diff)
			}
			first, second := decode[found](t, before), decode[found](t, engram(t, "list", tc.space, "--limit", "1000", "--json"))
			if len(first.Observations) != 120 || !cmp.Equal(first.Observations, second.Observations) {
				t.Errorf("%d observations, then %d, which differ", len(first.Observations), len(second.Observations))
			}
			if r := decode[found](t, engram(t, "get", tc.space, tc.id, "--json")); r.Observations[0].ID != tc.id {
				t.Errorf("%+v", r)
			}
			contains(t, engram(t, args[:3]...), filepath.Base(tc.path)+": 0 sent to "+tc.space+", 120 there already, 0 refused, in ")
		})
	}
	t.Run("prefix", func(t *testing.T) {
		engram(t, "import", "lines", writeFile(t, "n.txt", "one\n"), "--id-prefix", "day2/")
		engram(t, "get", "lines", "day2/1")
	})
	t.Run("another dimension", func(t *testing.T) {
		line := fails(t, exitFailure, "import", "floats", npyFile(t, "w.npy", npy.Float32, 5, 9))
		contains(t, line, `wrong_dimension (embedding): space "floats" has dimension 8, the embeddings of the file have 9`)
	})
	t.Run("interrupted", func(t *testing.T) {
		// A signal is a cause of its own.
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("stopped by a signal"))
		o := engramIn(ctx, strings.NewReader(""), "import", "stopped", writeFile(t, "n.txt", "one\n"))
		if o.code != 130 || o.stderr != "engram: interrupted; 0 sent, and the same command goes on from here\n" {
			t.Errorf("%+v", o)
		}
	})
}

func TestImportBadLines(t *testing.T) {
	startNode(t)
	path := writeFile(t, "bad.jsonl", strings.Join([]string{
		`{"id":"a","embedding":[1,2,3]}`,
		`{"id":"b","embedding":[1,2]}`, // the gateway finds this one
		`{"id":"c","embedding":[1,`,    // and the importer this one
		`{"id":"d","embedding":[0,0,0]}`,
		`{"id":"e","embedding":[3,2,1]}`,
	}, "\n"))
	for _, want := range []importJSON{
		{Space: "bad", File: path, Records: 5, Sent: 2, Refused: 3, Searchable: true},
		{Space: "bad", File: path, Records: 5, Present: 2, Refused: 3, Searchable: true},
	} {
		o := engramIn(t.Context(), strings.NewReader(""), "import", "bad", path, "--json")
		if diff := cmp.Diff(want, imported(t, o.stdout)); diff != "" || o.code != exitFailure {
			t.Fatalf("exit code %d: %s", o.code, diff)
		}
		lines := strings.Split(strings.TrimSpace(o.stderr), "\n")
		if len(lines) != 4 {
			t.Fatalf("stderr:\n%s", o.stderr)
		}
		contains(t, o.stderr, path+": line 2: wrong_dimension (embedding): ", path+": line 3: malformed", path+": line 4: invalid_embedding (embedding): ")
		if want := "engram: 3 of 5 lines refused; mend them and run the same command again"; lines[3] != want {
			t.Errorf("the last line is %q, want %q", lines[3], want)
		}
	}
	got := decode[found](t, engram(t, "list", "bad", "--json"))
	if len(got.Observations) != 2 {
		t.Errorf("%d observations", len(got.Observations))
	}
}

// A line of text that is none is reported, and the others are imported.
func TestImportBadText(t *testing.T) {
	startNode(t)
	path := writeFile(t, "latin.txt", "one\nzw\xf6lf\nthree\n")
	o := engramIn(t.Context(), strings.NewReader(""), "import", "latin", path, "--json")
	want := importJSON{Space: "latin", File: path, Records: 3, Sent: 2, Refused: 1, Searchable: true}
	if diff := cmp.Diff(want, imported(t, o.stdout)); diff != "" || o.code != exitFailure {
		t.Errorf("exit code %d: %s", o.code, diff)
	}
	contains(t, o.stderr, path+": line 2: malformed (text): the line is not UTF-8", "engram: 1 of 3 lines refused")
}

// A file without anything in it is more likely a mistake than a wish.
func TestImportOfNothing(t *testing.T) {
	startNode(t)
	path := writeFile(t, "nothing.jsonl", "\n\n")
	if got, want := fails(t, exitFailure, "import", "nothing", path), "engram: "+path+" has no line to import\n"; got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
}
