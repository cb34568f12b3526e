package vfs

import "io/fs"

// Open implements [FS].
func (f *Fault) Open(name string) (File, error) {
	return f.open(OpOpen, name, f.under.Open)
}

// Create implements [FS].
func (f *Fault) Create(name string) (File, error) {
	return f.open(OpCreate, name, f.under.Create)
}

func (f *Fault) open(op Op, name string, call func(string) (File, error)) (File, error) {
	if _, err := f.check(op, name); err != nil {
		return nil, err
	}
	file, err := call(name)
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, fault: f}, nil
}

// Remove implements [FS].
func (f *Fault) Remove(name string) error {
	if _, err := f.check(OpRemove, name); err != nil {
		return err
	}
	return f.under.Remove(name)
}

// Rename implements [FS].
func (f *Fault) Rename(oldName, newName string) error {
	if _, err := f.check(OpRename, oldName, newName); err != nil {
		return err
	}
	return f.under.Rename(oldName, newName)
}

// SyncDir implements [FS].
func (f *Fault) SyncDir(dir string) error {
	if _, err := f.check(OpSyncDir, dir); err != nil {
		return err
	}
	return f.under.SyncDir(dir)
}

// MkdirAll implements [FS]. It is never failed.
func (f *Fault) MkdirAll(dir string) error { return f.under.MkdirAll(dir) }

// List implements [FS]. It is never failed.
func (f *Fault) List(dir string) ([]string, error) { return f.under.List(dir) }

// Stat implements [FS]. It is never failed.
func (f *Fault) Stat(name string) (fs.FileInfo, error) { return f.under.Stat(name) }

// Identity implements [FS]. It is never failed.
func (f *Fault) Identity(dir string) (string, error) { return f.under.Identity(dir) }

type faultFile struct {
	File
	fault *Fault
}

func (f *faultFile) ReadAt(b []byte, offset int64) (int, error) {
	if _, err := f.fault.check(OpRead, f.Name()); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, offset)
}

func (f *faultFile) WriteAt(b []byte, offset int64) (int, error) {
	short, err := f.fault.check(OpWrite, f.Name())
	if err == nil {
		return f.File.WriteAt(b, offset)
	}
	n := 0
	if short {
		n, _ = f.File.WriteAt(b[:len(b)/2], offset) // the error that was asked for is returned
	}
	return n, err
}

func (f *faultFile) Truncate(size int64) error {
	if _, err := f.fault.check(OpTruncate, f.Name()); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultFile) Sync() error {
	if _, err := f.fault.check(OpSync, f.Name()); err != nil {
		if m, ok := f.File.(*memFile); ok {
			m.loseUnsynced()
		}
		return err
	}
	return f.File.Sync()
}

func (f *faultFile) Allocate(offset, length int64) error {
	short, err := f.fault.check(OpAllocate, f.Name())
	if err == nil {
		return f.File.Allocate(offset, length)
	}
	if short && length > 1 {
		_ = f.File.Allocate(offset, length/2) // the error that was asked for is returned
	}
	return err
}

func (f *faultFile) Map(offset, length int64) (Mapping, error) {
	if _, err := f.fault.check(OpMap, f.Name()); err != nil {
		return nil, err
	}
	m, err := f.File.Map(offset, length)
	if err != nil {
		return nil, err
	}
	return &faultMapping{Mapping: m, name: f.Name(), fault: f.fault}, nil
}

type faultMapping struct {
	Mapping
	name  string
	fault *Fault
}

func (m *faultMapping) Sync(offset, length int) error {
	if _, err := m.fault.check(OpMsync, m.name); err != nil {
		if mem, ok := m.Mapping.(*memMapping); ok {
			mem.loseUnsynced(offset, length)
		}
		return err
	}
	return m.Mapping.Sync(offset, length)
}
