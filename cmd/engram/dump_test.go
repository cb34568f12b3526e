package main

import (
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

// Every file that a shard keeps can be printed, and says what it is.
func TestDump(t *testing.T) {
	dir := storeFiles(t)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, f := range files {
		text := engram(t, "dump", filepath.Join(dir, f.Name()))
		if strings.Count(text, "\n") < 5 || !strings.Contains(text, "magic") {
			t.Errorf("%s:\n%s", f.Name(), text)
		}
		magic, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		kinds[string(magic[:magicBytes])]++
	}
	if len(kinds) < 4 {
		t.Errorf("the files are of the kinds %v", kinds)
	}
}

// A byte that is not what its checksum says is told by the exit code, when the file has been printed.
func TestDumpOfWrongChecksums(t *testing.T) {
	dir := storeFiles(t)
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
		for _, at := range []int{16, len(whole) / 2, len(whole) - 1} {
			whole[at] ^= 1
			if err := os.WriteFile(name, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			o := engramIn(t.Context(), strings.NewReader(""), "dump", name)
			if o.code != exitFailure || !strings.HasPrefix(o.stderr, "engram: printing "+name) || !strings.Contains(o.stdout, "magic") {
				t.Errorf("%s with another byte at %d of %d: %d, %s", f.Name(), at, len(whole), o.code, o.stderr)
			}
			whole[at] ^= 1
		}
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A damaged file is printed as far as possible; what is no file of a store is named.
func TestDumpOfWhatIsNoFile(t *testing.T) {
	dir := storeFiles(t)
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
		whole[len(whole)/2] ^= 0xff
		if err := os.WriteFile(name, whole[:len(whole)-1], 0o600); err != nil {
			t.Fatal(err)
		}
		o := engramIn(t.Context(), strings.NewReader(""), "dump", name)
		if o.code != exitFailure || !strings.HasPrefix(o.stderr, "engram: printing "+name) {
			t.Errorf("%s, damaged: %d, %s", f.Name(), o.code, o.stderr)
		}
	}
	for name, want := range map[string]string{
		writeFile(t, "text", "this is a text"): `begins with "this is "`, writeFile(t, "empty", ""): "is no file of a worker's store",
		dir: "is not a file", filepath.Join(dir, "nothing"): "no such file",
	} {
		contains(t, fails(t, exitFailure, "dump", name), want)
	}
}
