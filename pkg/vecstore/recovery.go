package vecstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Recovery says what Open found.
type Recovery struct {
	// Records is how many records were replayed.
	Records int
	// Bytes is the size of the row log.
	Bytes int64
	// Torn is how many bytes behind the last checkpoint were cut off, because they were no whole records or were not
	// to be trusted.
	Torn int64
}

// Open opens the shard in dir, which it creates, and replays its row log. It does not lock the directory.
//
// Errors wrap ErrCorrupt, ErrVersion or ErrSource when the directory cannot be used for src; the caller then decides
// to set it aside.
func Open(dir string, src Source, opt Options) (*Shard, Recovery, error) {
	var rec Recovery
	if len(src.Epoch) > maxEpoch {
		return nil, rec, fmt.Errorf("the epoch %q has more than %d bytes", src.Epoch, maxEpoch)
	}
	if opt.SegmentSize <= 0 {
		opt.SegmentSize = 256 << 20
	}
	opt.SegmentSize = min(opt.SegmentSize, maxSegment)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, rec, fmt.Errorf("creating the shard's directory: %w", err)
	}
	s := &Shard{
		dir: dir, src: src, hasher: newIDHasher(),
		log:    &rowLog{dir: dir, src: src, segmentSize: opt.SegmentSize},
		spaces: map[string]*space{}, byNumber: map[uint32]*space{}, next: 1,
	}
	s.appender.shard = s
	if err := s.recover(opt, &rec); err != nil {
		return nil, rec, errors.Join(fmt.Errorf("opening shard %d in %s: %w", src.Shard, dir, err), s.log.close())
	}
	return s, rec, nil
}

func (s *Shard) recover(opt Options, out *Recovery) error {
	n, err := segments(s.dir)
	if err != nil {
		return err
	}
	for number := 1; number <= n; number++ {
		if err := s.recoverSegment(number, number == n, opt, out); err != nil {
			return fmt.Errorf("%s: %w", segmentName(number), err)
		}
	}
	s.appender.through = s.appended.Load()
	for _, sp := range s.byNumber {
		sp.prune(s.appended.Load())
	}
	return nil
}

// recoverSegment replays one segment, and cuts the last one off where it is torn.
func (s *Shard) recoverSegment(number int, last bool, opt Options, out *Recovery) error {
	f, err := os.OpenFile(filepath.Join(s.dir, segmentName(number)), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("opening a segment: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("opening a segment: %w", err), f.Close())
	}
	if last && st.Size() < segmentHeader {
		// It died while it began the segment, which so holds nothing. It is made anew.
		out.Torn += st.Size()
		return errors.Join(f.Close(), os.Remove(f.Name()))
	}
	s.log.files = append(s.log.files, f)
	header := make([]byte, segmentHeader)
	if _, err := f.ReadAt(header, 0); err != nil {
		return fmt.Errorf("reading the segment header: %w", err)
	}
	got, src, err := parseSegmentHeader(header)
	if err != nil {
		return err
	}
	if src != s.src {
		return fmt.Errorf("%w: it was filled from %v, not from %v", ErrSource, src, s.src)
	}
	if got != uint32(number) {
		return fmt.Errorf("%w: its header says that it is segment %d", ErrCorrupt, got)
	}
	end, err := s.scan(f, number, st.Size(), opt.Distrust && last, out)
	if err != nil {
		return err
	}
	out.Bytes += end
	if end < st.Size() {
		if !last {
			return fmt.Errorf("%w: the record at %d of %d bytes, and a later segment follows", ErrCorrupt, end, st.Size())
		}
		if at, err := checkpointBehind(f, end, st.Size()); err != nil {
			return err
		} else if at >= 0 && !opt.Distrust {
			return fmt.Errorf("%w: the record at %d, below the checkpoint at %d that made it durable", ErrCorrupt, end, at)
		}
		if err := f.Truncate(end); err != nil {
			return fmt.Errorf("cutting off a torn tail: %w", err)
		}
		out.Torn += st.Size() - end
	}
	s.log.end = end
	return nil
}

// scan replays the records of a segment and returns where the last good one ends. With distrust it stops behind the
// last checkpoint.
func (s *Shard) scan(f *os.File, number int, size int64, distrust bool, out *Recovery) (int64, error) {
	limit := size
	if distrust {
		at, err := lastCheckpoint(f, size)
		if err != nil {
			return 0, err
		}
		limit = at
	}
	r := newRecordReader(f, segmentHeader, limit)
	for {
		rec, at, err := r.next()
		if err != nil {
			return at, err
		}
		if rec == nil {
			return at, nil
		}
		out.Records++
		if err := s.replay(rec, makeRef(uint32(number), at, rec.length)); err != nil {
			return at, fmt.Errorf("the record at %d: %w", at, err)
		}
	}
}

// replay does with a record what Add and Apply did with its event.
func (s *Shard) replay(rec *record, at ref) error {
	s.appended.Store(max(s.appended.Load(), rec.sequence))
	switch rec.kind {
	case kindCheckpoint:
		s.durable.Store(rec.sequence)
		return nil
	case KindDefine:
		d, err := parseDefinition(rec.body)
		if err != nil {
			return err
		}
		sp, err := newSpace(d, rec.space)
		if err != nil {
			return err
		}
		s.install(sp)
		return nil
	}
	sp, ok := s.byNumber[rec.space]
	if !ok {
		return nil // of a space that was dropped since
	}
	switch rec.kind {
	case KindObserve:
		return sp.insert(s.hasher.key(stringOf(rec.id)), rec.sequence, rec.expires, at, rec.vector)
	case KindForget:
		ids, err := parseIDs(rec.body)
		if err != nil {
			return err
		}
		for _, id := range ids {
			sp.forget(s.hasher.key(id), rec.sequence)
		}
	case KindDrop:
		s.uninstall(sp)
	default:
		return fmt.Errorf("%w: a record of unknown kind %d", ErrCorrupt, rec.kind)
	}
	return nil
}

// recordReader reads records back to back with large reads.
type recordReader struct {
	f          *os.File
	at, limit  int64 // of the next record
	buf        []byte
	start, end int // of the bytes in buf that are not consumed
	rec        record
}

func newRecordReader(f *os.File, from, limit int64) *recordReader {
	return &recordReader{f: f, at: from, limit: limit, buf: make([]byte, maxRecord)}
}

// next returns a record, which is good until the following call, and where it begins; or nil and where the good ones
// end.
func (r *recordReader) next() (*record, int64, error) {
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
	if r.rec, err = parseRecord(r.buf[r.start : r.start+n]); err != nil {
		return nil, r.at, nil
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
	got, err := r.f.ReadAt(r.buf[r.end:r.end+int(want)], r.at+int64(r.end))
	r.end += got
	if err != nil && err != io.EOF {
		return false, fmt.Errorf("reading at %d: %w", r.at, err)
	}
	return r.end >= n, nil
}

// checkpointBehind looks for a whole checkpoint record anywhere behind a bad record: if there is one, the bad record
// had been made durable. It returns -1 when there is none.
func checkpointBehind(f *os.File, from, size int64) (int64, error) {
	found := int64(-1)
	err := eachCheckpoint(f, from, size, func(at int64) bool { found = at; return false })
	return found, err
}

// lastCheckpoint returns where the last checkpoint record of a segment ends, or where its records begin.
func lastCheckpoint(f *os.File, size int64) (int64, error) {
	end := int64(segmentHeader)
	err := eachCheckpoint(f, segmentHeader, size, func(at int64) bool {
		end = at + checkpointLength
		return true
	})
	return end, err
}

const checkpointLength = recordHeader + int64(len(checkpointMagic))

// eachCheckpoint calls fn with the offset of each checkpoint record that stands at a multiple of 8, until it returns false.
func eachCheckpoint(f *os.File, from, size int64, fn func(at int64) bool) error {
	const overlap = int(checkpointLength)
	buf := make([]byte, 1<<20)
	for from < size {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-from)], from)
		if err != nil && err != io.EOF {
			return fmt.Errorf("looking for checkpoints: %w", err)
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
				if !fn(from + int64(at)) {
					return nil
				}
			}
		}
		if from+int64(n) >= size || n <= overlap {
			return nil
		}
		from += int64(n - overlap)
	}
	return nil
}
