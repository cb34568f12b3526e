package rows

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// isTorn returns ErrCorrupt when something tells that the bytes at a spot had been durable.
func (o *opener) isTorn(bad spot) error {
	if s := o.sealedSpot(); bad.before(s) {
		return fmt.Errorf("%w: %s has no whole record at %d, though the manifest says that all up to %d in %s was durable",
			ErrCorrupt, segmentName(o.list[bad.index].ID), bad.offset, s.offset, segmentName(o.list[s.index].ID))
	}
	for i := bad.index; i < len(o.list); i++ {
		var f *opened
		if i < len(o.files) {
			f = o.files[i]
		} else {
			var err error
			if f, err = o.openFile(i); err != nil {
				return err
			}
		}
		err := o.durableBehind(f, bad)
		if i >= len(o.files) {
			err = errors.Join(err, f.seg.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sealedSpot is up to where the list of segments vouches.
func (o *opener) sealedSpot() spot {
	if o.sealed.Length == 0 {
		return spot{}
	}
	return spot{len(o.list) - 1, o.sealed.Length}
}

// durableBehind returns ErrCorrupt when a segment has a checkpoint at a bad spot or behind it, or anywhere if the spot is
// in an earlier segment, that vouches for the spot.
func (o *opener) durableBehind(f *opened, bad spot) error {
	index := o.order[f.id]
	from, to := int64(segmentHeader), f.size
	if index == bad.index {
		from = max(from, bad.offset)
	}
	if index < len(o.list)-1 {
		to = min(to, o.list[index].Length)
	}
	return findCheckpoints(f.seg, from, to, func(at int64, p place) error {
		s, ok := o.spotOf(p, spot{index, at})
		if !ok || !bad.before(s) {
			return nil
		}
		return fmt.Errorf("%w: %s has no whole record at %d, though the checkpoint at %d in %s says that it was durable",
			ErrCorrupt, segmentName(o.list[bad.index].ID), bad.offset, at, segmentName(f.id))
	})
}

// lastVouched returns up to where the last checkpoint vouches, and the start of the log when there is none; behind the
// checkpoint, if it stands there itself. It is found by walking the records: the body of an observation may hold anything, a
// checkpoint record too.
func (o *opener) lastVouched() (limit spot, err error) {
	for i := len(o.list) - 1; i >= 0; i-- {
		f, err := o.openFile(i)
		if err != nil {
			return spot{}, err
		}
		limit, err := o.vouchedIn(f, i)
		if err = errors.Join(err, f.seg.Close()); err != nil {
			return spot{}, err
		}
		if s := o.sealedSpot(); limit.before(s) {
			limit = s
		}
		if limit != (spot{}) {
			return limit, nil
		}
	}
	return spot{0, segmentHeader}, nil
}

// vouchedIn walks the records of a segment. A zero spot is for no checkpoint.
func (o *opener) vouchedIn(f *opened, i int) (limit spot, err error) {
	var found spot
	end := f.size
	if i < len(o.list)-1 {
		end = min(end, o.list[i].Length)
	}
	for o.reader.reset(f.seg, segmentHeader, end); ; {
		rec, at, err := o.reader.next()
		if err != nil {
			return spot{}, fmt.Errorf("%s: %w", segmentName(f.id), err)
		}
		if rec == nil {
			return limit, o.durableBehind(f, spot{i, at})
		}
		if rec.Kind != KindCheckpoint {
			continue
		}
		own := spot{i, at}
		s, ok := o.spotOf(parseCheckpoint(rec.Body), own)
		if !ok || !found.before(s) {
			continue
		}
		found, limit = s, s
		if s == own {
			limit.offset += checkpointLength
		}
		o.durable, o.taken = max(o.durable, rec.Sequence), rec.Published
	}
}

// findCheckpoints calls visit with each whole checkpoint record that stands at a multiple of 8 from an offset on, whatever
// is between.
func findCheckpoints(r io.ReaderAt, from, to int64, visit func(at int64, p place) error) error {
	const overlap = checkpointLength - 1
	buf := make([]byte, max(0, min(1<<20, to-from)))
	for from < to {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), to-from)], from)
		if err != nil && err != io.EOF {
			return fmt.Errorf("looking for checkpoints: %w", err)
		}
		for i := 0; ; {
			j := bytes.Index(buf[i:n], []byte(checkpointMagic))
			if j < 0 {
				break
			}
			at := i + j - recordHeader
			i += j + 1
			if at < 0 || (from+int64(at))%8 != 0 {
				continue
			}
			rec, _, _, err := parseRecord(buf[at:n], nil)
			if err != nil || rec.Kind != KindCheckpoint {
				continue
			}
			if err := visit(from+int64(at), parseCheckpoint(rec.Body)); err != nil {
				return err
			}
		}
		if from+int64(n) >= to || n <= overlap {
			return nil
		}
		from += int64(n - overlap)
	}
	return nil
}
