package metrics

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/puzpuzpuz/xsync/v4"
)

// BoundedLabel gives each value of a label its handle H (a struct of counters),
// for values that somebody else chooses, such as the names of spaces. The first
// values get a handle of their own; when their number has reached the bound, the
// rest share the handle of the value [Other]. It is safe for concurrent use.
type BoundedLabel[H any] struct {
	handles *xsync.Map[string, H]
	other   H
	create  func(value string) H
	bound   int

	mu   sync.Mutex  // held while a handle is made
	used int         // handles made; guarded by mu
	full atomic.Bool // used has reached bound, and nothing will be added
}

// NewBoundedLabel returns a label with at most bound values besides [Other]; with
// a bound of 0 or less, Other is all there is. newHandle is called once for each
// of them, never concurrently; Other is the first.
func NewBoundedLabel[H any](bound int, newHandle func(value string) H) *BoundedLabel[H] {
	l := &BoundedLabel[H]{handles: xsync.NewMap[string, H](), other: newHandle(Other), create: newHandle, bound: bound}
	// A value that is called "other" shares the series, and takes no room.
	l.handles.Store(Other, l.other)
	l.full.Store(bound <= 0)
	return l
}

// Get returns the handle of the value. It is a lock-free look-up in a map, without
// allocation, except when it makes a handle. value is copied if it is kept.
func (l *BoundedLabel[H]) Get(value string) H {
	// full is read first: once it is set the map is final, and a miss is certain.
	full := l.full.Load()
	if h, ok := l.handles.Load(value); ok {
		return h
	}
	if full {
		return l.other
	}
	return l.add(value)
}

func (l *BoundedLabel[H]) add(value string) H {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h, ok := l.handles.Load(value); ok {
		return h
	}
	if l.full.Load() { // since Get looked
		return l.other
	}
	l.used++
	value = strings.Clone(value)
	h := l.create(value)
	l.handles.Store(value, h)
	l.full.Store(l.used == l.bound)
	return h
}
