package corpus

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const shelfGo = `// Copyright of somebody.

//go:build linux

// Package shelf keeps books.
package shelf

// not about a declaration
import "os"

// Limits of a shelf.
const (
	// Max is how many books fit.
	Max, Min = 10, 0
	silent   = 3 // a comment behind is not documentation
)

// Book is a book.
//
//	b := Book{}   // in code
//
//go:notinheap
type Book struct {
	Title string // fields are no declarations of their own
}

// Read reads on.
func (b *Book) Read() {}

// Len is generic.
func (l List[T]) Len() int { return 0 }

//go:linkname now time.now
func now() int64

func undocumented() {}

type (
	// List is a list.
	List[T any] []T
)

//line elsewhere.y:1000
// init the first.
func init() {}

// init the second.
func init() {}

var _ = os.Args
`

func TestParseGo(t *testing.T) {
	g, err := parseGo("lib/shelf/shelf.go", []byte(shelfGo))
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		kind, symbol, text, source, exported string
	}
	var got []row
	for _, d := range g.decls {
		doc := g.document("lib/shelf/shelf.go", d)
		got = append(got, row{doc.Metadata["kind"], doc.Metadata["symbol"], doc.Text, doc.Source, doc.Metadata["exported"]})
		if doc.Metadata["package"] != "lib/shelf" {
			t.Errorf("package %q", doc.Metadata["package"])
		}
	}
	want := []row{
		{"package", "", "package shelf: Package shelf keeps books.", "lib/shelf/shelf.go:6", "true"},
		{"const group", "const(Max)", "shelf.Max, Min, silent: Limits of a shelf.", "lib/shelf/shelf.go:12", "true"},
		{"const", "Max", "shelf.Max, Min: Max is how many books fit.", "lib/shelf/shelf.go:14", "true"},
		{"type", "Book", "shelf.Book: Book is a book. b := Book{} // in code", "lib/shelf/shelf.go:23", "true"},
		{"method", "Book.Read", "shelf.Book.Read: Read reads on.", "lib/shelf/shelf.go:28", "true"},
		{"method", "List.Len", "shelf.List.Len: Len is generic.", "lib/shelf/shelf.go:31", "true"},
		{"type", "List", "shelf.List: List is a list.", "lib/shelf/shelf.go:40", "true"},
		{"func", "init", "shelf.init: init the first.", "lib/shelf/shelf.go:45", "false"},
		{"func", "init", "shelf.init: init the second.", "lib/shelf/shelf.go:48", "false"},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(row{})); d != "" {
		t.Error(d)
	}
}

func TestParseGoLimits(t *testing.T) {
	src := "package p\n// " + strings.Repeat("é", MaxText) + "\nfunc f() {}\n// C has\nconst (A, B, C, D, E, F, G, H, I, J, K, L, M = 1)\n"
	g, err := parseGo("p.go", []byte(src))
	if err != nil || len(g.decls) != 2 {
		t.Fatalf("%d declarations, %v", len(g.decls), err)
	}
	if n := len(g.document("p.go", g.decls[0]).Text); n > MaxText || n < MaxText-1 {
		t.Errorf("a long text was cut to %d bytes", n)
	}
	if got := g.document("p.go", g.decls[1]).Text; got != "p.A, B, C, D, E, F, G, H, I, J, K, L, ...: C has" {
		t.Errorf("a long group: %q", got)
	}
}

func goroot(t *testing.T) string {
	return tree(t, map[string]string{
		"src/lib/shelf/shelf.go":         shelfGo,
		"src/lib/shelf/shelf_test.go":    "package shelf\n// T is a test.\nfunc T() {}\n",
		"src/lib/shelf/testdata/x.go":    "package x\n// X is test data.\nfunc X() {}\n",
		"src/lib/shelf/_gen/x.go":        "package x\n// X is no package.\nfunc X() {}\n",
		"src/lib/shelf/.x/x.go":          "package x\n// X is hidden.\nfunc X() {}\n",
		"src/lib/shelf/inner/in.go":      "package inner\n// In is between two files of shelf.\nfunc In() {}\n",
		"src/lib/shelf/put_linux.go":     "package shelf\n// Put puts.\nfunc Put() {}\n// Only is here only.\nvar Only int\n",
		"src/lib/shelf/put_windows.go":   "package shelf\n// Put puts, otherwise.\nfunc Put() {}\n",
		"src/lib/shelf/vendor/v/v.go":    "package v\n// V is somebody else's.\nfunc V() {}\n",
		"src/cmd/tool/main.go":           "package main\n// run runs.\nfunc run() {}\n",
		"src/cmd/tool/internal/a.b/a.go": "package a\n// a is an A.\ntype a int\n",
		"src/top.go":                     "package top\n// Top is at the root.\nfunc Top() {}\n",
		"src/README.md":                  "# not Go\n\ntext\n",
		"doc/other.go":                   "package doc\n// Not below src.\nfunc Not() {}\n",
	})
}

func TestGoDocs(t *testing.T) {
	root := goroot(t)
	docs, err := read(t, GoDocs, root)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"src top.Top",
		"cmd cmd/tool.run",
		"cmd cmd/tool/internal/a.b.a",
		"lib lib/shelf.Put@put_linux.go",
		"lib lib/shelf.Only",
		"lib lib/shelf.Put@put_windows.go",
		"lib lib/shelf.const(Max)",
		"lib lib/shelf.Max",
		"lib lib/shelf.Book",
		"lib lib/shelf.Book.Read",
		"lib lib/shelf.List.Len",
		"lib lib/shelf.List",
		"lib lib/shelf.init@shelf.go",
		"lib lib/shelf.init@shelf.go-2",
		"lib lib/shelf/inner.In",
	}
	if d := cmp.Diff(want, ids(docs)); d != "" {
		t.Error(d)
	}
	if got := docs[1]; got.Text != "tool.run: run runs." || got.Source != "cmd/tool/main.go:3" {
		t.Errorf("a command: %+v", got)
	}
	again, err := read(t, GoDocs, root)
	if d := cmp.Diff(docs, again); d != "" || err != nil {
		t.Errorf("a second walk differs: %v %s", err, d)
	}
}

func TestGoDocsErrors(t *testing.T) {
	if _, err := read(t, GoDocs, t.TempDir()); !errors.Is(err, ErrNoToolchain) {
		t.Errorf("no src: %v", err)
	}
	if _, err := read(t, GoDocs, tree(t, map[string]string{"src/a.go": "package a\n"})); !errors.Is(err, ErrNothing) {
		t.Errorf("nothing documented: %v", err)
	}
	docs, err := read(t, GoDocs, tree(t, map[string]string{
		"src/a/broken.go": "package a\n// F is before the error.\nfunc F() {}\nfunc {\n",
		"src/b/b.go":      "package b\n// G is after it.\nfunc G() {}\n",
	}))
	var skipped *SkippedError
	if !errors.As(err, &skipped) || skipped.Files != 1 || !strings.Contains(err.Error(), "a/broken.go:4") {
		t.Errorf("a file that does not parse: %v", err)
	}
	if d := cmp.Diff([]string{"a a.F", "b b.G"}, ids(docs)); d != "" {
		t.Error(d)
	}
}

// TestGoDocsToolchain reads the start of the source of the toolchain that runs the test, which therefore has it.
func TestGoDocsToolchain(t *testing.T) {
	root, err := FindGoroot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	found := map[string]Document{}
	err = GoDocs(t.Context(), root, func(d Document) error {
		checkDocument(t, d)
		found[d.ID] = d
		if len(found) == 1000 {
			return enough
		}
		return nil
	})
	if err != enough {
		t.Fatalf("the walk ended with %v after %d different ids", err, len(found))
	}
	for _, id := range []string{"archive/zip.Reader", "bufio.Scanner.Scan", "builtin.append", "bytes.Buffer.Read"} {
		if d := found[id]; d.Space == "" || !strings.Contains(d.Text, ": ") {
			t.Errorf("%s: %+v", id, d)
		}
	}
}

func TestFindGoroot(t *testing.T) {
	// A user may have asked for a toolchain that would have to be downloaded; the one that is there will do.
	t.Setenv("GOTOOLCHAIN", "go1.999.0")
	t.Setenv("GOPROXY", "off")
	root, err := FindGoroot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "src", "fmt", "print.go")); errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s has no source", root)
	}

	t.Run("without source", func(t *testing.T) {
		t.Setenv("GOROOT", t.TempDir()) // which go env reports as it is
		oneLine(t)
	})
	t.Run("without go", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		oneLine(t)
	})
}

func oneLine(t *testing.T) {
	t.Helper()
	_, err := FindGoroot(t.Context())
	if !errors.Is(err, ErrNoToolchain) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "--source") {
		t.Errorf("got %v", err)
	}
}
