package columns

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/engram-memory/engram/pkg/vfs"
)

func typed(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) || errors.Is(err, ErrIdentity) || errors.Is(err, io.EOF)
}

// What can be decoded is encoded to the same bytes, and is fit for use.
func FuzzHeader(f *testing.F) {
	f.Add(appendHeader(nil, header(small())))
	f.Add(appendHeader(nil, header(layoutFor(768, 49, 17))))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= fixedBytes {
			// As if the checksum were right.
			fixed := bytes.Clone(b[:fixedBytes])
			if h, err := parseHeader(sealHeader(fixed)); err == nil {
				if err := h.validate(); err != nil {
					t.Error(err)
				}
				if h.Layout.chunkBytes() <= 0 || h.Layout.chunkBlockCount(columns) < 3 {
					t.Errorf("%+v", h.Layout)
				}
				again, err := parseHeader(appendHeader(nil, h))
				if err != nil || !reflect.DeepEqual(again, h) {
					t.Errorf("%+v, %v", again, err)
				}
			} else if !typed(err) {
				t.Error(err)
			}
		}
		if _, err := parseHeader(b); err != nil && !typed(err) {
			t.Error(err)
		}
	})
}

func FuzzSums(f *testing.F) {
	f.Add(appendSums(nil, checksums{fileBytes: 1 << 20, sums: []uint32{1, 2, 3}}))
	f.Add([]byte(sumsMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, sealSums(bytes.Clone(b))} {
			c, err := parseSums(b)
			if err != nil {
				if !typed(err) {
					t.Error(err)
				}
				continue
			}
			again, err := parseSums(appendSums(nil, c))
			if err != nil || again.fileBytes != c.fileBytes || len(again.sums) != len(c.sums) || 4*len(c.sums) > len(b) {
				t.Errorf("%+v became %+v, %v", c, again, err)
			}
		}
	})
}

// Whatever the files hold, they are opened, verified and printed, or refused with an error of the right kind.
func FuzzFiles(f *testing.F) {
	mem := vfs.NewMem()
	made, err := Create(mem, "a.col", header(small()))
	if err != nil {
		f.Fatal(err)
	}
	if err := errors.Join(made.Grow(1), made.Seal(1), made.Close()); err != nil {
		f.Fatal(err)
	}
	f.Add(contentOf(f, mem, "a.col"), contentOf(f, mem, SumsPath("a.col")))
	f.Add([]byte(magic), []byte(sumsMagic))
	f.Fuzz(func(t *testing.T, columns, sums []byte) {
		mem := vfs.NewMem()
		for name, b := range map[string][]byte{"a.col": columns, SumsPath("a.col"): sums} {
			file, err := mem.Create(name)
			ok(t, err)
			_, err = file.WriteAt(b, 0)
			ok(t, errors.Join(err, file.Close()))
			if err := Dump(io.Discard, bytes.NewReader(b), int64(len(b))); err != nil && !typed(err) {
				t.Error(err)
			}
		}
		file, err := Open(mem, "a.col", header(small()))
		if err != nil {
			if !typed(err) {
				t.Error(err)
			}
			return
		}
		if err := file.Verify(context.Background(), 1); err != nil && !typed(err) {
			t.Error(err)
		}
		ok(t, file.Close())
	})
}
