package vfs

import (
	"io/fs"
	"sync/atomic"
	"syscall"
)

// memFile is an open file of a Mem.
type memFile struct {
	name   string
	data   *memData
	closed atomic.Bool
}

func (f *memFile) Name() string { return f.name }

func (f *memFile) do(op string, call func() error) error {
	err := error(fs.ErrClosed)
	if !f.closed.Load() {
		err = call()
	}
	if err != nil {
		return pathError(op, f.name, err)
	}
	return nil
}

func (f *memFile) ReadAt(b []byte, offset int64) (n int, err error) {
	if f.closed.Load() {
		return 0, pathError("read", f.name, fs.ErrClosed)
	}
	return f.data.readAt(b, offset) // io.EOF is not wrapped
}

func (f *memFile) WriteAt(b []byte, offset int64) (n int, err error) {
	err = f.do("write", func() (err error) { n, err = f.data.writeAt(b, offset); return err })
	return n, err
}

func (f *memFile) Size() (size int64, err error) {
	err = f.do("stat", func() error { size = f.data.length(); return nil })
	return size, err
}

func (f *memFile) Truncate(size int64) error {
	return f.do("truncate", func() error { return f.data.truncate(size) })
}

func (f *memFile) WriteBack(int64, int64) {}

func (f *memFile) Allocate(offset, length int64) error {
	return f.do("allocate", func() error { return f.data.allocate(offset, length) })
}

func (f *memFile) Sync() error {
	return f.do("sync", func() error { f.data.syncAll(); return nil })
}

func (f *memFile) loseUnsynced() { f.data.loseUnsynced(0, f.data.length()) }

func (f *memFile) Map(offset, length int64) (m Mapping, err error) {
	err = f.do("map", func() error {
		b, err := f.data.mapRange(offset, length)
		m = &memMapping{name: f.name, data: f.data, offset: offset, bytes: b}
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (f *memFile) Close() error {
	if f.closed.Swap(true) {
		return pathError("close", f.name, fs.ErrClosed)
	}
	return nil
}

// memMapping is the memory of a part of a file.
type memMapping struct {
	name   string
	data   *memData
	offset int64
	bytes  []byte
}

func (m *memMapping) Bytes() []byte { return m.bytes }

func (m *memMapping) Sync(offset, length int) error {
	if offset < 0 || length < 0 || offset > len(m.bytes) || length > len(m.bytes)-offset {
		return pathError("msync", m.name, syscall.EINVAL)
	}
	if length > 0 {
		m.data.sync(m.offset+int64(offset), int64(length))
	}
	return nil
}

func (m *memMapping) loseUnsynced(offset, length int) {
	m.data.loseUnsynced(m.offset+int64(offset), int64(length))
}

func (m *memMapping) Unmap() error {
	if m.bytes == nil {
		return pathError("unmap", m.name, fs.ErrClosed)
	}
	m.data.unmapRange(m.offset, int64(len(m.bytes)))
	m.bytes = nil
	return nil
}
