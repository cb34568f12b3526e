package corpus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDir(t *testing.T) {
	root := tree(t, map[string]string{
		"README.md":              "# Tool\nwhat it does\n## Use\nhow\n## Use\nwhy\n",
		"notes.txt":              strings.Repeat("word ", 150) + "\n\n" + strings.Repeat("more ", 150),
		"Guide Book/a.rst":       "A\n==\n\nx\n",
		"Guide Book/b.MARKDOWN":  "preamble\n# 1\n" + strings.Repeat("y ", 400) + "\n\n" + strings.Repeat("z ", 400),
		"src/shelf.go":           shelfGo,
		"src/shelf_test.go":      "package shelf\n// T is a test.\nfunc T() {}\n",
		"src/logo.png":           "\x89PNG",
		".git/info.txt":          "hidden folder",
		"src/.hidden.md":         "hidden file",
		"node_modules/x/x.md":    "not ours",
		"src/vendor/x/README.md": "not ours",
		"empty.txt":              "",
	})
	docs, err := read(t, Dir, root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range docs {
		got = append(got, fmt.Sprint(d.Space, " ", d.ID, " ", d.Source, " ", d.Metadata["heading"]))
	}
	top := SpaceName(filepath.Base(root))
	want := []string{
		top + " README.md#tool README.md:2 Tool",
		top + " README.md#use README.md:4 Tool > Use",
		top + " README.md#use-2 README.md:6 Tool > Use",
		top + " notes.txt#1 notes.txt:1 ",
		top + " notes.txt#2 notes.txt:3 ",
		"guide-book Guide Book/a.rst#a Guide Book/a.rst:4 A",
		"guide-book Guide Book/b.MARKDOWN#1 Guide Book/b.MARKDOWN:1 ",
		"guide-book Guide Book/b.MARKDOWN#1-2 Guide Book/b.MARKDOWN:3 1",
		"guide-book Guide Book/b.MARKDOWN#1.2 Guide Book/b.MARKDOWN:5 1",
		"src src/shelf.go#package src/shelf.go:6 ",
		"src src/shelf.go#const(Max) src/shelf.go:12 ",
		"src src/shelf.go#Max src/shelf.go:14 ",
		"src src/shelf.go#Book src/shelf.go:23 ",
		"src src/shelf.go#Book.Read src/shelf.go:28 ",
		"src src/shelf.go#List.Len src/shelf.go:31 ",
		"src src/shelf.go#List src/shelf.go:40 ",
		"src src/shelf.go#init src/shelf.go:45 ",
		"src src/shelf.go#init-2 src/shelf.go:48 ",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := docs[1]; got.Text != "Tool > Use: how" || got.Metadata["path"] != "README.md" {
		t.Errorf("a section: %+v", got)
	}
}

func TestDirErrors(t *testing.T) {
	if _, err := read(t, Dir, filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a root that is not there: %v", err)
	}
	root := tree(t, map[string]string{"a.txt": "x"})
	if _, err := read(t, Dir, filepath.Join(root, "a.txt")); err == nil || !strings.Contains(err.Error(), "a folder is needed") {
		t.Errorf("a root that is a file: %v", err)
	}
	_, err := read(t, Dir, tree(t, map[string]string{"a.bin": "x", "b.txt": " \n"}))
	if !errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), ".md") {
		t.Errorf("nothing to read: %v", err)
	}
}

func TestDirReportsWhatItSkips(t *testing.T) {
	files := map[string]string{
		"binary.txt":  "text\x00",
		"latin1.md":   "caf\xe9",
		"large.txt":   strings.Repeat("x", MaxFile+1),
		"broken.go":   "package a\n// F is kept.\nfunc F() {}\nfunc (\n",
		"limit.txt":   strings.Repeat("x", MaxText),
		"z/last.txt":  "the last",
		"ignored.bin": "\x00",
	}
	docs, err := read(t, Dir, tree(t, files))
	var skipped *SkippedError
	if !errors.As(err, &skipped) || errors.Is(err, ErrNothing) || skipped.Files != 4 {
		t.Fatalf("got %v", err)
	}
	for i, says := range []string{"NUL byte", "broken.go:4", "larger than 8 MiB", "not valid UTF-8"} {
		if !strings.Contains(skipped.Reasons[i].Error(), says) {
			t.Errorf("reason %d is %v, want one that says %q", i, skipped.Reasons[i], says)
		}
	}
	if !strings.Contains(err.Error(), "4 of the files") || !strings.Contains(err.Error(), "and 1 more") {
		t.Errorf("the sentence: %v", err)
	}
	var got []string
	for _, d := range docs {
		got = append(got, d.ID)
	}
	if d := cmp.Diff([]string{"broken.go#F", "limit.txt#1", "z/last.txt#1"}, got); d != "" {
		t.Error(d)
	}
}

func TestSkippedErrorIsBounded(t *testing.T) {
	var e SkippedError
	for i := range 1000 {
		e.add(fmt.Errorf("file %d", i))
	}
	if e.Files != 1000 || len(e.Reasons) != maxReasons || !strings.HasSuffix(e.Error(), "file 2; and 997 more") {
		t.Errorf("%d files, %d reasons: %v", e.Files, len(e.Reasons), &e)
	}
}

func TestDirSymlinks(t *testing.T) {
	root := tree(t, map[string]string{"real/a.txt": "a"})
	outside := tree(t, map[string]string{"b.txt": "b"})
	for link, to := range map[string]string{"loop": root, "out": outside, "file.txt": filepath.Join(outside, "b.txt")} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	docs, err := read(t, Dir, root)
	if d := cmp.Diff([]string{"real real/a.txt#1"}, ids(docs)); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	docs, err = read(t, Dir, filepath.Join(root, "out"))
	if d := cmp.Diff([]string{"out b.txt#1"}, ids(docs)); d != "" || err != nil {
		t.Errorf("a root that is a link: %v %s", err, d)
	}
}

// many is a folder of n files, more than the window, in several folders.
func many(t *testing.T, n int) string {
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("d%d/f%03d.txt", i%7, i)] = fmt.Sprint("text ", i)
	}
	return tree(t, files)
}

func TestWalkIsOrdered(t *testing.T) {
	root := many(t, 300)
	first, err := read(t, Dir, root)
	if err != nil || len(first) != 300 {
		t.Fatalf("%d documents, %v", len(first), err)
	}
	for i := 1; i < len(first); i++ {
		if first[i].ID <= first[i-1].ID {
			t.Fatalf("%s comes after %s", first[i].ID, first[i-1].ID)
		}
	}
}

func TestWalkStops(t *testing.T) {
	root := many(t, 300)
	t.Run("by emit", func(t *testing.T) {
		enough, n := errors.New("enough"), 0
		err := Dir(t.Context(), root, func(Document) error {
			if n++; n == 3 {
				return enough
			}
			return nil
		})
		if err != enough || n != 3 {
			t.Errorf("%d documents, %v", n, err)
		}
	})
	t.Run("by cancel", func(t *testing.T) {
		stop := errors.New("the user left")
		ctx, cancel := context.WithCancelCause(t.Context())
		n := 0
		err := Dir(ctx, root, func(Document) error {
			if n++; n == 3 {
				cancel(stop)
			}
			return nil
		})
		// What was parsed by then may still come, within the window.
		if !errors.Is(err, stop) || n > 3+window+maxParsers {
			t.Errorf("%d documents, %v", n, err)
		}
	})
	t.Run("before it starts", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Dir(ctx, root, func(Document) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// A folder that cannot be listed is reported and does not end the walk. The tests may run as root, for whom every folder
// can be listed, hence one that is gone.
func TestWalkFolderThatIsGone(t *testing.T) {
	ordered := make(chan (<-chan parsed), 1)
	f := finder{want: func(string, bool) bool { return true }, ordered: ordered}
	if err := f.folder(t.Context(), filepath.Join(t.TempDir(), "gone"), "a/gone"); err != nil {
		t.Fatal(err)
	}
	if p := <-<-ordered; !errors.Is(p.err, fs.ErrNotExist) || p.rel != "a/gone" {
		t.Errorf("got %+v", p)
	}
}
