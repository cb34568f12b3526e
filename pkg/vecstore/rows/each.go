package rows

import "fmt"

// Each reads every record of the log from its files, in the order of the log, until visit returns an error. What is appended
// meanwhile may be met or not. A record is good until visit returns.
func (l *Log) Each(visit func(*Record) error) (files int, bytes int64, err error) {
	segments := l.Segments()
	var reader recordReader
	for i, s := range segments {
		f, err := l.hold(s.ID)
		if err != nil {
			return files, bytes, err
		}
		limit := s.Length
		if i == len(segments)-1 {
			limit = MaxSegment // it is open: to where the good ones end
		}
		n, err := each(&reader, f, limit, i == len(segments)-1, visit)
		_ = f.release() // the log still has it, or removes it at the next open
		files, bytes = files+1, bytes+n
		if err != nil {
			return files, bytes, err
		}
	}
	return files, bytes, nil
}

func each(reader *recordReader, f *file, limit int64, open bool, visit func(*Record) error) (int64, error) {
	for reader.reset(f.seg, segmentHeader, limit); ; {
		rec, at, err := reader.next()
		switch {
		case err != nil:
			return at, err
		case rec == nil && !open && at != limit:
			return at, fmt.Errorf("%w: %s is bad at %d", ErrCorrupt, segmentName(f.id), at)
		case rec == nil:
			return at, nil
		}
		if err := visit(rec); err != nil {
			return at, err
		}
	}
}
