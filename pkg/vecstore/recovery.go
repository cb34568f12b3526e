package vecstore

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// Recovery says what Open found.
type Recovery struct {
	// Records is how many records were replayed.
	Records int
	// Bytes is the size of the row log.
	Bytes int64
	// Unindexed is how many rows made the index panic; they are not searchable.
	Unindexed int
	// Torn is how many bytes behind the last checkpoint were cut off, because they were no whole records or were not
	// to be trusted.
	Torn int64
}

// Open opens the shard in dir, which it creates, and replays its row log. It does not lock the directory.
//
// Errors wrap ErrCorrupt, ErrVersion or ErrSource when the directory cannot be used for src; the caller then decides
// to set it aside. Others, ErrFailed among them, are about the disk.
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
		spaces: map[string]*space{}, byNumber: map[uint32]*space{}, next: 1, dropped: map[string]uint32{},
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
	last, limit := n, int64(math.MaxInt64)
	if opt.Distrust {
		if last, limit, err = s.log.lastCheckpoint(n); err != nil {
			return err
		}
	}
	for number := 1; number <= last; number++ {
		upTo := int64(math.MaxInt64)
		if number == last {
			upTo = limit
		}
		end, whole, err := s.recoverSegment(number, upTo, out)
		if err != nil {
			return fmt.Errorf("%s: %w", segmentName(number), err)
		}
		if !whole {
			if err := s.log.cutTorn(number, end, n, out); err != nil {
				return err
			}
			break
		}
	}
	if opt.Distrust && n > 0 {
		if err := s.log.cut(max(last, 1), limit, n, out); err != nil {
			return err
		}
	}
	// A process that was killed may have written its last checkpoint and not synced it: what that says is made so
	// before anybody reads Durable.
	if err := s.log.sync(); err != nil {
		return err
	}
	out.Unindexed = s.unindexed
	s.appender.through = s.appended.Load()
	for _, sp := range s.byNumber {
		sp.prune(s.appended.Load())
	}
	return nil
}

// recoverSegment replays one segment up to an offset. It returns where the records end that are good, and whether that
// is the offset or the end of the file; 0 and false when not even the header is there.
func (s *Shard) recoverSegment(number int, upTo int64, out *Recovery) (end int64, whole bool, err error) {
	f, size, info, err := s.log.openSegment(number)
	if err != nil {
		return 0, false, err
	}
	s.log.files = append(s.log.files, f)
	if info == nil || info.previousEnd != s.log.end {
		return 0, false, nil
	}
	upTo = min(upTo, size)
	r := newRecordReader(f, segmentHeader, upTo)
	for {
		rec, at, err := r.next()
		if err != nil {
			return at, false, err
		}
		if rec == nil {
			s.log.end = at
			out.Bytes += at
			return at, at == upTo, nil
		}
		out.Records++
		if err := s.replay(rec, makeRef(uint32(number), at, rec.length)); err != nil {
			return at, false, fmt.Errorf("the record at %d: %w", at, err)
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
		if rec.space != s.next || !d.usable() {
			return fmt.Errorf("%w: a definition that cannot be, of space %d", ErrCorrupt, rec.space)
		}
		sp, err := newSpace(d, rec.space)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrVersion, err)
		}
		s.install(sp)
		return nil
	case KindObserve, KindForget, KindDrop:
	default:
		return fmt.Errorf("%w: a record of unknown kind %d", ErrCorrupt, rec.kind)
	}
	if rec.space == 0 || rec.space >= s.next {
		return fmt.Errorf("%w: a record of space %d, which was not defined before it", ErrCorrupt, rec.space)
	}
	sp, ok := s.byNumber[rec.space]
	if !ok {
		return nil // of a space that was dropped since
	}
	switch rec.kind {
	case KindObserve:
		if err := s.replayObserve(sp, rec, at); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
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
	}
	return nil
}

// replayObserve lets a row go that makes the index panic: it did so when it came, and was refused then. A start must not
// end in it.
func (s *Shard) replayObserve(sp *space, rec *record, at ref) (err error) {
	defer func() {
		if recover() != nil {
			s.unindexed++
			err = nil
		}
	}()
	return sp.insert(s.hasher.key(stringOf(rec.id)), rec.sequence, rec.expires, at, rec.vector)
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
	return &recordReader{f: f, at: from, limit: limit, buf: make([]byte, max(0, min(maxRecord, limit-from)))}
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
