package columns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/engram-memory/engram/pkg/vfs"
)

// File is an open column file. The package comment says which calls may overlap, and how long memory lives.
type File struct {
	fs     vfs.FS
	path   string
	header Header
	file   vfs.File

	head   vfs.Mapping // the header block
	chunks atomic.Pointer[Chunks]

	mu      sync.Mutex // over the fields below, and Grow as a whole
	maps    []vfs.Mapping
	settled []settledChunk

	failed  atomic.Pointer[error] // the first sync that failed
	sealed  *checksums            // as they were at Open, nil when there are none
	sealErr error                 // why they could not be read
	stale   bool                  // they are still on the disk; of Grow and Seal
	refs    references
	dropped atomic.Bool
}

// Create makes the file at path, which must not be there yet, without any rows.
func Create(fsys vfs.FS, path string, h Header) (*File, error) {
	made := false
	create := func(path string) (vfs.File, error) {
		file, err := fsys.Create(path)
		made = err == nil
		return file, err
	}
	f, err := begin(fsys, path, h, create, (*File).format)
	if made && err != nil {
		err = errors.Join(err, Remove(fsys, path))
	}
	if err != nil {
		return nil, fmt.Errorf("creating columns %s: %w", path, err)
	}
	return f, nil
}

// Open opens the file at path if its header is that of want; its chunks may be cut otherwise, and its centre is its own.
// What its process did last may be there in part: the words of State tell the owner what to repair. Checksums that were
// stored with Seal are read, for Verify; the first Grow removes them from the disk.
func Open(fsys vfs.FS, path string, want Header) (*File, error) {
	want.Centre = nil
	f, err := begin(fsys, path, want, fsys.Open, (*File).load)
	if err != nil {
		return nil, fmt.Errorf("opening columns %s: %w", path, err)
	}
	return f, nil
}

func begin(fsys vfs.FS, path string, h Header, open func(string) (vfs.File, error), fill func(*File) error) (*File, error) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		return nil, fmt.Errorf("the columns are little-endian and this machine is not: %w", errors.ErrUnsupported)
	}
	if err := h.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	file, err := open(path)
	if err != nil {
		return nil, err
	}
	f := &File{fs: fsys, path: path, header: h, file: file}
	f.refs.n.Store(1)
	f.refs.done = make(chan struct{})
	// What is mapped may belong to a file that someone else shortened.
	if err := vfs.Guard(func() error { return fill(f) }); err != nil {
		return nil, errors.Join(err, f.unmap())
	}
	return f, nil
}

// format fills a file that has just been made.
func (f *File) format() error {
	// Of a file of this name before.
	if err := removeIfThere(f.fs, SumsPath(f.path)); err != nil {
		return err
	}
	if err := f.file.Allocate(0, headerBytes); err != nil {
		return err
	}
	if _, err := f.file.WriteAt(appendHeader(nil, f.header), 0); err != nil {
		return err
	}
	if len(f.header.Centre) > 0 {
		if _, err := f.file.WriteAt(f.header.centre(), centreOffset); err != nil {
			return err
		}
	}
	f.chunks.Store(newChunks(f.header.Layout))
	return f.mapHead()
}

func (f *File) mapHead() (err error) {
	f.head, err = f.file.Map(0, headerBytes)
	return err
}

func (f *File) load() error {
	size, err := f.file.Size()
	if err != nil {
		return err
	}
	if size < headerBytes {
		return fmt.Errorf("%w: the file has %d bytes, its header alone has %d", ErrCorrupt, size, headerBytes)
	}
	b := make([]byte, headerBytes)
	if _, err := f.file.ReadAt(b, 0); err != nil {
		return err
	}
	h, err := parseHeader(b)
	if err != nil {
		return err
	}
	if err := h.check(f.header); err != nil {
		return err
	}
	if h.Centre, err = parseCentre(b, h); err != nil {
		return err
	}
	f.header = h
	if err := f.mapHead(); err != nil {
		return err
	}
	n := f.State().chunks.Load()
	if n > uint64(maxChunks(h.Layout)) || n > uint64((size-headerBytes)/h.Layout.chunkBytes()) {
		return fmt.Errorf("%w: it is said to have %d chunks, and its %d bytes hold %d", ErrCorrupt, n, size, (size-headerBytes)/h.Layout.chunkBytes())
	}
	f.loadSums(int(n), size)
	// A process died while it made a chunk. With checksums it is no such thing, and left for Verify to find.
	if end := h.Layout.chunkOffset(int(n)); size > end && f.sealed == nil && f.sealErr == nil {
		if err := f.file.Truncate(end); err != nil {
			return err
		}
	}
	chunks := newChunks(h.Layout)
	for i := range int(n) {
		m, err := f.file.Map(h.Layout.chunkOffset(i), h.Layout.chunkBytes())
		if err != nil {
			return fmt.Errorf("mapping chunk %d: %w", i, err)
		}
		f.maps = append(f.maps, m)
		chunks = chunks.with(m.Bytes())
	}
	f.chunks.Store(chunks)
	return nil
}

func maxChunks(l Layout) int { return math.MaxUint32 >> l.ChunkShift }

// Path is where the file was opened.
func (f *File) Path() string { return f.path }

// Header returns what the file says of itself.
func (f *File) Header() Header { return f.header }

// State returns the words in the header that change.
func (f *File) State() *State {
	return (*State)(unsafe.Pointer(&f.head.Bytes()[stateOffset]))
}

// Chunks returns the rows that are there now.
func (f *File) Chunks() *Chunks { return f.chunks.Load() }

// Grow makes room for rows rows in all, and for the slots of as many chunks: it allocates and maps whole chunks. New rows
// are all zero. It is called before anything is written, also where there is room: it removes the checksums, which that
// makes wrong, so that a process that dies before can be followed by one that verifies the file. After an error the file
// has the chunks that it had, or some of those asked for, and Grow can be called again: a full disk (syscall.ENOSPC) may
// have room by then.
func (f *File) Grow(rows uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hold(func() error {
		if f.stale {
			if err := removeIfThere(f.fs, SumsPath(f.path)); err != nil {
				return fmt.Errorf("growing columns %s: %w", f.path, err)
			}
			f.stale = false
		}
		l := f.header.Layout
		need := int((uint64(rows) + uint64(l.ChunkRows()) - 1) >> l.ChunkShift)
		if need > maxChunks(l) {
			return fmt.Errorf("growing columns %s to %d rows: %w", f.path, rows, ErrTooLarge)
		}
		for len(f.maps) < need {
			if err := vfs.Guard(f.addChunk); err != nil {
				return fmt.Errorf("growing columns %s to %d rows: %w", f.path, rows, err)
			}
		}
		return nil
	})
}

func (f *File) addChunk() error {
	l := f.header.Layout
	end := l.chunkOffset(len(f.maps))
	// What an attempt before this one left behind the end may be there still.
	if err := f.file.Allocate(end, l.chunkBytes()); err != nil {
		return errors.Join(fmt.Errorf("allocating %d bytes: %w", l.chunkBytes(), err), f.file.Truncate(end))
	}
	m, err := f.file.Map(end, l.chunkBytes())
	if err != nil {
		return errors.Join(fmt.Errorf("mapping %d bytes: %w", l.chunkBytes(), err), f.file.Truncate(end))
	}
	f.maps = append(f.maps, m)
	// Before anyone can write to the chunk: one that the header does not have is cut off by Open.
	f.State().chunks.Store(uint64(len(f.maps)))
	f.chunks.Store(f.chunks.Load().with(m.Bytes()))
	return nil
}

// mappings are all there are now, the header block first.
func (f *File) mappings() []vfs.Mapping {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]vfs.Mapping{f.head}, f.maps...)
}

// Sync makes durable what was written before the call. When it fails, some of that may be lost though it can still be
// read, so the error wraps ErrFailed, as does that of every later Sync and Seal: the file is to be dropped and built
// again, also by a later process of this boot.
func (f *File) Sync() error {
	return f.hold(func() error {
		if failed := f.failed.Load(); failed != nil {
			return *failed
		}
		for _, m := range f.mappings() {
			if err := m.Sync(0, len(m.Bytes())); err != nil {
				return f.fail(err)
			}
		}
		if err := f.file.Sync(); err != nil {
			return f.fail(err)
		}
		return nil
	})
}

// WriteBack asks the disk to write what has changed in the part of the file that is so many of so many equal ones, without
// waiting for it. Nobody needs that to be durable, and a Sync tells of what stands in its way; but what the kernel writes
// when it has become old, it writes at once.
func (f *File) WriteBack(part, parts int64) {
	if !f.Acquire() {
		return
	}
	defer f.Release()
	size, err := f.file.Size()
	if err != nil {
		return
	}
	from, to := size/parts*part, size/parts*(part+1)
	if part == parts-1 {
		to = size
	}
	f.file.WriteBack(from, to-from)
}

func (f *File) fail(err error) error {
	err = fmt.Errorf("syncing columns %s: %w: %w", f.path, ErrFailed, err)
	f.failed.CompareAndSwap(nil, &err)
	return err
}

// unmap is called when nobody has a reference any more, or nobody has had one.
func (f *File) unmap() error {
	var errs []error
	if f.head != nil {
		errs = append(errs, f.head.Unmap())
	}
	for _, m := range f.maps {
		errs = append(errs, m.Unmap())
	}
	return errors.Join(append(errs, f.file.Close())...)
}

// Remove removes a file that is not open, and its checksums. That it is not there is no error.
func Remove(fsys vfs.FS, path string) error {
	return errors.Join(removeIfThere(fsys, path), removeIfThere(fsys, SumsPath(path)))
}

func removeIfThere(fsys vfs.FS, path string) error {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// SumsPath is where Seal puts the checksums of the file at path.
func SumsPath(path string) string { return filepath.Clean(path) + ".sums" }
