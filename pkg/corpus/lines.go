package corpus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Lines reads plain text and emits its lines in order with their numbers, counted from 1, without the line end (LF or
// CR LF) and without a byte order mark at the start. Lines of nothing but white space are counted and not emitted: they
// have no words to embed. It holds one line at a time.
//
// A line over MaxLine bytes or of invalid UTF-8 is an error that gives its number, after the lines before it were
// emitted; so is an error of r. An error of emit is returned as it is.
func Lines(r io.Reader, emit func(line int, text string) error) error {
	src := &failing{r: r}
	sc := bufio.NewScanner(src)
	sc.Buffer(nil, MaxLine+len("\r\n")+1)
	sc.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if src.err != nil && bytes.IndexByte(data, '\n') < 0 {
			return len(data), nil, nil // half a line, which bufio.ScanLines would take for the last one
		}
		return bufio.ScanLines(data, atEOF)
	})
	n := 0
	for sc.Scan() {
		n++
		text := sc.Text()
		if n == 1 {
			text = strings.TrimPrefix(text, "\uFEFF")
		}
		if len(text) > MaxLine {
			return lineTooLong(n)
		}
		if !utf8.ValidString(text) {
			return fmt.Errorf("line %d is not valid UTF-8; convert the file, for example with iconv -t UTF-8", n)
		}
		if strings.TrimSpace(text) == "" {
			continue
		}
		if err := emit(n, text); err != nil {
			return err
		}
	}
	if err := sc.Err(); errors.Is(err, bufio.ErrTooLong) {
		return lineTooLong(n + 1)
	} else if err != nil {
		return fmt.Errorf("reading line %d: %w", n+1, err)
	}
	return nil
}

// failing remembers the error of a reader, other than its end.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

func lineTooLong(n int) error {
	return fmt.Errorf("line %d is longer than %d KiB; split it, or import it as JSON lines", n, MaxLine>>10)
}
