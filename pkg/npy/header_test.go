package npy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// preamble is a file's magic, version and header length around text.
func preamble(major byte, text string) []byte {
	b := append([]byte(magic), major, 0)
	if major == 1 {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	} else {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	}
	return append(b, text...)
}

func TestReadHeader(t *testing.T) {
	for _, c := range []struct {
		name  string
		major byte
		text  string
		want  header
	}{
		{"numpy, v1", 1, "{'descr': '<f2', 'fortran_order': False, 'shape': (100000, 768), }        \n",
			header{Float16, 2, 100000, 768, 10, 100000 * 768 * 2}},
		{"v2, 1-D", 2, "{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }\n", header{Float32, 1, 5, 1, 12, 20}},
		{"v3, other order and quotes", 3, `{"shape":(0,3),"descr":"<i4","fortran_order":False}`,
			header{Int32, 2, 0, 3, 12, 0}},
		{"python 2", 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L,), }\n", header{Float32, 2, 2, 3, 10, 24}},
		{"empty 0x0", 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 0)}", header{Float32, 2, 0, 0, 10, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := bytes.NewReader(append(preamble(c.major, c.text), "data"...))
			got, err := readHeader(r)
			if err != nil {
				t.Fatal(err)
			}
			c.want.offset += int64(len(c.text))
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if r.Len() != len("data") {
				t.Errorf("%d bytes are left, want the 4 after the header", r.Len())
			}
		})
	}
}

func TestReadHeaderRefuses(t *testing.T) {
	ok := "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"
	shape := func(s string) []byte { return preamble(1, strings.Replace(ok, "(2, 3)", s, 1)) }
	descr := func(s string) []byte { return preamble(1, strings.Replace(ok, "'<f4'", s, 1)) }
	longHeader := preamble(2, ok)
	binary.LittleEndian.PutUint32(longHeader[8:], math.MaxUint32)
	for _, c := range []struct {
		name string
		in   []byte
		is   error
		says string
	}{
		{"empty", nil, ErrFormat, "ends within the magic"},
		{"magic", []byte("PK\x03\x04not numpy"), ErrFormat, "starts with"},
		{"version 4", preamble(4, ok), ErrUnsupported, "version 4.0"},
		{"version 1.1", append([]byte(magic+"\x01\x01\x05\x00"), ok...), ErrUnsupported, "version 1.1"},
		{"no length", []byte(magic + "\x02\x00\x05\x00"), ErrFormat, "ends within the header length"},
		{"cut header", preamble(1, ok)[:30], ErrFormat, "ends within the header"},
		{"4 GiB header", longHeader, ErrUnsupported, "4294967295 bytes long"},
		{"fortran", preamble(1, strings.Replace(ok, "False", "True", 1)), ErrUnsupported, "Fortran"},
		{"big-endian", descr("'>f4'"), ErrUnsupported, "big-endian"},
		{"float64", descr("'<f8'"), ErrUnsupported, `"<f8"`},
		{"empty type", descr("''"), ErrUnsupported, `""`},
		{"structured", descr("[('x', '<f4')]"), ErrUnsupported, "structured"},
		{"0-D", shape("()"), ErrUnsupported, "0 dimensions"},
		{"3-D", shape("(1, 2, 3)"), ErrUnsupported, "3 dimensions"},
		{"100-D", shape("(" + strings.Repeat("1,", 100) + ")"), ErrFormat, "more than 64"},
		{"no columns", shape("(7, 0)"), ErrUnsupported, "no columns"},
		{"int as shape", shape("(6)"), ErrFormat, "needs a comma"},
		{"missing comma", shape("(1, 2 3)"), ErrFormat, "comma"},
		{"negative", shape("(-1, 3)"), ErrFormat, "whole number"},
		{"side over 64 bits", shape("(18446744073709551616, 1)"), ErrFormat, "larger than 64 bits"},
		{"side over an int", shape("(18446744073709551615, 0)"), ErrUnsupported, "no columns"},
		{"side over an int, no rows", shape("(0, 18446744073709551615)"), ErrFormat, "do not fit"},
		{"product overflows", shape("(4294967296, 4294967296)"), ErrFormat, "do not fit"},
		{"product overflows by size", shape("(4611686018427387904, 1)"), ErrFormat, "do not fit"},
		{"product over an int", shape("(2305843009213693951, 1)"), ErrFormat, "do not fit"},
		{"no dict", preamble(1, "(1, 2)"), ErrFormat, "byte 0"},
		{"empty dict", preamble(1, "{}"), ErrFormat, `"descr" is missing`},
		{"missing key", preamble(1, "{'descr': '<f4', 'shape': (1, 2)}"), ErrFormat, `"fortran_order" is missing`},
		{"unknown key", preamble(1, "{'a': 1}"), ErrFormat, "unknown"},
		{"twice", preamble(1, "{'descr': '<f4', 'descr': '<f2'}"), ErrFormat, "twice"},
		{"trailing", preamble(1, ok+"x"), ErrFormat, "after the closing brace"},
		{"unclosed", preamble(1, "{'descr': '<f4'"), ErrFormat, "it ends where"},
		{"unclosed string", preamble(1, "{'descr"), ErrFormat, "does not end"},
		{"escape", preamble(1, `{'de\x73cr': '<f4'}`), ErrFormat, "escape"},
		{"bad boolean", preamble(1, "{'fortran_order': 0}"), ErrFormat, "True or False"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := readHeader(bytes.NewReader(c.in))
			if err == nil {
				t.Fatalf("accepted as %+v", h)
			}
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q does not wrap %q and say %q", err, c.is, c.says)
			}
		})
	}
}

func TestReadHeaderPassesReadErrors(t *testing.T) {
	broken := errors.New("disk on fire")
	r := io.MultiReader(bytes.NewReader(preamble(1, "{}")[:9]), errReader{broken})
	if _, err := readHeader(r); !errors.Is(err, broken) || errors.Is(err, ErrFormat) {
		t.Errorf("got %v, want only the reader's own error", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestAppendHeaderIsNumPys(t *testing.T) {
	got := appendHeader(nil, header{dtype: Float16, rows: 1000, cols: 768})
	// The first 128 bytes of what numpy.save wrote for an array of this shape.
	want := "\x93NUMPY\x01\x00v\x00{'descr': '<f2', 'fortran_order': False, 'shape': (1000, 768), }" +
		strings.Repeat(" ", 53) + "\n"
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Error(d)
	}
}

func FuzzReadHeader(f *testing.F) {
	f.Add(preamble(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (100000, 768), }        \n"))
	f.Add(preamble(2, `{"shape":(5,),"descr":"<f4","fortran_order":False}`))
	f.Add(preamble(3, "{'descr': [('x', '>f8')], 'fortran_order': True, 'shape': (2L, 3L,), }\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHeader(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("error of neither kind: %v", err)
			}
			return
		}
		if h.rows < 0 || h.cols < 0 || h.offset > int64(len(b)) || h.dataSize > math.MaxInt64-h.offset {
			t.Fatalf("accepted a header that is out of bounds: %+v", h)
		}
		if float64(h.dataSize) != float64(h.rows)*float64(h.cols)*float64(h.dtype.Size()) {
			t.Fatalf("the data size is wrong: %+v", h)
		}
		again, err := readHeader(bytes.NewReader(appendHeader(nil, h)))
		h.dims = 2 // what is written has two
		if again.offset = h.offset; err != nil || again != h {
			t.Fatalf("wrote %+v, read %+v, %v", h, again, err)
		}
	})
}
