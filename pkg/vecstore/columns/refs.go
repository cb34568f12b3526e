package columns

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// references counts who may use the mapped memory: the owner, and readers.
type references struct {
	// n is their number; closedBit is added when the owner's is gone.
	n    atomic.Int64
	done chan struct{} // closed when the memory is unmapped
	err  error         // of unmapping; set before done is closed
}

const closedBit = 1 << 62

// Acquire takes a reference, so that the memory stays mapped until Release. It returns false once the owner has called
// Close: the reader then looks again for the file that is current.
func (f *File) Acquire() bool {
	for {
		n := f.refs.n.Load()
		if n&closedBit != 0 {
			return false
		}
		if f.refs.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release gives a reference back. The last one, after Close, unmaps and closes the file; Wait has the error of that.
func (f *File) Release() {
	switch n := f.refs.n.Add(-1); {
	case n == closedBit:
		f.free()
	case n < 1 || n&closedBit == 0 && n > closedBit/2:
		panic("columns: Release without Acquire")
	}
}

// Close gives up the owner's reference. The file is unmapped and closed as soon as no reader has one either, which may be
// after Close has returned: Wait waits for it. Nothing is synced. The error is ErrClosed when it is not the first Close.
func (f *File) Close() error {
	for {
		n := f.refs.n.Load()
		if n&closedBit != 0 {
			return fmt.Errorf("closing %s: %w", f.path, ErrClosed)
		}
		if !f.refs.n.CompareAndSwap(n, n-1+closedBit) {
			continue
		}
		if n == 1 {
			f.free()
			return f.refs.err
		}
		return nil
	}
}

// Drop has the file, and the one with its checksums, removed from the disk when it is unmapped.
func (f *File) Drop() { f.dropped.Store(true) }

// Wait waits until the file has been unmapped, after Close, and returns what went wrong in that.
func (f *File) Wait() error {
	<-f.refs.done
	return f.refs.err
}

func (f *File) free() {
	err := f.unmap()
	if f.dropped.Load() {
		err = errors.Join(err, Remove(f.fs, f.path))
	}
	if err != nil {
		f.refs.err = fmt.Errorf("closing %s: %w", f.path, err)
	}
	close(f.refs.done)
}

// hold runs call with a reference.
func (f *File) hold(call func() error) error {
	if !f.Acquire() {
		return fmt.Errorf("%s: %w", f.path, ErrClosed)
	}
	defer f.Release()
	return call()
}
