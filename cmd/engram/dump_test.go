package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// storeFiles makes a shard with a graph, closes it, and returns its directory.
func storeFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	s, _, err := vecstore.Open(dir, vecstore.Source{Epoch: "e"}, vecstore.Options{GraphRows: 1, SegmentSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	add := func(e *vecstore.Event) {
		t.Helper()
		if err := s.Appender().Add(e); err != nil {
			t.Fatal(err)
		}
	}
	add(&vecstore.Event{Sequence: 1, Kind: vecstore.KindDefine, Space: "a", Definition: &vecstore.Definition{
		Name: "a", Dimension: 4, Metric: vecstore.Dot, Generation: 1, Engine: vecstore.EngineHNSW,
	}})
	const rows = 3000
	var events []*vecstore.Event
	for i := range rows {
		v := []float32{float32(i % 7), float32(i % 11), float32(i % 13), 1}
		events = append(events, &vecstore.Event{
			Sequence: uint64(i) + 2, Kind: vecstore.KindObserve, Space: "a", ID: moment(int64(i + 1)), Vector: event.AppendF32(nil, v),
		})
		add(events[i])
	}
	if err := s.Appender().Flush(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Apply(events, 1); err != nil || n != rows {
		t.Fatalf("%d were applied, %v", n, err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		if st, ok := s.Stats("a"); ok && st.Graph > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no row is in a graph")
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// eachStoreFile hands over the files of a shard, each in a directory that is as it was, with their bytes to change.
func eachStoreFile(t *testing.T, dir string, try func(t *testing.T, name string, whole []byte)) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := filepath.Join(dir, f.Name())
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(f.Name(), func(t *testing.T) { try(t, name, bytes.Clone(whole)) })
		rewrite(t, name, whole)
	}
}

func rewrite(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// dumpFails expects that the file is printed as an error, and returns what was printed of it.
func dumpFails(t *testing.T, name string) outcome {
	t.Helper()
	o := engramIn(t.Context(), strings.NewReader(""), "dump", name)
	if o.code != exitFailure || !strings.HasPrefix(o.stderr, "engram: printing "+name) {
		t.Errorf("%d, %s", o.code, o.stderr)
	}
	return o
}

// Every file that a shard keeps can be printed, and says what it is.
func TestDump(t *testing.T) {
	kinds := map[string]int{}
	eachStoreFile(t, storeFiles(t), func(t *testing.T, name string, whole []byte) {
		text := engram(t, "dump", name)
		if strings.Count(text, "\n") < 5 || !strings.Contains(text, "magic") {
			t.Error(text)
		}
		kinds[string(whole[:magicBytes])]++
	})
	if len(kinds) < 4 {
		t.Errorf("the files are of the kinds %v", kinds)
	}
}

// A byte that is not what its checksum says is told by the exit code, when the file has been printed.
func TestDumpOfWrongChecksums(t *testing.T) {
	eachStoreFile(t, storeFiles(t), func(t *testing.T, name string, whole []byte) {
		for _, at := range []int{16, len(whole) / 2, len(whole) - 1} {
			whole[at] ^= 1
			rewrite(t, name, whole)
			if o := dumpFails(t, name); !strings.Contains(o.stdout, "magic") {
				t.Errorf("with another byte at %d of %d: %s", at, len(whole), o.stdout)
			}
			whole[at] ^= 1
		}
	})
}

// Columns without their checksums may be damaged anywhere: they are printed, and do not pass for good ones.
func TestDumpOfColumnsWithoutChecksums(t *testing.T) {
	dir := storeFiles(t)
	sums, err := filepath.Glob(filepath.Join(dir, "*.cols.sums"))
	if err != nil || len(sums) != 1 {
		t.Fatalf("%v, %v", sums, err)
	}
	if err := os.Remove(sums[0]); err != nil {
		t.Fatal(err)
	}
	o := dumpFails(t, strings.TrimSuffix(sums[0], ".sums"))
	contains(t, o.stderr, "no checksums", sums[0])
	contains(t, o.stdout, "magic")
}

// A damaged file is printed as far as possible.
func TestDumpOfDamage(t *testing.T) {
	eachStoreFile(t, storeFiles(t), func(t *testing.T, name string, whole []byte) {
		whole[len(whole)/2] ^= 0xff
		rewrite(t, name, whole[:len(whole)-1])
		dumpFails(t, name)
	})
}

// What is no file of a store is named with the bytes that it has, and with no others.
func TestDumpOfWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		writeFile(t, "text", "this is a text"): `begins with "this is "`,
		writeFile(t, "short", "x"):             "it begins with \"x\"\n",
		writeFile(t, "empty", ""):              "is no file of a worker's store: it is empty\n",
		dir:                                    "is not a file",
		filepath.Join(dir, "nothing"):          "no such file",
	} {
		contains(t, fails(t, exitFailure, "dump", name), want)
	}
}
