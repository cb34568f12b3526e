package annotate

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestPrinter(t *testing.T) {
	var out strings.Builder
	p := New(&out)
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	p.At(1000, b)
	p.Title("a title %d", 1)
	p.Field(3, "short: %q", "x")
	p.Field(0, "nothing")
	if v := p.U32("u32: %#x"); v != 0x06050403 {
		t.Errorf("U32 = %#x", v)
	}
	p.U64("u64: %#x")
	p.Field(17, "two lines")
	p.Field(64, "all of it")
	p.Field(65, "not all of it")
	p.Checksum("it", false)
	if p.Offset() != 1000+3+4+8+17+64+65+4 || len(p.Rest()) != 256-165 {
		t.Errorf("at %d with %d bytes to go", p.Offset(), len(p.Rest()))
	}
	p.At(8, make([]byte, 16))
	p.Title("another")
	p.Time("when", "never")
	p.Time("when", "")
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	want := `# a title 1
      1000       3  00 01 02                                         short: "x"
      1003       0                                                   nothing
      1003       4  03 04 05 06                                      u32: 0x6050403
      1007       8  07 08 09 0a 0b 0c 0d 0e                          u64: 0xe0d0c0b0a090807
      1015      17  0f 10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e  two lines
                    1f
      1032      64  20 21 22 23 24 25 26 27 28 29 2a 2b 2c 2d 2e 2f  all of it
                    30 31 32 33 34 35 36 37 38 39 3a 3b 3c 3d 3e 3f
                    40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f
                    50 51 52 53 54 55 56 57 58 59 5a 5b 5c 5d 5e 5f
      1096      65  60 61 62 63 64 65 66 67 68 69 6a 6b 6c 6d 6e 6f  not all of it
                    70 71 72 73 74 75 76 77 78 79 7a 7b 7c 7d 7e 7f
                    80 81 82 83 84 85 86 87 88 89 8a 8b 8c 8d 8e 8f
                    90 91 92 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f …
      1161       4  a1 a2 a3 a4                                      CRC-32C of it: wrong

# another
         8       8  00 00 00 00 00 00 00 00                          when: never
        16       8  00 00 00 00 00 00 00 00                          when: 0, 1970-01-01T00:00:00Z
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestFailedWrite(t *testing.T) {
	p := New(full{})
	p.At(0, bytes.Repeat([]byte{1}, 10))
	p.Field(10, "ten bytes")
	if p.Flush() == nil {
		t.Error("Flush to a writer that fails returned nil")
	}
}
