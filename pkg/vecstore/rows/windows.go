package rows

import (
	"errors"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/engram-memory/engram/pkg/vector"
	"github.com/engram-memory/engram/pkg/vfs"
)

// Records that are read often are read from mapped memory, which takes a tenth of the time of a system call. A segment is
// mapped in windows, and only those that are read from often, up to a bound for all logs of the process: the memory of a
// large log is not all of the machine's.
const (
	windowBytes = 4 << 20 // a multiple of vfs.PageSize
	// windowReads is how many reads a window must have seen between two coolings to be mapped, where there is room for all;
	// where there is room for a part, the others are as many times more. So a log that is read everywhere alike, and has
	// hardly any of its records in what could be mapped, does not take memory for it.
	windowReads = 256
)

// Maps bounds how much is mapped of all logs that share it.
type Maps struct {
	window int64 // bytes of a window
	limit  int64
	bytes  atomic.Int64
	whole  atomic.Int64  // bytes of all windows that could be mapped
	now    atomic.Uint32 // the time of the last cooling, in coolingUnit
}

// coolingUnit is in what the time is counted of windows that are not used, and idleUnits for how many of them they stay beside
// the one that they were read in. That one began up to a unit before, and it takes until the next cooling: where there is one
// every few seconds, a window stays for half a minute, and not for more than one.
const (
	coolingUnit = 10 * time.Second
	idleUnits   = 4
)

// NewMaps allows so many bytes.
func NewMaps(limit int64) *Maps {
	m := &Maps{window: windowBytes, limit: limit}
	m.tell(time.Now())
	return m
}

func (m *Maps) tell(now time.Time) { m.now.Store(uint32(now.Unix() / int64(coolingUnit/time.Second))) }

// Bytes is how much is mapped.
func (m *Maps) Bytes() int64 { return m.bytes.Load() }

func (m *Maps) take() bool {
	if m.bytes.Add(m.window) <= m.limit {
		return true
	}
	m.bytes.Add(-m.window)
	return false
}

func (m *Maps) give() { m.bytes.Add(-m.window) }

// reads is how many a window must have seen to be mapped.
func (m *Maps) reads() uint32 {
	return windowReads * uint32(max(1, m.whole.Load()/max(m.limit, m.window)))
}

// windows are those of a segment.
type windows struct {
	maps *Maps
	// complete is how many there are that will not be written to any more.
	complete atomic.Uint32
	all      []window
}

type window struct {
	mapped atomic.Pointer[mapped]
	reads  atomic.Uint32 // while it is not mapped
}

// mapped is the memory of a window, in use while it has holds; the window has one.
type mapped struct {
	vfs.Mapping
	start unsafe.Pointer // of its bytes, for hints alone: it stays when they have gone
	holds
	used atomic.Uint32 // when it was read last
}

// newWindows returns those of a segment; nil, of which nothing is mapped, without a Maps.
func newWindows(m *Maps) *windows {
	if m == nil {
		return nil
	}
	return &windows{maps: m, all: make([]window, MaxSegment/m.window)}
}

// grown tells how long the segment is, which only grows.
func (w *windows) grown(length int64) {
	if w == nil {
		return
	}
	n := uint32(min(length/w.maps.window, int64(len(w.all))))
	if before := w.complete.Load(); n > before {
		w.complete.Store(n)
		w.maps.whole.Add(int64(n-before) * w.maps.window)
	}
}

// hold returns n bytes at an offset of mapped memory, if they are in a window that is mapped, or is to be now. The caller
// releases it, if it is not nil.
func (w *windows) hold(seg vfs.File, n int, offset int64) (*mapped, []byte) {
	if w == nil {
		return nil, nil
	}
	i, at := offset/w.maps.window, offset%w.maps.window
	if i >= int64(w.complete.Load()) || at+int64(n) > w.maps.window {
		return nil, nil
	}
	win := &w.all[i]
	m := win.mapped.Load()
	if m == nil {
		if m = w.enter(win, seg, i); m == nil {
			return nil, nil
		}
	}
	if !m.hold() {
		return nil, nil
	}
	if now := w.maps.now.Load(); m.used.Load() != now {
		m.used.Store(now)
	}
	return m, m.Bytes()[at:][:n:n]
}

// read copies what is at an offset from mapped memory, if it is there.
func (w *windows) read(seg vfs.File, b []byte, offset int64) bool {
	m, in := w.hold(seg, len(b), offset)
	if m == nil {
		return false
	}
	defer m.release(w.maps)
	// Where the memory cannot be read, reading the file says why.
	return vfs.Guard(func() error { copy(b, in); return nil }) == nil
}

// prefetch has what is at an offset brought to the cache, if it is mapped.
func (w *windows) prefetch(n int, offset int64) {
	if w == nil || offset/w.maps.window >= int64(w.complete.Load()) {
		return
	}
	// The memory may go meanwhile, which is no harm to a hint.
	if m := w.all[offset/w.maps.window].mapped.Load(); m != nil {
		at := offset % w.maps.window
		vector.PrefetchAll(unsafe.Add(m.start, at), min(n, int(w.maps.window-at)))
	}
}

// enter counts a read of a window that is not mapped, and maps it if there were enough of them and there is room.
func (w *windows) enter(win *window, seg vfs.File, i int64) *mapped {
	if n := win.reads.Add(1); n%windowReads != 0 || n < w.maps.reads() || !w.maps.take() {
		return nil
	}
	mapping, err := seg.Map(i*w.maps.window, w.maps.window)
	if err != nil {
		w.maps.give()
		return nil
	}
	m := &mapped{Mapping: mapping, start: unsafe.Pointer(unsafe.SliceData(mapping.Bytes()))}
	m.begin()
	m.used.Store(w.maps.now.Load())
	if !win.mapped.CompareAndSwap(nil, m) {
		// Counting began anew meanwhile, and another read mapped it too.
		_ = m.release(w.maps)
		return nil
	}
	return m
}

// cool lets go of windows that have not been used for long, and begins to count the reads of the others anew.
func (w *windows) cool() (err error) {
	if w == nil {
		return nil
	}
	now := w.maps.now.Load()
	for i := range w.all[:w.complete.Load()] {
		win := &w.all[i]
		m := win.mapped.Load()
		switch {
		case m == nil:
			win.reads.Store(0)
		case now-m.used.Load() > idleUnits && win.mapped.CompareAndSwap(m, nil):
			win.reads.Store(0)
			err = errors.Join(err, m.release(w.maps))
		}
	}
	return err
}

// close lets go of all windows. Nobody reads any more.
func (w *windows) close() (err error) {
	if w == nil {
		return nil
	}
	w.maps.whole.Add(-int64(w.complete.Load()) * w.maps.window)
	for i := range w.all {
		if m := w.all[i].mapped.Swap(nil); m != nil {
			err = errors.Join(err, m.release(w.maps))
		}
	}
	return err
}

func (m *mapped) release(maps *Maps) error {
	if !m.end() {
		return nil
	}
	maps.give()
	return m.Unmap()
}

// Cool lets go of what is mapped and has not been read for half a minute to a minute. It is called every few seconds: nothing
// else is known of the time.
func (l *Log) Cool(now time.Time) (err error) {
	t := l.files.Load()
	if t == nil || l.opt.Maps == nil {
		return nil
	}
	l.opt.Maps.tell(now)
	for _, f := range t.byID {
		if f.hold() {
			err = errors.Join(err, f.windows.cool(), f.release())
		}
	}
	return err
}
