package rows

import (
	"fmt"
	"io"
)

// recordReader reads records back to back with large reads.
type recordReader struct {
	r          io.ReaderAt
	at, limit  int64 // of the next record, and where the last one ends at the most
	buf        []byte
	start, end int // of the bytes in buf that are not consumed
	scratch    []byte
	rec        Record
	raw        []byte // the bytes of rec
}

// readBuffer is how much a recordReader reads at once, at least the longest record.
const readBuffer = MaxRecord

func (r *recordReader) reset(from io.ReaderAt, at, limit int64) {
	r.r, r.at, r.limit = from, at, limit
	r.start, r.end = 0, 0
	if want := max(0, min(readBuffer, limit-at)); int64(len(r.buf)) < want {
		r.buf = make([]byte, want)
	}
}

// next returns a record, which is good until the following call, and where it begins; or nil and where the good ones
// end.
func (r *recordReader) next() (*Record, int64, error) {
	if ok, err := r.fill(recordHeader); err != nil || !ok {
		return nil, r.at, err
	}
	n, err := recordLength(r.buf[r.start:r.end])
	if err != nil {
		return nil, r.at, nil
	}
	if ok, err := r.fill(n); err != nil || !ok {
		return nil, r.at, err
	}
	r.raw = r.buf[r.start : r.start+n]
	r.rec, _, r.scratch, err = parseRecord(r.raw, r.scratch)
	if err == errTorn {
		return nil, r.at, nil
	}
	if err != nil {
		return nil, r.at, fmt.Errorf("the record at %d: %w", r.at, err)
	}
	at := r.at
	r.start += n
	r.at += int64(n)
	return &r.rec, at, nil
}

// fill makes n bytes available, or tells that the file does not have them.
func (r *recordReader) fill(n int) (bool, error) {
	if r.end-r.start >= n {
		return true, nil
	}
	if r.limit-r.at < int64(n) {
		return false, nil
	}
	copy(r.buf, r.buf[r.start:r.end])
	r.end -= r.start
	r.start = 0
	want := min(int64(len(r.buf)-r.end), r.limit-r.at-int64(r.end))
	got, err := r.r.ReadAt(r.buf[r.end:r.end+int(want)], r.at+int64(r.end))
	r.end += got
	if err != nil && err != io.EOF {
		return false, fmt.Errorf("reading at %d: %w", r.at, err)
	}
	return r.end >= n, nil
}
