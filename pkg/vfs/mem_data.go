package vfs

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"syscall"
)

// memBlock is the page of a kernel: what a sync writes, or fails to write, as a whole.
const memBlock = 4 << 10

// memData is the content of a file. Its pages stay where they are for as long as they are mapped, so a mapping is the
// memory of the file itself.
type memData struct {
	mu         sync.RWMutex
	size       int64
	syncedSize int64
	pages      []memPage
}

// memPage is PageSize bytes of a file. Slices that are nil stand for zeros.
type memPage struct {
	// data is what the file holds. Where several pages were mapped at once they are one piece of memory, and the
	// capacity of each reaches to the end of it.
	data   []byte
	synced []byte // what was last synced
	lost   []byte // what it held when a sync failed, for the blocks of lostSet
	// lostSet has a bit for each block that a sync failed to write. The kernel takes such a block for written, so
	// later syncs leave it alone until it is written to.
	lostSet uint16
	mapped  int  // mappings that cover it
	dirty   bool // it may differ from synced
}

// The bytes of a mapping change without any lock, as they do under a kernel that writes them to the disk meanwhile. So
// the functions that touch them are hidden from the race detector; what their users do to them is not. They go word by
// word because the detector sees into copy and comparisons all the same.

//go:norace
func copyUnraced(dst, src []byte) int {
	n, i := min(len(dst), len(src)), 0
	for ; i+8 <= n; i += 8 {
		binary.NativeEndian.PutUint64(dst[i:], binary.NativeEndian.Uint64(src[i:]))
	}
	for ; i < n; i++ {
		dst[i] = src[i]
	}
	return n
}

//go:norace
func clearUnraced(b []byte) { clear(b) }

//go:norace
func equalUnraced(a, b []byte) bool {
	i := 0
	for ; i+8 <= len(a); i += 8 {
		if binary.NativeEndian.Uint64(a[i:]) != binary.NativeEndian.Uint64(b[i:]) {
			return false
		}
	}
	for ; i < len(a); i++ {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// zeroBlock is only read.
var zeroBlock [memBlock]byte

// block is a part of what may be nil for zeros, to be read.
func block(page []byte, at, n int) []byte {
	if page == nil {
		return zeroBlock[:n]
	}
	return page[at : at+n]
}

func (d *memData) length() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.size
}

func (d *memData) readAt(b []byte, offset int64) (int, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if offset < 0 {
		return 0, syscall.EINVAL
	}
	n := 0
	for n < len(b) && offset+int64(n) < d.size {
		at := offset + int64(n)
		part := b[n:min(int64(len(b)), int64(n)+d.size-at, int64(n)+PageSize-at%PageSize)]
		if i := int(at / PageSize); i < len(d.pages) && d.pages[i].data != nil {
			copyUnraced(part, d.pages[i].data[at%PageSize:])
		} else {
			clear(part)
		}
		n += len(part)
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (d *memData) grow(size int64) {
	d.size = max(d.size, size)
	for int64(len(d.pages))*PageSize < size {
		d.pages = append(d.pages, memPage{})
	}
}

func (d *memData) writeAt(b []byte, offset int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if offset < 0 {
		return 0, syscall.EINVAL
	}
	if len(b) == 0 {
		return 0, nil
	}
	d.grow(offset + int64(len(b)))
	for n := 0; n < len(b); {
		at := offset + int64(n)
		p := &d.pages[at/PageSize]
		if p.data == nil {
			p.data = make([]byte, PageSize)
		}
		from := int(at % PageSize)
		k := copyUnraced(p.data[from:PageSize], b[n:])
		p.written(from, k)
		n += k
	}
	return len(b), nil
}

func (p *memPage) written(from, n int) {
	p.dirty = true
	for b := from / memBlock; b*memBlock < from+n; b++ {
		p.lostSet &^= 1 << b
	}
}

func (d *memData) truncate(size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if size < 0 {
		return syscall.EINVAL
	}
	for i := range d.pages {
		p := &d.pages[i]
		keep := int(min(max(size-int64(i)*PageSize, 0), PageSize))
		if keep == PageSize || p.data == nil {
			continue
		}
		clearUnraced(p.data[keep:PageSize])
		p.written(keep, PageSize-keep)
	}
	d.size = size
	return nil
}

func (d *memData) allocate(offset, length int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if offset < 0 || length <= 0 {
		return syscall.EINVAL
	}
	d.grow(offset + length)
	return nil
}

// blocks calls visit for each block of the range, which it is free to make longer.
func (d *memData) blocks(offset, length int64, visit func(p *memPage, at int)) {
	for at := offset &^ (memBlock - 1); at < offset+length && at < int64(len(d.pages))*PageSize; at += memBlock {
		p := &d.pages[at/PageSize]
		if p.dirty || p.mapped > 0 {
			visit(p, int(at%PageSize))
		}
	}
}

// sync makes a range durable, and the size as far as it takes to find the range again.
func (d *memData) sync(offset, length int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blocks(offset, length, (*memPage).syncBlock)
	d.syncedSize = max(d.syncedSize, min(d.size, offset+length))
}

func (d *memData) syncAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blocks(0, int64(len(d.pages))*PageSize, (*memPage).syncBlock)
	for i := range d.pages {
		d.pages[i].dirty = d.pages[i].mapped > 0 || d.pages[i].lostSet != 0
	}
	d.syncedSize = d.size
}

func (p *memPage) syncBlock(at int) {
	now, bit := block(p.data, at, memBlock), uint16(1)<<(at/memBlock)
	if p.lostSet&bit != 0 {
		if equalUnraced(now, p.lost[at:at+memBlock]) {
			return
		}
		p.lostSet &^= bit
	}
	if equalUnraced(now, block(p.synced, at, memBlock)) {
		return
	}
	if p.synced == nil {
		p.synced = make([]byte, PageSize)
	}
	copyUnraced(p.synced[at:], now)
}

// loseUnsynced is a sync that fails: nothing of the range that is not durable yet will be made so by a later one,
// except for blocks that are written to again. (Of writes through a mapping, those that change a block.)
func (d *memData) loseUnsynced(offset, length int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blocks(offset, length, func(p *memPage, at int) {
		now := block(p.data, at, memBlock)
		if equalUnraced(now, block(p.synced, at, memBlock)) {
			return
		}
		if p.lost == nil {
			p.lost = make([]byte, PageSize)
		}
		p.lostSet |= 1 << (at / memBlock)
		copyUnraced(p.lost[at:], now)
	})
}

// mapRange returns the memory of a range, after moving it into one piece if it is not.
func (d *memData) mapRange(offset, length int64) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := checkMap(offset, length, d.size); err != nil {
		return nil, err
	}
	d.grow(offset + length)
	pages := d.pages[offset/PageSize : (offset+length+PageSize-1)/PageSize]
	if !onePiece(pages) {
		for i := range pages {
			if pages[i].mapped > 0 {
				return nil, fmt.Errorf("a part of it is mapped in another way, which this file system cannot do: %w", syscall.ENOTSUP)
			}
		}
		whole := make([]byte, len(pages)*PageSize)
		for i := range pages {
			copy(whole[i*PageSize:], pages[i].data[:min(len(pages[i].data), PageSize)])
			pages[i].data = whole[i*PageSize : (i+1)*PageSize]
		}
	}
	for i := range pages {
		pages[i].mapped++
		pages[i].dirty = true
	}
	return pages[0].data[:length:length], nil
}

func onePiece(pages []memPage) bool {
	whole := pages[0].data[:cap(pages[0].data)]
	if len(whole) < len(pages)*PageSize {
		return false
	}
	for i := range pages {
		if len(pages[i].data) == 0 || &pages[i].data[0] != &whole[i*PageSize] {
			return false
		}
	}
	return true
}

func (d *memData) unmapRange(offset, length int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := offset / PageSize; i*PageSize < offset+length; i++ {
		d.pages[i].mapped--
	}
}
