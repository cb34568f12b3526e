package snapshot_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/engram-memory/engram/pkg/snapshot"
)

// signed is a line with the trailer of a manifest.
func signed(line string) []byte {
	line += "\n"
	return fmt.Appendf(nil, "%ssha256 %x\n", line, sha256.Sum256([]byte(line)))
}

func example() *snapshot.Manifest {
	return &snapshot.Manifest{
		Format: snapshot.Format, Version: snapshot.Version, Epoch: "epoch", Shard: 3, StreamCreatedAt: 1_700_000_000_000_000_001,
		Position: 17, TakenAt: time.Date(2026, 5, 4, 3, 2, 1, 9, time.UTC), Worker: "worker-1", Directory: strings.Repeat("0f", 16),
		Records: 12, Bytes: 4_195_136, Spaces: 2, NextID: 9,
		Segments: []snapshot.Segment{
			{ID: 7, Length: 4_194_936, Entries: 10, Records: 10, Chunks: []snapshot.Sum{{1}, {2}}},
			{ID: 8, Length: 200, Entries: 2, Records: 2, Chunks: []snapshot.Sum{{3}}},
		},
		Horizons: []snapshot.Row{{Space: 1, Sequence: 5}}, GivenUp: []snapshot.Row{{Space: 1, Sequence: 6}},
	}
}

// The bytes are those of the documentation, and come back as they went.
func TestManifestIsAsDocumented(t *testing.T) {
	b, err := example().Encode()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/format/snapshot.md")
	if err != nil {
		t.Fatal(err)
	}
	line, trailer, _ := strings.Cut(string(b), "\n")
	var pretty any
	_, block, ok := strings.Cut(string(doc), "```json\n")
	block, _, _ = strings.Cut(block, "```")
	if !ok || json.Unmarshal([]byte(block), &pretty) != nil {
		t.Fatal("docs/format/snapshot.md has no example")
	}
	var got any
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(pretty, got); d != "" {
		t.Errorf("the example of docs/format/snapshot.md (-documented +encoded):\n%s", d)
	}
	if !strings.Contains(string(doc), strings.TrimSpace(trailer)) {
		t.Errorf("docs/format/snapshot.md has not the last line of the example, %q", trailer)
	}
	m, err := snapshot.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(example(), m); d != "" {
		t.Errorf("decoded (-want +got):\n%s", d)
	}
	// Each field has its row in the tables.
	for _, of := range []any{snapshot.Manifest{}, snapshot.Segment{}, snapshot.Row{}} {
		for f := range reflect.TypeOf(of).NumField() {
			name, _, _ := strings.Cut(reflect.TypeOf(of).Field(f).Tag.Get("json"), ",")
			if !strings.Contains(string(doc), "| `"+name+"` |") {
				t.Errorf("docs/format/snapshot.md does not say what %q is", name)
			}
		}
	}
}

func TestManifestsThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(m *snapshot.Manifest){
		"another format":        func(m *snapshot.Manifest) { m.Format = "tar" },
		"no position":           func(m *snapshot.Manifest) { m.Position = 0 },
		"no time":               func(m *snapshot.Manifest) { m.TakenAt = time.Time{} },
		"a path as epoch":       func(m *snapshot.Manifest) { m.Epoch = "../../etc" },
		"no epoch":              func(m *snapshot.Manifest) { m.Epoch = "" },
		"a shard too many":      func(m *snapshot.Manifest) { m.Shard = 256 },
		"no stream":             func(m *snapshot.Manifest) { m.StreamCreatedAt = 0 },
		"a chunk too few":       func(m *snapshot.Manifest) { m.Segments[0].Chunks = m.Segments[0].Chunks[:1] },
		"a negative length":     func(m *snapshot.Manifest) { m.Segments[1].Length = -1 },
		"an odd length":         func(m *snapshot.Manifest) { m.Segments[1].Length++; m.Bytes++ },
		"a segment twice":       func(m *snapshot.Manifest) { m.Segments[1].ID = 7 },
		"an id to come":         func(m *snapshot.Manifest) { m.NextID = 8 },
		"no segments":           func(m *snapshot.Manifest) { m.Segments, m.Records, m.Bytes = nil, 0, 0 },
		"other counts":          func(m *snapshot.Manifest) { m.Records++ },
		"other bytes":           func(m *snapshot.Manifest) { m.Bytes++ },
		"two horizons of one":   func(m *snapshot.Manifest) { m.Horizons = append(m.Horizons, m.Horizons[0]) },
		"given up without name": func(m *snapshot.Manifest) { m.GivenUp[0].Space = 0 },
	} {
		m := example()
		change(m)
		if _, err := m.Encode(); !errors.Is(err, snapshot.ErrCorrupt) {
			t.Errorf("%s was encoded: %v", name, err)
		}
		line, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := snapshot.Decode(signed(string(line))); !errors.Is(err, snapshot.ErrCorrupt) {
			t.Errorf("%s was decoded: %v", name, err)
		}
	}
	line, err := json.Marshal(example())
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "no trailer": append(line, '\n'), "not JSON": signed("{"), "two": signed(string(line) + string(line)),
		"a field too many": signed(strings.Replace(string(line), `{`, `{"more":1,`, 1)), "a sum of capitals": signed(strings.Replace(string(line), "0100", "01AA", 1)),
		"a short sum": signed(strings.Replace(string(line), `"0100`, `"01`, 1)),
	} {
		if _, err := snapshot.Decode(b); !errors.Is(err, snapshot.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is stored under the name of another snapshot, or of another log, is not taken for that.
func TestManifestInTheWrongPlace(t *testing.T) {
	store := newStore(t)
	b, err := example().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"epoch/3/1700000000000000001/snapshot-00000000000000000018-01777863721000000009.json",
		"other/3/1700000000000000001/snapshot-00000000000000000017-01777863721000000009.json",
		"epoch/4/1700000000000000001/snapshot-00000000000000000017-01777863721000000009.json",
		"epoch/3/1700000000000000002/snapshot-00000000000000000017-01777863721000000009.json",
	} {
		if err := store.Store.Put(within(t), name, b); err != nil {
			t.Fatal(err)
		}
	}
	found, err := snapshot.List(within(t), store)
	if err != nil || len(found) != 4 {
		t.Fatalf("%v, %v", found, err)
	}
	for _, f := range found {
		if _, err := snapshot.Load(within(t), store, f); !errors.Is(err, snapshot.ErrIdentity) {
			t.Errorf("%v: %v", f, err)
		}
	}
}

// Whatever the bytes are, decoding ends with a manifest that encodes to what it was, or with an error.
func FuzzDecode(f *testing.F) {
	b, err := example().Encode()
	if err != nil {
		f.Fatal(err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	f.Add(line)
	f.Add(`{"format":"engram-snapshot","version":1}`)
	f.Add(`{"version":2}`)
	f.Add("")
	f.Fuzz(func(t *testing.T, line string) {
		m, err := snapshot.Decode(signed(line))
		if err != nil {
			if !errors.Is(err, snapshot.ErrCorrupt) && !errors.Is(err, snapshot.ErrVersion) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatalf("it was decoded and cannot be encoded: %v", err)
		}
		if m2, err := snapshot.Decode(again); err != nil || cmp.Diff(m, m2) != "" {
			t.Fatalf("it is another one now: %v", err)
		}
	})
}
