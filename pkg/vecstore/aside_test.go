package vecstore_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// Of what was set aside of a shard the newest are kept, and of other shards everything.
func TestRemoveAside(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "shard-1")
	var aside []string
	for i := range 12 {
		must(t, os.MkdirAll(filepath.Join(dir, "inside"), 0o755))
		name, err := vecstore.SetAside(dir, testNow.Add(time.Duration(i/11)*time.Second)) // most of them in one second
		must(t, err)
		aside = append(aside, name)
	}
	others := []string{dir, filepath.Join(root, "shard-10.aside-20200101T000000-000"), filepath.Join(root, "shard-2.aside-20200101T000000-000")}
	for _, name := range others {
		must(t, os.MkdirAll(name, 0o755))
	}
	removed, err := vecstore.RemoveAside(dir, 2)
	if err != nil || !slices.Equal(removed, aside[:10]) {
		t.Errorf("removed %q, %v", removed, err)
	}
	left, err := filepath.Glob(filepath.Join(root, "*"))
	must(t, err)
	if want := append(aside[10:], others...); len(left) != len(want) || slices.ContainsFunc(want, func(name string) bool { return !slices.Contains(left, name) }) {
		t.Errorf("left are %q, want %q", left, want)
	}
	if again, err := vecstore.RemoveAside(dir, 2); err != nil || len(again) != 0 {
		t.Errorf("removed %q, %v", again, err)
	}
}

// Of the columns that were set aside the newest ones of each living space are kept.
func TestColumnsSetAsideAreBounded(t *testing.T) {
	mem := vfs.NewMem()
	h := newHistory(1)
	h.define(vecstore.Definition{Name: "a", Dimension: 2, Metric: vecstore.L2})
	h.define(vecstore.Definition{Name: "b", Dimension: 2, Metric: vecstore.L2})
	s, _ := open(t, "shard", vecstore.Options{FS: mem})
	feed(t, s, h, h.last())
	must(t, s.Close())
	for _, name := range []string{"1-000002", "1-000010", "1-000009", "2-000001", "3-000007"} {
		f, err := mem.Create("shard/space-0000000" + name + ".cols.aside")
		must(t, err)
		must(t, f.Close())
	}
	open(t, "shard", vecstore.Options{FS: mem})
	names, err := mem.List("shard")
	must(t, err)
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".aside") })
	slices.Sort(names)
	if want := []string{"space-00000001-000010.cols.aside", "space-00000002-000001.cols.aside"}; !slices.Equal(names, want) {
		t.Errorf("left are %q, want %q", names, want)
	}
}
