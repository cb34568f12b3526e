package importer

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/npy"
	"github.com/engram-memory/engram/pkg/wire"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func writeNPY(t *testing.T, name string, dtype npy.DType, rows [][]float32) string {
	t.Helper()
	var b bytes.Buffer
	err := npy.Write(&b, dtype, len(rows), len(rows[0]), func(i int, dst []float32) error {
		copy(dst, rows[i])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, name, b.String())
}

func open(t *testing.T, path, prefix string) Source {
	t.Helper()
	src, err := Open(path, prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	})
	return src
}

// read renders the records of a source as "number id", "number ! code", or "number id again".
func read(t *testing.T, src Source) (lines []string, records []Record) {
	t.Helper()
	err := src.Records(func(r Record) error {
		line := strconv.FormatInt(r.Number, 10) + " "
		switch {
		case r.Refused != nil:
			line += "! " + string(r.Refused.Code)
		case r.Repeated:
			line += r.Observation.GetId() + " again"
		default:
			line += r.Observation.GetId()
		}
		lines, records = append(lines, line), append(records, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines, records
}

func TestJSONLines(t *testing.T) {
	half := base64.StdEncoding.EncodeToString(event.AppendF32(nil, []float32{0.5}))
	long := `{"text":"` + strings.Repeat("x", maxLine) + `"}`
	src := open(t, write(t, "a.jsonl", strings.Join([]string{
		"\uFEFF" + `{"text":"one"}`,
		"",
		`{"id":"own","embedding":[1,2]}`,
		`{"id":"b64","embedding":"` + half + `"}` + "\r",
		`{"session":"s","sequence":7,"text":"seven"}`,
		`{"id":"own","text":"again"}`,
		`{"id":"s:7","text":"again"}`,
		`not JSON`,
		`{"text":"x","unknown":1}`,
		`[{"text":"x"}]`,
		`{"observations":[{"text":"x"}]}`,
		`{"text":"x","acknowledgement":"searchable"}`,
		`{"id":"empty"}`,
		`{"embedding":[1,1e60]}`,
		`{"text":"x","importance":2}`,
		`{"text":"x"} {"text":"y"}`,
		long,
		`{"text":"last, without a line end"}`,
	}, "\n")), "")
	got, records := read(t, src)
	want := []string{
		"1 a.jsonl:1", "3 own", "4 b64", "5 s:7", "6 own again", "7 s:7 again", "8 ! malformed", "9 ! malformed", "10 ! malformed",
		"11 ! malformed", "12 ! malformed", "13 ! invalid_embedding", "14 ! invalid_embedding", "15 ! invalid_argument", "16 ! malformed",
		"17 ! too_large", "18 a.jsonl:18",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if text := records[0].Observation.GetText(); text != "one" {
		t.Errorf("the text of the first line is %q", text)
	}
	if last := records[len(records)-1]; last.Consumed != 18 || last.Observation.GetText() != "last, without a line end" {
		t.Errorf("the last record is %v", last)
	}
	if n, err := src.Count(); err != nil || n != 18 {
		t.Errorf("%d lines, error %v", n, err)
	}
}

func TestTextLines(t *testing.T) {
	src := open(t, write(t, "n.txt", "one\n \ntwo\n"), "day1/")
	got, records := read(t, src)
	if diff := cmp.Diff([]string{"1 day1/1", "3 day1/3"}, got); diff != "" {
		t.Fatal(diff)
	}
	if text := records[1].Observation.GetText(); text != "two" || records[1].Consumed != 3 {
		t.Errorf("the third line is %v", records[1])
	}
	if n, err := src.Count(); err != nil || n != 3 || src.Unit() != "line" || src.Dimension() != 0 {
		t.Errorf("%d lines, error %v", n, err)
	}
}

func TestTextErrors(t *testing.T) {
	// A line that is no text does not keep those behind it from being read.
	path := write(t, "bad.txt", "\uFEFFgood\r\n\xff\n"+strings.Repeat("x", event.MaxText)+"\n"+strings.Repeat("x", event.MaxText+1)+"\n"+
		strings.Repeat("x", maxLine+1)+"\nna\x00l\n\u00a0\nlast")
	src := open(t, path, "")
	got, records := read(t, src)
	want := []string{"1 bad.txt:1", "2 ! malformed", "3 bad.txt:3", "4 ! too_large", "5 ! too_large", "6 ! malformed", "8 bad.txt:8"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if records[0].Observation.GetText() != "good" || records[len(records)-1].Observation.GetText() != "last" {
		t.Errorf("the first text is %q, the last %q", records[0].Observation.GetText(), records[len(records)-1].Observation.GetText())
	}
	for name, text := range map[string]string{"le.txt": "\xff\xfeo\x00\n\x00", "be.txt": "\xfe\xff\x00o\x00\n"} {
		path := write(t, name, text)
		err := open(t, path, "").Records(func(r Record) error { t.Errorf("%s: record %v", name, r); return nil })
		if err == nil || !strings.HasPrefix(err.Error(), path+": it begins as a file of UTF-16 does") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// An error of the caller is not dressed up as one of the file.
	own := errors.New("own")
	if err := open(t, path, "").Records(func(Record) error { return own }); err != own {
		t.Errorf("error %v", err)
	}
}

func TestNPYRows(t *testing.T) {
	rows := [][]float32{{1, -0.5, 0.25}, {0.1, 2, 3}}
	for name, dtype := range map[string]npy.DType{"f32.npy": npy.Float32, "f16.npy": npy.Float16} {
		t.Run(name, func(t *testing.T) {
			src := open(t, writeNPY(t, name, dtype, rows), "")
			got, records := read(t, src)
			if diff := cmp.Diff([]string{"0 " + name + ":0", "1 " + name + ":1"}, got); diff != "" {
				t.Fatal(diff)
			}
			if n, err := src.Count(); err != nil || n != 2 || src.Dimension() != 3 || src.Unit() != "row" || records[1].Consumed != 2 {
				t.Errorf("%d rows of %d, error %v", n, src.Dimension(), err)
			}
			for i, r := range records {
				packed, refused := wire.EmbeddingF32(r.Observation.GetEmbedding(), true)
				if refused != nil {
					t.Fatal(refused)
				}
				want := rows[i]
				if dtype == npy.Float16 {
					if n := len(r.Observation.GetEmbedding().GetData()); n != 6 {
						t.Errorf("three halves travel in %d bytes", n)
					}
					if i == 1 {
						want = []float32{0.099975586, 2, 3} // the half nearest to 0.1
					}
				}
				if diff := cmp.Diff(want, event.DecodeF32(nil, packed)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// Rows of one component are rows all the same; whether they are embeddings the space says.
func TestNPYOfOneColumn(t *testing.T) {
	src := open(t, writeNPY(t, "c.npy", npy.Float32, [][]float32{{1}, {-2}}), "")
	got, records := read(t, src)
	if diff := cmp.Diff([]string{"0 c.npy:0", "1 c.npy:1"}, got); diff != "" {
		t.Fatal(diff)
	}
	packed, refused := wire.EmbeddingF32(records[1].Observation.GetEmbedding(), true)
	if refused != nil || src.Dimension() != 1 || !cmp.Equal([]float32{-2}, event.DecodeF32(nil, packed)) {
		t.Errorf("dimension %d, the second row is %v, refusal %v", src.Dimension(), packed, refused)
	}
	f := &fake{dim: 1}
	if got, _, _, err := imported(t, f, src, Config{}); err != nil || got.Sent != 2 {
		t.Errorf("into a space of dimension 1: %+v, error %v", got, err)
	}
	f = &fake{dim: 2}
	if _, _, _, err := imported(t, f, src, Config{}); err == nil || !strings.Contains(err.Error(), "has dimension 2, the embeddings of the file have 1") {
		t.Errorf("into a space of dimension 2: %v", err)
	}
	f = &fake{}
	if _, _, _, err := imported(t, f, src, Config{}); err == nil || !strings.Contains(err.Error(), "create it before, with --dim 1") || f.tries > 0 {
		t.Errorf("into no space: %v, after %d requests", err, f.tries)
	}
}

func TestOpenErrors(t *testing.T) {
	line := "\x93NUMPY\x01\x00\x46\x00" + "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }" + strings.Repeat(" ", 12) + "\n" + "\x00\x00\x80\x3f"
	ints := "\x93NUMPY\x01\x00\x46\x00" + "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 1), }" + strings.Repeat(" ", 10) + "\n" + "\x01\x00\x00\x00"
	for name, tc := range map[string]struct {
		path, prefix, want string
		is                 error
	}{
		"kind":     {path: "/x/a.csv", want: "ends in .jsonl, .npy or .txt"},
		"no text":  {path: "/nowhere/a.txt", want: "/nowhere/a.txt", is: fs.ErrNotExist},
		"no npy":   {path: "/nowhere/a.npy", want: "/nowhere/a.npy", is: fs.ErrNotExist},
		"prefix":   {path: "/x/a.txt", prefix: strings.Repeat("x", event.MaxID-5), want: "choose another prefix"},
		"no UTF-8": {path: "/x/a.txt", prefix: "\xff", want: "choose another prefix"},
		"integers": {path: write(t, "i.npy", ints), want: "it holds int32", is: npy.ErrUnsupported},
		"one line": {path: write(t, "l.npy", line), want: "1 numbers in one dimension"},
		"too wide": {path: writeNPY(t, "w.npy", npy.Float32, [][]float32{make([]float32, event.MaxDimension+1)}), want: "4097 components"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(tc.path, tc.prefix)
			if err == nil || !strings.Contains(err.Error(), tc.want) || tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Whatever a file holds, each of its lines becomes a record that a request can carry, or a refusal.
func FuzzJSONLines(f *testing.F) {
	f.Add([]byte(`{"text":"one"}` + "\n\n" + `{"id":"a","embedding":[1,2]}`))
	f.Add([]byte("{\r\n[\n\"\n{}"))
	f.Add([]byte(`{"session":"s","sequence":1,"text":"x","metadata":{"a":null}}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(dir, strconv.Itoa(os.Getpid())+".jsonl")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		src, err := Open(path, "p:")
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		total, err := src.Count()
		if err != nil {
			t.Fatal(err)
		}
		last := int64(0)
		err = src.Records(func(r Record) error {
			if r.Number <= last || r.Number > total || r.Consumed != r.Number {
				t.Fatalf("line %d of %d after line %d", r.Number, total, last)
			}
			last = r.Number
			if r.Refused != nil {
				return nil
			}
			if err := wire.CheckID(r.Observation.GetId(), "id"); err != nil {
				t.Fatal(err)
			}
			if err := wire.CheckObservation(r.Observation); err != nil {
				t.Fatal(err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
