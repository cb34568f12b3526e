package vecstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// What is behind the last checkpoint was never synced, so a loss of power can leave any part of it, of each segment on
// its own: a file that is too short, or one in which some blocks are still zero. All from the first bad byte on is cut
// off. A checkpoint behind a bad byte tells that it had been durable: that is corruption, and nothing is cut.

// openSegment opens a segment and reads its header. info is nil when the header was never written: a segment of which
// only the name, or the name and the size, became durable.
func (l *rowLog) openSegment(number int) (f *os.File, size int64, info *segmentInfo, err error) {
	f, err = os.OpenFile(filepath.Join(l.dir, segmentName(number)), os.O_RDWR, 0)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("opening a segment: %w", err)
	}
	if size, info, err = l.readHeader(f, number); err != nil {
		return nil, 0, nil, errors.Join(err, f.Close())
	}
	return f, size, info, nil
}

func (l *rowLog) readHeader(f *os.File, number int) (size int64, info *segmentInfo, err error) {
	st, err := f.Stat()
	if err != nil {
		return 0, nil, fmt.Errorf("reading the size of a segment: %w", err)
	}
	var header [segmentHeader]byte
	if _, err := f.ReadAt(header[:], 0); err == io.EOF {
		return st.Size(), nil, nil
	} else if err != nil {
		return 0, nil, fmt.Errorf("reading a segment header: %w", err)
	}
	if header == [segmentHeader]byte{} {
		return st.Size(), nil, nil
	}
	got, err := parseSegmentHeader(header[:])
	if err != nil {
		return 0, nil, err
	}
	if got.src != l.src {
		return 0, nil, fmt.Errorf("%w: it was filled from %v, not from %v", ErrSource, got.src, l.src)
	}
	if got.number != uint32(number) {
		return 0, nil, fmt.Errorf("%w: its header says that it is segment %d", ErrCorrupt, got.number)
	}
	return st.Size(), &got, nil
}

// cutTorn ends the row log, of which the segments 1..number are open, at an offset of segment number (0 for not even
// its header), or fails with ErrCorrupt when what is there or behind it had been durable.
func (l *rowLog) cutTorn(number int, end int64, n int, out *Recovery) error {
	for k := number; k <= n; k++ {
		from := int64(0)
		if k == number {
			from = end
		}
		at, err := l.checkpointIn(k, from)
		if err != nil {
			return fmt.Errorf("%s: %w", segmentName(k), err)
		}
		if at >= 0 {
			return fmt.Errorf("%w: %s is bad at %d, below the checkpoint of %s at %d that had made it durable",
				ErrCorrupt, segmentName(number), end, segmentName(k), at)
		}
	}
	if end < segmentHeader {
		f := l.files[number-1]
		l.files = l.files[:number-1]
		if err := f.Close(); err != nil {
			return fmt.Errorf("closing a torn segment: %w", err)
		}
	}
	return l.cut(number, end, n, out)
}

// cut removes what is behind an offset of segment number, and that segment too when nothing of it is left. The last
// segment goes first, so that there is no gap whenever it is interrupted.
func (l *rowLog) cut(number int, end int64, n int, out *Recovery) error {
	for k := n; k >= number; k-- {
		path := filepath.Join(l.dir, segmentName(k))
		st, err := os.Stat(path)
		switch {
		case err != nil:
		case k > number || end < segmentHeader:
			out.Torn += st.Size()
			err = os.Remove(path)
		default:
			out.Torn += st.Size() - end
			err = os.Truncate(path, end)
		}
		if err != nil {
			return fmt.Errorf("cutting off a torn tail: %w", err)
		}
	}
	return syncDir(l.dir)
}

// lastCheckpoint returns the segment of the last checkpoint among n, and where it ends; 0 and 0 when there is none. It
// is found by walking the records: the body of an observation may hold anything, a checkpoint record too.
func (l *rowLog) lastCheckpoint(n int) (number int, end int64, err error) {
	for number := n; number >= 1; number-- {
		end, err := l.endOfLastCheckpoint(number)
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", segmentName(number), err)
		}
		if end > 0 {
			return number, end, nil
		}
	}
	return 0, 0, nil
}

// endOfLastCheckpoint returns where the last checkpoint of a segment ends, 0 when it has none.
func (l *rowLog) endOfLastCheckpoint(number int) (int64, error) {
	f, size, info, err := l.openSegment(number)
	if err != nil {
		return 0, err
	}
	defer f.Close() // it was only read
	from := int64(segmentHeader)
	if info == nil {
		from = size
	}
	end := int64(0)
	for r := newRecordReader(f, from, size); ; {
		rec, at, err := r.next()
		if err != nil {
			return 0, err
		}
		if rec != nil && rec.kind == kindCheckpoint {
			end = at + int64(rec.length)
		}
		if rec != nil {
			continue
		}
		behind, err := findCheckpoint(f, min(at, size), size)
		if err == nil && behind >= 0 {
			err = fmt.Errorf("%w: the record at %d, below the checkpoint at %d that had made it durable", ErrCorrupt, at, behind)
		}
		return end, err
	}
}

// checkpointIn is findCheckpoint for the segment of a number.
func (l *rowLog) checkpointIn(number int, from int64) (int64, error) {
	f, size, _, err := l.openSegment(number)
	if err != nil {
		return 0, err
	}
	at, err := findCheckpoint(f, from, size)
	return at, errors.Join(err, f.Close())
}

const checkpointLength = recordHeader + int64(len(checkpointMagic))

// findCheckpoint returns the offset of the first whole checkpoint record that stands at a multiple of 8 from an offset
// on, whatever is between; -1 when there is none.
func findCheckpoint(f *os.File, from, size int64) (int64, error) {
	const overlap = int(checkpointLength)
	buf := make([]byte, max(0, min(1<<20, size-from)))
	for from < size {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-from)], from)
		if err != nil && err != io.EOF {
			return -1, fmt.Errorf("looking for checkpoints: %w", err)
		}
		for i := 0; ; {
			j := bytes.Index(buf[i:n], []byte(checkpointMagic))
			if j < 0 {
				break
			}
			i += j
			at := i - recordHeader
			i++
			if at < 0 || (from+int64(at))%8 != 0 {
				continue
			}
			if rec, err := parseRecord(buf[at:n]); err == nil && rec.kind == kindCheckpoint {
				return from + int64(at), nil
			}
		}
		if from+int64(n) >= size || n <= overlap {
			return -1, nil
		}
		from += int64(n - overlap)
	}
	return -1, nil
}
