// Package annotate prints the bytes of a file field by field, a line or two for each: its offset, its size, its bytes in
// hex, and what they say.
package annotate

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// MostBytes is how many bytes of a field are printed.
const MostBytes = 64

// Printer prints fields one behind the other.
type Printer struct {
	out   *bufio.Writer
	at    int64
	b     []byte
	begun bool
}

// New returns a Printer to w. What it has printed is there after Flush.
func New(w io.Writer) *Printer { return &Printer{out: bufio.NewWriter(w)} }

// Flush returns the first error of writing.
func (p *Printer) Flush() error { return p.out.Flush() }

// At goes on with these bytes, which stand at an offset of the file.
func (p *Printer) At(offset int64, b []byte) { p.at, p.b = offset, b }

// Offset returns where the next field is.
func (p *Printer) Offset() int64 { return p.at }

// Rest returns the bytes from the next field on.
func (p *Printer) Rest() []byte { return p.b }

// Title prints a heading, with an empty line before it if it is not the first one.
func (p *Printer) Title(format string, args ...any) {
	if p.begun {
		fmt.Fprintln(p.out)
	}
	p.begun = true
	fmt.Fprintf(p.out, "# "+format+"\n", args...)
}

// Field prints the next n bytes, which must be there.
func (p *Printer) Field(n int, format string, args ...any) {
	const width = 16
	text := fmt.Sprintf(format, args...)
	for i := 0; i == 0 || i < min(n, MostBytes); i += width {
		hex := fmt.Sprintf("% x", p.b[i:min(n, i+width)])
		if i+width >= MostBytes && n > MostBytes {
			hex += " …"
		}
		if i > 0 {
			fmt.Fprintf(p.out, "%10s %7s  %s\n", "", "", hex)
			continue
		}
		fmt.Fprintf(p.out, "%10d %7d  %-*s  %s\n", p.at, n, 3*width-1, hex, text)
	}
	p.at += int64(n)
	p.b = p.b[n:]
}

// U32 prints the next four bytes as a number, and returns it. The format has a verb for it.
func (p *Printer) U32(format string) uint32 {
	v := binary.LittleEndian.Uint32(p.b)
	p.Field(4, format, v)
	return v
}

// U64 prints the next eight bytes as a number. The format has a verb for it.
func (p *Printer) U64(format string) {
	p.Field(8, format, binary.LittleEndian.Uint64(p.b))
}

// Time prints the next eight bytes as Unix time in nanoseconds, and a 0 as the word for it, if there is one.
func (p *Printer) Time(what, zero string) {
	v := int64(binary.LittleEndian.Uint64(p.b))
	if v == 0 && zero != "" {
		p.Field(8, "%s: %s", what, zero)
		return
	}
	p.Field(8, "%s: %d, %s", what, v, time.Unix(0, v).UTC().Format(time.RFC3339Nano))
}

// Checksum prints the next four bytes as the checksum of what, and whether it is right.
func (p *Printer) Checksum(what string, right bool) {
	word := "right"
	if !right {
		word = "wrong"
	}
	p.Field(4, "CRC-32C of %s: %s", what, word)
}
