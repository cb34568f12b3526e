package rows

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/engram-memory/engram/pkg/vfs"
)

// Open opens the log in dir, which it creates, and gives every entry to Options.Replay. It does not lock the directory.
//
// Errors wrap ErrCorrupt, ErrVersion or ErrSource when the directory cannot be used for src, and nothing in it has been
// changed then; the caller decides to set it aside. Others are about the disk.
func Open(fsys vfs.FS, dir string, src Source, opt Options) (*Log, Recovery, error) {
	if len(src.Epoch) > MaxEpoch {
		return nil, Recovery{}, fmt.Errorf("the epoch %q has more than %d bytes", src.Epoch, MaxEpoch)
	}
	if opt.SegmentSize <= 0 {
		opt.SegmentSize = DefaultSegmentSize
	}
	opt.SegmentSize = min(opt.SegmentSize, MaxSegment)
	opt.NextID = max(opt.NextID, 1)
	o := &opener{fsys: fsys, dir: dir, src: src, opt: &opt, list: opt.Segments, out: Recovery{Mode: opt.Mode}}
	l, err := o.open()
	if err != nil {
		return nil, Recovery{}, errors.Join(fmt.Errorf("opening the row log: %w", err), o.close())
	}
	return l, o.out, nil
}

// CheckSegments returns ErrCorrupt when a list of segments is none that a log has had.
func CheckSegments(list []Segment, nextID uint32) error {
	seen := make(map[uint32]bool, len(list))
	for i, s := range list {
		last := i == len(list)-1
		switch {
		case s.ID == 0 || s.ID >= nextID || s.ID > maxID || seen[s.ID]:
			return fmt.Errorf("%w: segment %d of the list has the id %d, below a next one of %d", ErrCorrupt, i, s.ID, nextID)
		case last && s.Length == 0 && s.Entries == 0:
		case s.Length < segmentHeader || s.Length > MaxSegment || s.Length%8 != 0:
			return fmt.Errorf("%w: segment %d of the list has a length of %d", ErrCorrupt, i, s.Length)
		}
		seen[s.ID] = true
	}
	return nil
}

// opener makes a log out of the files that a list names.
type opener struct {
	fsys vfs.FS
	dir  string
	src  Source
	opt  *Options
	list []Segment
	out  Recovery

	order  map[uint32]int // where in the list an id is
	files  []*opened
	reader recordReader
	page   []byte // of an index
	buf    []byte // of a body

	// What the entries so far say: the sequences of events and of checkpoints, and how far the checkpoints vouch.
	through, durable uint64
	vouched          spot
	taken            int64 // when the last checkpoint was
	// count is how many entries of the last opened file there were; countVouched how many of them are below vouched, 0 if
	// that is not known.
	count, countVouched uint32
	// sealed is what is known to be durable of the last segment, if its length is not 0.
	sealed Segment

	entry Entry
	rec   *Record // of the entry, when it is at hand
	body  func() (Record, error)
}

// opened is a file of a log that is being opened. The index is compared up to good entries, whose records end at from;
// behind that it is to be written anew.
type opened struct {
	*file
	size   int64 // of the segment, whatever is in it
	header []byte
	good   uint32
	from   int64
	repair bool
	reason error // why it is repaired, if there is anything wrong with it
	// renew: not even the header of the index is right.
	renew bool
}

// spot is a place by the number of its file in the list, so that two can be compared.
type spot struct {
	index  int
	offset int64
}

func (s spot) before(o spot) bool {
	return s.index < o.index || s.index == o.index && s.offset < o.offset
}

func (o *opener) open() (*Log, error) {
	if err := CheckSegments(o.list, o.opt.NextID); err != nil {
		return nil, err
	}
	if err := o.fsys.MkdirAll(o.dir); err != nil {
		return nil, fmt.Errorf("creating the shard's directory: %w", err)
	}
	if len(o.list) == 0 {
		// Its name has to survive a loss of power as well.
		if err := o.fsys.SyncDir(filepath.Dir(filepath.Clean(o.dir))); err != nil {
			return nil, fmt.Errorf("creating the shard's directory: %w", err)
		}
	}
	o.order = make(map[uint32]int, len(o.list))
	for i, s := range o.list {
		o.order[s.ID] = i
	}
	if n := len(o.list); n > 0 {
		o.sealed = o.list[n-1]
	}
	o.body = o.readBody
	var err error
	if o.opt.Mode == Trusted {
		err = o.trusted()
	} else {
		err = o.verified()
	}
	if err != nil {
		return nil, err
	}
	if err := o.removeStrays(); err != nil {
		return nil, err
	}
	return o.log(), nil
}

// restart forgets what a trusted open has found so far.
func (o *opener) restart() error {
	err := o.close()
	o.through, o.durable, o.vouched, o.countVouched = 0, 0, spot{}, 0
	o.out = Recovery{Mode: Verified, Doubt: o.out.Doubt}
	if o.opt.Restart != nil {
		o.opt.Restart()
	}
	return err
}

func (o *opener) close() error {
	var errs []error
	for _, f := range o.files {
		errs = append(errs, f.closeIndex(), f.seg.Close())
	}
	o.files = nil
	return errors.Join(errs...)
}

// log is the log of the files.
func (o *opener) log() *Log {
	l := &Log{fsys: o.fsys, dir: o.dir, src: o.src, opt: *o.opt, nextID: o.opt.NextID, sealed: o.sealed}
	t := &table{byID: map[uint32]*file{}}
	for i, f := range o.files {
		f.begin()
		f.windows = newWindows(o.opt.Maps)
		f.windows.grown(f.length)
		t.order = append(t.order, f.file)
		t.byID[f.id] = f.file
		o.out.Bytes += f.length
		if i >= o.vouched.index && i < len(o.files)-1 {
			l.unsynced = append(l.unsynced, f.file)
		}
	}
	if f := t.last(); f != nil && o.vouched.index == len(o.files)-1 && o.countVouched > 0 && o.vouched.offset > o.sealed.Length {
		l.sealed = Segment{ID: f.id, Length: o.vouched.offset, Entries: o.countVouched}
	}
	l.files.Store(t)
	l.bytes.Store(o.out.Bytes)
	l.through = max(o.through, o.durable)
	l.appended.Store(l.through)
	l.durable.Store(o.durable)
	return l
}

// openFile opens the segment at a place in the list and checks its header. A log names a segment only after its header
// has become durable, so that a wrong one is never a torn one.
func (o *opener) openFile(i int) (*opened, error) {
	o.count = 0
	f := &opened{file: &file{fsys: o.fsys, dir: o.dir, id: o.list[i].ID}}
	var err error
	if f.seg, err = o.fsys.Open(f.segPath()); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing", ErrCorrupt, segmentName(f.id))
	} else if err != nil {
		return nil, fmt.Errorf("opening a segment: %w", err)
	}
	if err := f.readHeader(o.src); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", segmentName(f.id), err), f.seg.Close())
	}
	return f, nil
}

func (f *opened) readHeader(src Source) (err error) {
	if f.size, err = f.seg.Size(); err != nil {
		return fmt.Errorf("reading the size of a segment: %w", err)
	}
	f.header = make([]byte, segmentHeader)
	n, err := f.seg.ReadAt(f.header, 0)
	if err != nil && err != io.EOF {
		return fmt.Errorf("reading a segment header: %w", err)
	}
	id, got, err := parseSegmentHeader(f.header[:n])
	if err != nil {
		return err
	}
	if got != src {
		return fmt.Errorf("%w: it was filled from %v, not from %v", ErrSource, got, src)
	}
	if id != f.id {
		return fmt.Errorf("%w: its header says that it is file %d", ErrCorrupt, id)
	}
	return nil
}

// repaired notes that an index was repaired.
func (o *opener) repaired(f *opened, reason error) {
	o.out.IndexRepaired++
	if reason != nil {
		o.out.IndexRepairs = append(o.out.IndexRepairs, fmt.Errorf("%s: %w", indexName(f.id), reason))
	}
}

// replayError is an error of Options.Replay.
type replayError struct{ error }

func (e replayError) Unwrap() error { return e.error }

// deliver gives o.entry to the caller of Open.
func (o *opener) deliver() error {
	e := &o.entry
	switch {
	case e.Kind == KindCheckpoint:
		o.durable = max(o.durable, e.Sequence)
		o.vouch(e)
	case e.Sequence < o.through:
		return fmt.Errorf("%w: sequence %d comes behind %d", ErrCorrupt, e.Sequence, o.through)
	default:
		o.through = e.Sequence
	}
	o.count++
	o.out.Entries++
	if err := o.opt.Replay(e, o.body); err != nil {
		return replayError{fmt.Errorf("the record at %v: %w", e.Ref, err)}
	}
	return nil
}

// vouch notes how far a checkpoint vouches.
func (o *opener) vouch(e *Entry) {
	own := spot{o.order[e.Ref.File()], e.Ref.Offset()}
	if s, ok := o.spotOf(place{uint32(e.Key[0]), int64(e.Key[1])}, own); ok && o.vouched.before(s) {
		o.vouched, o.countVouched = s, 0
		if s == own {
			o.countVouched = o.count
		}
	}
}

// spotOf is where a place is that a checkpoint has in its body. One of a file that was rewritten since is not known: what it
// said, the checkpoint at the end of the new file says too.
func (o *opener) spotOf(p place, own spot) (spot, bool) {
	index, ok := o.order[p.file]
	s := spot{index, p.offset}
	if index < len(o.list)-1 && s.offset == o.list[index].Length {
		s = spot{index + 1, segmentHeader}
	}
	return s, ok && !own.before(s)
}

func (o *opener) readBody() (Record, error) {
	if o.rec != nil {
		return *o.rec, nil
	}
	rec, buf, err := o.files[o.order[o.entry.Ref.File()]].read(o.entry.Ref, o.buf)
	o.buf = buf
	o.out.Records++
	return rec, err
}

// replay delivers the entries of a record that was read, and appends them to dst as the index has them.
func (o *opener) replay(rec *Record, at Ref, dst []byte) ([]byte, error) {
	o.rec = rec
	o.out.Records++
	err := o.opt.HashKey.entries(rec, at, &o.entry, func() error {
		dst = appendEntry(dst, &o.entry)
		return o.deliver()
	})
	o.rec = nil
	return dst, err
}
