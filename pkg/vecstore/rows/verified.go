package rows

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
)

// verified replays the records, and compares the index with them.
//
// What is behind the last checkpoint need not have been synced, so a loss of power can leave any part of it, of each segment
// on its own: a file that is too short, or one in which some blocks are still zero. All from the first bad byte on is cut
// off. A checkpoint that vouches for a bad byte, or a list of segments that does, tells that it had been durable: that is
// corruption, and nothing is cut.
func (o *opener) verified() error {
	limit := spot{len(o.list), 0}
	if o.opt.Mode == Distrusted && len(o.list) > 0 {
		var err error
		if limit, err = o.lastVouched(); err != nil {
			return err
		}
	}
	cut := limit
	for i := range o.list {
		if i > limit.index {
			break
		}
		upTo := int64(math.MaxInt64)
		if i == limit.index {
			upTo = limit.offset
		}
		f, err := o.openFile(i)
		if err != nil {
			return err
		}
		o.files = append(o.files, f)
		end, whole, err := o.verifySegment(f, i, upTo)
		if err != nil {
			return fmt.Errorf("%s: %w", segmentName(f.id), err)
		}
		if !whole {
			cut = spot{i, end}
			if err := o.isTorn(cut); err != nil {
				return err
			}
			break
		}
	}
	// Nothing has been changed so far.
	if o.opt.Mode == Distrusted && len(o.list) > 0 {
		if err := o.vouchAgain(); err != nil {
			return err
		}
	}
	if err := o.cut(cut); err != nil {
		return err
	}
	for i, f := range o.files {
		if err := o.finish(f, i == len(o.files)-1); err != nil {
			return fmt.Errorf("mending %s and its index: %w", segmentName(f.id), err)
		}
	}
	return nil
}

// vouchAgain writes the checkpoint that tells where the log is about to be cut once more. It may stand further on, and where it
// does not, it has been written behind the last sync that succeeded, so that the disk may not have it. Whoever comes to read
// what this leaves half done still finds the old one.
func (o *opener) vouchAgain() error {
	f := o.files[len(o.files)-1]
	o.durable = max(o.through, o.durable) // all that is left
	if o.durable == 0 {
		return nil
	}
	rec := checkpointRecord(o.durable, o.taken, place{f.id, f.length})
	b, err := appendRecord(nil, &rec)
	if err != nil {
		return err
	}
	at := f.length
	if o.vouched == (spot{len(o.files) - 1, at - checkpointLength}) {
		at -= checkpointLength
		if _, err := f.seg.ReadAt(b, at); err != nil {
			return fmt.Errorf("reading a checkpoint: %w", err)
		}
	} else if at+checkpointLength > MaxSegment {
		return nil
	} else {
		f.length, f.entries, f.repair = at+checkpointLength, f.entries+1, true
		f.size = max(f.size, f.length)
	}
	if _, err := f.seg.WriteAt(b, at); err != nil {
		return fmt.Errorf("writing a checkpoint: %w", err)
	}
	if err := f.seg.Sync(); err != nil {
		return fmt.Errorf("writing a checkpoint: %w", err)
	}
	return nil
}

// verifySegment replays one segment up to an offset. It returns where the good records end, and whether that is the offset
// or the end of the segment.
func (o *opener) verifySegment(f *opened, i int, upTo int64) (end int64, whole bool, err error) {
	s, last := o.list[i], i == len(o.list)-1
	end = max(min(f.size, MaxSegment), s.Length)
	if !last {
		end = s.Length
	}
	end = min(end, upTo)
	check := o.newIndexCheck(f)
	sealed := !last || s.Length <= segmentHeader
	var encoded []byte
	for o.reader.reset(f.seg, segmentHeader, min(end, f.size)); ; {
		rec, at, err := o.reader.next()
		if err != nil {
			return at, false, err
		}
		f.length = at
		if rec == nil {
			break
		}
		length := int64(len(o.reader.raw))
		if encoded, err = o.replay(rec, makeRef(f.id, at, length), encoded[:0]); err != nil {
			return at, false, err
		}
		check.compare(encoded, at+length)
		f.entries += uint32(len(encoded) / indexEntry)
		if last && at+length == s.Length {
			if f.entries != s.Entries {
				return at, false, fmt.Errorf("%w: it has %d entries up to %d, want %d", ErrCorrupt, f.entries, s.Length, s.Entries)
			}
			o.durable = max(o.durable, o.through)
			sealed = true
		}
	}
	if !sealed && f.length > s.Length {
		return end, false, fmt.Errorf("%w: no record of it ends at %d", ErrCorrupt, s.Length)
	}
	if err := check.end(last); err != nil {
		return end, false, err
	}
	if whole = f.length == end; whole && !last && end == s.Length && f.entries != s.Entries {
		return end, false, fmt.Errorf("%w: it has %d entries, want %d", ErrCorrupt, f.entries, s.Entries)
	}
	return f.length, whole, nil
}

// indexCheck compares an index with the entries that the records of its segment have.
type indexCheck struct {
	f    *opened
	size int64
	buf  []byte
	have []byte // read and not compared
	at   int64  // of the next byte to read
}

func (o *opener) newIndexCheck(f *opened) *indexCheck {
	c := &indexCheck{f: f, at: indexEntry}
	f.from = segmentHeader
	err := o.openIndex(f)
	if err == nil {
		c.size, err = f.idx.Size()
	}
	// Whatever is the matter with an index, it is written anew.
	f.renew = err != nil
	f.repair, f.reason = f.renew, err
	return c
}

func (c *indexCheck) fail(err error) { c.f.repair, c.f.reason = true, err }

// compare looks at the entries of the next record, which ends at an offset.
func (c *indexCheck) compare(want []byte, end int64) {
	if c.f.repair {
		return
	}
	for len(c.have) < len(want) {
		n := min(int64(max(1<<16, len(want))), c.size-c.at)
		if n <= 0 {
			c.fail(fmt.Errorf("%w: it ends at entry %d", ErrCorrupt, c.f.good))
			return
		}
		kept := len(c.have)
		if cap(c.buf) < kept+int(n) {
			c.buf = make([]byte, kept+int(n))
		}
		copy(c.buf[:kept], c.have)
		c.have = c.buf[:kept+int(n)]
		if _, err := c.f.idx.ReadAt(c.have[kept:], c.at); err != nil {
			c.fail(err)
			return
		}
		c.at += n
	}
	if !bytes.Equal(c.have[:len(want)], want) {
		c.fail(fmt.Errorf("%w: entry %d is not that of its record", ErrCorrupt, c.f.good))
		return
	}
	c.have = c.have[len(want):]
	c.f.good += uint32(len(want) / indexEntry)
	c.f.from = end
}

// end looks for entries of no record, and closes an index that nothing is written to.
func (c *indexCheck) end(last bool) error {
	if !c.f.repair && c.size != indexEntry*(1+int64(c.f.good)) {
		c.fail(fmt.Errorf("%w: it has %d bytes, and its segment %d entries", ErrCorrupt, c.size, c.f.good))
	}
	if last {
		return nil
	}
	return c.f.closeIndex()
}

// cut ends the log at a spot, at the end of the list for nowhere.
func (o *opener) cut(at spot) error {
	if at.index == len(o.list) {
		return nil
	}
	// Who comes to read what this leaves half done finds the same spot: the list ends there, and the bytes are as bad
	// as before.
	order := make([]*file, len(o.files))
	for i, f := range o.files {
		order[i] = f.file
	}
	for i := len(o.files); i < len(o.list); i++ {
		info, err := o.fsys.Stat((&file{dir: o.dir, id: o.list[i].ID}).segPath())
		if err != nil {
			return fmt.Errorf("cutting off a torn tail: %w", err)
		}
		o.out.Torn += info.Size()
	}
	if len(o.files) < len(o.list) {
		if err := o.opt.Commit(segmentsOf(order), o.opt.NextID); err != nil {
			return fmt.Errorf("storing the list of segments: %w", err)
		}
		o.sealed = Segment{}
	}
	return nil
}

// finish cuts off what a segment has behind its records and repairs its index.
func (o *opener) finish(f *opened, last bool) error {
	if f.length < f.size {
		if err := f.seg.Truncate(f.length); err != nil {
			return fmt.Errorf("cutting off a torn tail: %w", err)
		}
		if err := f.seg.Sync(); err != nil {
			return fmt.Errorf("cutting off a torn tail: %w", err)
		}
		o.out.Torn += f.size - f.length
	}
	if f.repair {
		if err := o.repair(f); err != nil {
			return err
		}
		o.repaired(f, f.reason)
	}
	if last {
		return nil
	}
	return f.closeIndex()
}

// repair writes the index of a segment from where it does not match the records.
func (o *opener) repair(f *opened) error {
	if err := o.reopenIndex(f); err != nil {
		return err
	}
	out := make([]byte, 0, 1<<16)
	at := indexEntry * (1 + int64(f.good))
	if f.renew {
		at = 0
		out = appendIndexHeader(out, f.id, f.header, &o.opt.HashKey)
	}
	if err := f.idx.Truncate(at); err != nil {
		return err
	}
	flush := func() error {
		n, err := f.idx.WriteAt(out, at)
		at += int64(n)
		out = out[:0]
		return err
	}
	for o.reader.reset(f.seg, f.from, f.length); ; {
		rec, off, err := o.reader.next()
		if err != nil {
			return err
		}
		if rec == nil {
			return flush()
		}
		var e Entry
		err = o.opt.HashKey.entries(rec, makeRef(f.id, off, int64(len(o.reader.raw))), &e, func() error {
			out = appendEntry(out, &e)
			return nil
		})
		if err != nil {
			return err
		}
		if len(out) >= 1<<16-indexEntry {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

// reopenIndex opens an index, or makes it where there is none.
func (o *opener) reopenIndex(f *opened) (err error) {
	if err := f.closeIndex(); err != nil {
		return err
	}
	if f.idx, err = o.fsys.Open(f.idxPath()); errors.Is(err, fs.ErrNotExist) {
		f.idx, err = o.fsys.Create(f.idxPath())
	}
	return err
}
