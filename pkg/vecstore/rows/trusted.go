package rows

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// trusted replays the index alone, and what the last segment has behind it. Whatever does not fit makes it a verified open.
func (o *opener) trusted() error {
	tail, err := o.readIndexes()
	var of replayError
	if errors.As(err, &of) && !errors.Is(err, ErrCorrupt) {
		return err
	}
	if err != nil {
		o.out.Doubt = err
		if err := o.restart(); err != nil {
			return err
		}
		return o.verified()
	}
	return o.mend(tail)
}

// tail is what the last segment and its index are to be made: the entries of records that the index did not have, and
// where the whole ones end.
type tail struct {
	indexed uint32 // entries that the index has
	entries []byte
}

func (o *opener) readIndexes() (tail, error) {
	var t tail
	for i, s := range o.list {
		f, err := o.openFile(i)
		if err != nil {
			return t, err
		}
		o.files = append(o.files, f)
		if err := o.openIndex(f); err != nil {
			return t, fmt.Errorf("%s: %w", indexName(s.ID), err)
		}
		if i < len(o.list)-1 {
			err = o.readClosed(f, s)
		} else {
			t, err = o.readLast(f, s)
		}
		if err != nil {
			return t, fmt.Errorf("%s: %w", indexName(s.ID), err)
		}
	}
	if n := len(o.files); n > 0 {
		return t, o.durableBehind(o.files[n-1], spot{n - 1, o.files[n-1].length})
	}
	return t, nil
}

// openIndex opens the index of a segment, and checks its header.
func (o *opener) openIndex(f *opened) (err error) {
	if f.idx, err = o.fsys.Open(f.idxPath()); errors.Is(err, fs.ErrNotExist) {
		return errNoIndex
	} else if err != nil {
		return err
	}
	var header [indexEntry]byte
	if _, err := f.idx.ReadAt(header[:], 0); err != nil && err != io.EOF {
		return err
	}
	if !bytes.Equal(header[:], appendIndexHeader(nil, f.id, f.header, &o.opt.HashKey)) {
		return fmt.Errorf("%w: its header is not that of the segment beside it", ErrCorrupt)
	}
	return nil
}

// errNoIndex is in place of an error that has the name of the file once more.
var errNoIndex = errors.New("it is missing")

func (o *opener) readClosed(f *opened, s Segment) error {
	size, err := f.idx.Size()
	if err != nil {
		return err
	}
	if want := indexEntry * (1 + int64(s.Entries)); size != want || f.size < s.Length {
		return fmt.Errorf("%w: it has %d bytes and its segment %d, want %d and %d", ErrCorrupt, size, f.size, want, s.Length)
	}
	if err := o.readEntries(f, s.Entries); err != nil {
		return err
	}
	if f.length != s.Length {
		return fmt.Errorf("%w: its records end at %d, and the segment at %d", ErrCorrupt, f.length, s.Length)
	}
	return f.closeIndex()
}

// readLast replays the entries of the last segment, and the records that it has behind them: the process was killed between
// the two writes.
func (o *opener) readLast(f *opened, s Segment) (t tail, err error) {
	size, err := f.idx.Size()
	if err != nil {
		return t, err
	}
	n := uint32(size/indexEntry - 1)
	if n, err = o.wholeRecords(f, n); err != nil {
		return t, err
	}
	t.indexed = n
	if err := o.readEntries(f, n); err != nil {
		return t, err
	}
	if f.length > f.size {
		return t, fmt.Errorf("%w: its records end at %d, and the segment at %d", ErrCorrupt, f.length, f.size)
	}
	for o.reader.reset(f.seg, f.length, min(f.size, MaxSegment)); ; {
		rec, at, err := o.reader.next()
		if err != nil {
			return t, err
		}
		if rec == nil {
			break
		}
		f.length += int64(len(o.reader.raw))
		if t.entries, err = o.replay(rec, makeRef(f.id, at, int64(len(o.reader.raw))), t.entries); err != nil {
			return t, err
		}
	}
	f.entries = n + uint32(len(t.entries)/indexEntry)
	if f.length < s.Length {
		return t, fmt.Errorf("%w: its records end at %d, and were durable up to %d", ErrCorrupt, f.length, s.Length)
	}
	return t, nil
}

// wholeRecords takes the entries of a forget off whose last ones were not written: they are made again from its record.
func (o *opener) wholeRecords(f *opened, n uint32) (uint32, error) {
	var b [indexEntry]byte
	var broken Ref // the record whose entries are being taken off
	for ; n > 0; n-- {
		if _, err := f.idx.ReadAt(b[:], indexEntry*int64(n)); err != nil {
			return 0, err
		}
		e := &o.entry
		if !parseEntry(b[:], e) {
			return 0, fmt.Errorf("%w: the checksum of entry %d is wrong", ErrCorrupt, n-1)
		}
		if broken == 0 && e.Kind == KindForget && e.Size > 0 {
			broken = e.Ref
		}
		if e.Ref != broken {
			break
		}
	}
	return n, nil
}

// readEntries replays n entries, which must be of records that follow each other without a gap, and leaves the end of the
// last one in f.length.
func (o *opener) readEntries(f *opened, n uint32) error {
	const most = 1 << 14
	if want := indexEntry * int(min(n, most)); len(o.page) < want {
		o.page = make([]byte, want)
	}
	f.length, f.entries = segmentHeader, n
	var more uint32 // of the record of the entry before
	var last Ref
	for done := uint32(0); done < n; {
		part := o.page[:indexEntry*min(n-done, most)]
		if _, err := f.idx.ReadAt(part, indexEntry*(1+int64(done))); err != nil {
			return err
		}
		for ; len(part) > 0; part = part[indexEntry:] {
			e := &o.entry
			if !parseEntry(part, e) {
				return fmt.Errorf("%w: the checksum of entry %d is wrong", ErrCorrupt, done)
			}
			if more > 0 {
				more--
				if e.Ref != last || e.Kind != KindForget || e.Size != more || e.first {
					return fmt.Errorf("%w: entry %d is not of the record of the one before", ErrCorrupt, done)
				}
			} else if e.Ref.File() != f.id || e.Ref.Offset() != f.length || e.Ref.Length() < recordHeader || !e.first {
				return fmt.Errorf("%w: entry %d is of a record at %v, want one at %d", ErrCorrupt, done, e.Ref, f.length)
			} else {
				f.length, last = e.Ref.end(), e.Ref
				if e.Kind == KindForget {
					more = e.Size
				}
			}
			if err := o.deliver(); err != nil {
				return err
			}
			done++
		}
	}
	if more > 0 {
		return fmt.Errorf("%w: it ends within a record", ErrCorrupt)
	}
	return nil
}

// mend makes the last segment and its index what was read of them.
func (o *opener) mend(t tail) error {
	if len(o.files) == 0 {
		return nil
	}
	f := o.files[len(o.files)-1]
	if f.length < f.size {
		if err := f.seg.Truncate(f.length); err != nil {
			return fmt.Errorf("cutting off a torn tail: %w", err)
		}
		o.out.Torn = f.size - f.length
	}
	end := indexEntry * (1 + int64(t.indexed))
	if size, err := f.idx.Size(); err != nil {
		return fmt.Errorf("reading the size of an index: %w", err)
	} else if size == end && len(t.entries) == 0 {
		return nil
	}
	if err := f.idx.Truncate(end); err != nil {
		return fmt.Errorf("repairing an index: %w", err)
	}
	if _, err := f.idx.WriteAt(t.entries, end); err != nil {
		return fmt.Errorf("repairing an index: %w", err)
	}
	o.repaired(f, fmt.Errorf("it had no entries of records from %d of %d on", t.indexed, f.entries))
	return nil
}
