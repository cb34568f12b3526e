package rows

import "fmt"

// Inspector checks the bytes of a segment as they are written to it, in order and in pieces of any size: its header, and
// every record with its checksum.
type Inspector struct {
	id    uint32
	src   Source
	visit func(rec *Record, at int64, raw []byte) error

	rest    []byte // of a record that has not come whole
	at      int64  // of the first byte of rest
	entries uint32
	records int
	scratch []byte
}

// NewInspector returns one for the segment of an id that was filled from a source. visit, if it is set, is called with each
// record, where it stands and its bytes, all good until it returns.
func NewInspector(id uint32, src Source, visit func(rec *Record, at int64, raw []byte) error) *Inspector {
	return &Inspector{id: id, src: src, visit: visit}
}

// Write takes the next bytes. Its errors are ErrCorrupt, ErrVersion, ErrSource, and those of visit.
func (s *Inspector) Write(p []byte) (int, error) {
	b := p
	if len(s.rest) > 0 {
		s.rest = append(s.rest, p...)
		b = s.rest
	}
	n, err := s.consume(b)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", segmentName(s.id), err)
	}
	s.rest = append(s.rest[:0], b[n:]...)
	return len(p), nil
}

// consume looks at the whole parts that b begins with, and returns their length.
func (s *Inspector) consume(b []byte) (done int, err error) {
	if s.at == 0 {
		if len(b) < segmentHeader {
			return 0, nil
		}
		if err := s.header(b[:segmentHeader]); err != nil {
			return 0, err
		}
		done, s.at = segmentHeader, segmentHeader
	}
	for {
		rest := b[done:]
		if len(rest) < recordHeader {
			return done, nil
		}
		length, err := recordLength(rest)
		if err == nil && length > len(rest) {
			return done, nil
		}
		var rec Record
		if err == nil {
			rec, _, s.scratch, err = parseRecord(rest[:length], s.scratch)
		}
		if err == errTorn {
			return done, fmt.Errorf("%w: no whole record begins at %d", ErrCorrupt, s.at)
		}
		if err != nil {
			return done, fmt.Errorf("the record at %d: %w", s.at, err)
		}
		if err := s.record(&rec, rest[:length]); err != nil {
			return done, err
		}
		done += length
		s.at += int64(length)
	}
}

func (s *Inspector) header(b []byte) error {
	id, src, err := parseSegmentHeader(b)
	switch {
	case err != nil:
		return err
	case src != s.src:
		return fmt.Errorf("%w: it was filled from %v, not from %v", ErrSource, src, s.src)
	case id != s.id:
		return fmt.Errorf("%w: its header says that it is file %d", ErrCorrupt, id)
	}
	return nil
}

func (s *Inspector) record(rec *Record, raw []byte) error {
	n := 1
	if rec.Kind == KindForget {
		var err error
		if n, err = countIDs(rec.Body); err != nil {
			return err
		}
	}
	s.entries += uint32(n)
	s.records++
	if s.visit == nil {
		return nil
	}
	return s.visit(rec, s.at, raw)
}

// Records returns how many records came so far.
func (s *Inspector) Records() int { return s.records }

// End returns ErrCorrupt when what came is not the whole of a segment.
func (s *Inspector) End(want Segment) error {
	switch {
	case len(s.rest) > 0:
		return fmt.Errorf("%w: %s ends within the record at %d", ErrCorrupt, segmentName(s.id), s.at)
	case s.at != want.Length || s.entries != want.Entries:
		return fmt.Errorf("%w: %s has %d bytes and %d entries, want %d and %d",
			ErrCorrupt, segmentName(s.id), s.at, s.entries, want.Length, want.Entries)
	}
	return nil
}
