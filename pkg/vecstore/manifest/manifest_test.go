package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
	"github.com/engram-memory/engram/pkg/vfs"
)

// demo is a manifest with something of everything.
func demo() *Manifest {
	m := &Manifest{
		Source: rows.Source{Epoch: "abcdef", Shard: 3, CreatedAt: 1_700_000_000_123_456_789},
		State:  Open, Identity: "boot:device:inode",
		Segments: []rows.Segment{{ID: 5, Length: 4096, Entries: 17}, {ID: 2, Length: 8192, Entries: 64}, {ID: 7}}, NextID: 9,
		Columns: []Columns{
			{Space: 1, Generation: 3, File: "space-1-3.col", Rows: 100_000},
			{Space: 4, Generation: 1, File: "x"},
		},
		Horizons: []Horizon{{Space: 1, Sequence: 77}, {Space: 2, Sequence: 1 << 50}},
		GivenUp:  []Row{{Space: 2, Sequence: 80}, {Space: 2, Sequence: 81}},
	}
	for i := range m.HashKey {
		m.HashKey[i] = byte(0xa0 + i)
	}
	return m
}

func encode(t testing.TB, m *Manifest) []byte {
	t.Helper()
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// seal makes the length and the checksum of changed bytes right.
func seal(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) >= header+trailer {
		binary.LittleEndian.PutUint32(b[12:], uint32(len(b)))
		binary.LittleEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], castagnoli))
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	sealed := demo()
	sealed.State, sealed.Identity, sealed.Segments[2].Length, sealed.Segments[2].Entries = Clean, "", 136, 1
	long := demo()
	long.Source.Epoch, long.Identity = strings.Repeat("e", rows.MaxEpoch), strings.Repeat("i", maxIdentity)
	long.Columns[0].File = strings.Repeat("f", maxFile)
	for _, want := range []*Manifest{demo(), sealed, long, New(rows.Source{}), New(demo().Source)} {
		b := encode(t, want)
		if len(b)%8 != 0 {
			t.Errorf("a manifest of %d bytes", len(b))
		}
		got, err := Decode(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	if a, b := New(rows.Source{}), New(rows.Source{}); a.HashKey == b.HashKey || a.HashKey == (rows.HashKey{}) {
		t.Error("hash keys are not drawn")
	}
}

// TestDamage changes every byte and cuts everywhere. Nothing may pass.
func TestDamage(t *testing.T) {
	good := encode(t, demo())
	undetected := 0
	for i := range good {
		for _, flip := range []byte{1, 0x10, 0x80, 0xff} {
			bad := bytes.Clone(good)
			bad[i] ^= flip
			if _, err := Decode(bad); err == nil {
				undetected++
			} else if !errors.Is(err, rows.ErrCorrupt) && !errors.Is(err, rows.ErrVersion) {
				t.Errorf("Decode with another byte at %d: %v", i, err)
			}
		}
		if _, err := Decode(good[:i]); err == nil {
			undetected++
		} else if !errors.Is(err, rows.ErrCorrupt) {
			t.Errorf("Decode of %d bytes: %v", i, err)
		}
	}
	if _, err := Decode(append(bytes.Clone(good), 0)); err == nil {
		undetected++
	}
	if undetected != 0 {
		t.Errorf("%d damaged manifests were taken", undetected)
	}
}

func TestVersions(t *testing.T) {
	for _, v := range []uint32{0, 2, 1 << 31} {
		b := encode(t, demo())
		binary.LittleEndian.PutUint32(b[8:], v)
		for _, b := range [][]byte{b, seal(b)} {
			if _, err := Decode(b); !errors.Is(err, rows.ErrVersion) {
				t.Errorf("Decode of version %d = %v, want ErrVersion", v, err)
			}
		}
	}
}

// TestManifestsThatCannotBe are refused when they are written, and when they are read with a right checksum.
func TestManifestsThatCannotBe(t *testing.T) {
	for name, change := range map[string]func(m *Manifest){
		"state 0":              func(m *Manifest) { m.State = 0 },
		"state 4":              func(m *Manifest) { m.State = 4 },
		"epoch":                func(m *Manifest) { m.Source.Epoch = strings.Repeat("e", rows.MaxEpoch+1) },
		"identity":             func(m *Manifest) { m.Identity = strings.Repeat("i", maxIdentity+1) },
		"no next id":           func(m *Manifest) { m.NextID, m.Segments = 0, nil },
		"segment of a new id":  func(m *Manifest) { m.Segments[0].ID = 9 },
		"segment twice":        func(m *Manifest) { m.Segments[0].ID = 7 },
		"segment without end":  func(m *Manifest) { m.Segments[0].Length = 0 },
		"columns of no space":  func(m *Manifest) { m.Columns[0].Space = 0 },
		"columns twice":        func(m *Manifest) { m.Columns[0].Space = 4 },
		"columns of no file":   func(m *Manifest) { m.Columns[1].File = "" },
		"columns elsewhere":    func(m *Manifest) { m.Columns[1].File = "../x" },
		"columns in a dot":     func(m *Manifest) { m.Columns[1].File = ".." },
		"columns in a zero":    func(m *Manifest) { m.Columns[1].File = "x\x00" },
		"columns of long name": func(m *Manifest) { m.Columns[1].File = strings.Repeat("f", maxFile+1) },
		"horizon of no space":  func(m *Manifest) { m.Horizons[0].Space = 0 },
		"horizon twice":        func(m *Manifest) { m.Horizons[0].Space = 2 },
		"row of no space":      func(m *Manifest) { m.GivenUp[0].Space = 0 },
		"row of no record":     func(m *Manifest) { m.GivenUp[0].Sequence = 0 },
		"row twice":            func(m *Manifest) { m.GivenUp[0].Sequence = 81 },
	} {
		m := demo()
		change(m)
		if _, err := m.Encode(); err == nil {
			t.Errorf("%s: Encode took it", name)
		}
		if err := m.Store(vfs.NewMem(), "."); err == nil {
			t.Errorf("%s: Store took it", name)
		}
	}
	for name, change := range map[string]func(b []byte) []byte{
		"state":             func(b []byte) []byte { b[128] = 9; return b },
		"epoch":             func(b []byte) []byte { b[28] = rows.MaxEpoch + 1; return b },
		"identity":          func(b []byte) []byte { copy(b[132:], "\xff\xff\xff\xff"); return b },
		"identity runs":     func(b []byte) []byte { b[132] = 255; return b },
		"segments":          func(b []byte) []byte { copy(b[140:], "\xff\xff\xff\xff"); return b },
		"one segment more":  func(b []byte) []byte { b[140]++; return b },
		"one segment less":  func(b []byte) []byte { b[140]--; return b },
		"columns":           func(b []byte) []byte { copy(b[144:], "\xff\xff\xff\xff"); return b },
		"horizons":          func(b []byte) []byte { copy(b[148:], "\xff\xff\xff\xff"); return b },
		"one horizon less":  func(b []byte) []byte { b[148]--; return b },
		"bytes too much":    func(b []byte) []byte { return append(b, make([]byte, 8)...) },
		"bytes too few":     func(b []byte) []byte { return b[:len(b)-16] },
		"file name runs":    func(b []byte) []byte { b[header+24+48+12] = 255; return b },
		"length of segment": func(b []byte) []byte { b[header+24+8]++; return b },
	} {
		if m, err := Decode(seal(change(encode(t, demo())))); !errors.Is(err, rows.ErrCorrupt) {
			t.Errorf("%s: Decode = %+v, %v; want ErrCorrupt", name, m, err)
		}
	}
}

func TestLoad(t *testing.T) {
	fsys := vfs.NewMem()
	if _, err := Load(fsys, "dir"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of nothing = %v, want fs.ErrNotExist", err)
	}
	if err := fsys.MkdirAll("dir"); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(fsys, "dir"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of an empty directory = %v, want fs.ErrNotExist", err)
	}
	want := demo()
	if err := want.Store(fsys, "dir"); err != nil {
		t.Fatal(err)
	}
	got, err := Load(fsys, "dir")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Load = %+v, %v", got, err)
	}
	if err := got.CheckSource(want.Source); err != nil {
		t.Error(err)
	}
	err = got.CheckSource(rows.Source{Epoch: "abcdef", Shard: 4})
	if !errors.Is(err, rows.ErrSource) || !strings.Contains(err.Error(), "shard 4") {
		t.Errorf("CheckSource = %v, want ErrSource and both", err)
	}

	// A row log of which the manifest is gone, and one of before there were manifests.
	for header, want := range map[string]error{
		"ENGROWS\n\x01\x00\x00\x00": rows.ErrVersion,
		"ENGROWS\n\x02\x00\x00\x00": rows.ErrCorrupt,
		"":                          rows.ErrCorrupt,
	} {
		fsys := vfs.NewMem()
		b := make([]byte, 200)
		copy(b, header)
		if err := write(fsys, "rows-00000001.seg", b); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(fsys, "."); !errors.Is(err, want) {
			t.Errorf("Load with a segment that begins %q = %v, want %v", header, err, want)
		}
	}
	for _, b := range [][]byte{nil, []byte("x"), make([]byte, 1000)} {
		fsys := vfs.NewMem()
		if err := write(fsys, Name, b); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(fsys, "."); !errors.Is(err, rows.ErrCorrupt) {
			t.Errorf("Load of %d bytes = %v, want ErrCorrupt", len(b), err)
		}
	}
	huge := vfs.NewMem()
	if err := write(huge, Name, nil); err != nil {
		t.Fatal(err)
	}
	f, err := huge.Open(Name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(maxLength + 1); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(huge, "."); !errors.Is(err, rows.ErrCorrupt) {
		t.Errorf("Load of a huge file = %v, want ErrCorrupt", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(f, demo()), false)
	f.Add(encode(f, New(rows.Source{})), true)
	f.Fuzz(func(t *testing.T, b []byte, whole bool) {
		if whole {
			b = seal(b)
		}
		m, err := Decode(b)
		if err != nil {
			if !errors.Is(err, rows.ErrCorrupt) && !errors.Is(err, rows.ErrVersion) {
				t.Fatal(err)
			}
		} else {
			again, err := Decode(encode(t, m))
			if err != nil || !reflect.DeepEqual(again, m) {
				t.Fatalf("%+v came back as %+v, %v", m, again, err)
			}
		}
		var out bytes.Buffer
		if derr := Dump(&out, b); (derr == nil) != (err == nil) {
			t.Fatalf("Dump = %v, Decode = %v", derr, err)
		}
	})
}
