package importer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxLine bounds a line: an observation in JSON has up to 4,096 components, 64 KiB of text and 16 KiB of metadata, and
// must fit into one message of 1 MiB anyway.
const maxLine = 1 << 20

// lineFile is what the files of lines have in common.
type lineFile struct {
	f    *os.File
	path string
}

func (*lineFile) Unit() string   { return "line" }
func (*lineFile) Dimension() int { return 0 }

// lines hands over each line, from 1, with its end and without the mark of UTF-8 at the beginning of the file. It is valid
// until the next one. A line beyond maxLine is long, and only its beginning is there. An error of each is returned as it is.
func (l *lineFile) lines(each func(n int64, line []byte, long bool) error) error {
	r := bufio.NewReaderSize(l.f, maxLine)
	for n := int64(1); ; n++ {
		line, long, err := readLine(r)
		if err != nil && err != io.EOF {
			return fmt.Errorf("%s: reading line %d: %w", l.path, n, err)
		}
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\uFEFF"))
		}
		if eerr := each(n, line, long); eerr != nil || err == io.EOF {
			return eerr
		}
	}
}

// readLine returns the next line with its end, valid until the next call, and io.EOF with the last one. Of a line beyond
// the buffer it returns the beginning, says so, and skips the rest.
func readLine(r *bufio.Reader) (line []byte, long bool, err error) {
	line, err = r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, false, err
	}
	start := bytes.Clone(line[:64])
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.ReadSlice('\n')
	}
	return start, true, err
}

// Count returns the number of lines, blank ones included.
func (l *lineFile) Count() (int64, error) {
	info, err := l.f.Stat()
	if err != nil {
		return 0, fmt.Errorf("counting lines: %w", err)
	}
	r := io.NewSectionReader(l.f, 0, info.Size())
	buf := make([]byte, 256<<10)
	lines, last := int64(0), byte('\n')
	for {
		n, err := r.Read(buf)
		if n > 0 {
			lines += int64(bytes.Count(buf[:n], []byte{'\n'}))
			last = buf[n-1]
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("%s: counting lines: %w", l.path, err)
		}
	}
	if last != '\n' {
		lines++
	}
	return lines, nil
}

func (l *lineFile) Close() error { return l.f.Close() }
