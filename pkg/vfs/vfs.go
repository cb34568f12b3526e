// Package vfs is what the store needs of a file system: files that are read and written at offsets, synced, allocated
// and mapped. OS is the real one; Mem keeps everything in memory and makes copies of itself as a crash leaves it; Fault
// fails chosen calls of another one.
//
// # What is durable
//
// Bytes written with WriteAt, or through a Mapping, survive the death of the process; File.Sync and Mapping.Sync make
// those that were written before the call survive the loss of power. Names (of files made, renamed, removed) do so after
// FS.SyncDir of their directory. A failed Sync says that what it covered may be lost: a later one that succeeds does not
// bring it back.
package vfs

import (
	"io"
	"io/fs"
)

// FS is a file system. Its methods may be called concurrently; names are paths as package filepath has them. Errors
// wrap those of package os: fs.ErrNotExist, fs.ErrExist, syscall.ENOSPC, syscall.EIO.
type FS interface {
	// Open opens a file for reading and writing.
	Open(name string) (File, error)
	// Create makes a file that is not there yet, for reading and writing, and fails with fs.ErrExist when it is.
	Create(name string) (File, error)
	Remove(name string) error
	// Rename replaces newName if it is there.
	Rename(oldName, newName string) error
	MkdirAll(dir string) error
	// List returns the names in a directory, sorted.
	List(dir string) ([]string, error)
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// Identity returns what tells this directory of this running system from any other: it changes when the system is
	// booted, and when the directory is copied or restored. Files whose last writer saw the same Identity hold
	// everything that it wrote, synced or not.
	Identity(dir string) (string, error)
}

// File is an open file. Its methods may be called concurrently, Close after all others.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Name() string
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error
	// WriteBack asks for length bytes from offset to be written to the disk, and does not wait for that, but for room in the queue of
	// the disk: a later Sync finds less left to write. It is a hint, and nothing where the system has no such call.
	WriteBack(offset, length int64)
	// Allocate makes sure that length bytes from offset are on the disk, and extends the file over them with zeros where
	// it is shorter: a full disk is an error here, and not a fault in a mapping.
	Allocate(offset, length int64) error
	// Map maps length bytes from offset, a multiple of the page size (PageSize), for reading and writing, shared with the
	// file. They must be within the file. The mapping outlives the file's Close.
	Map(offset, length int64) (Mapping, error)
}

// PageSize is what offsets of mappings are multiples of, whatever the page size of the machine, up to 64 KiB.
const PageSize = 64 << 10

// Mapping is a part of a file in memory.
type Mapping interface {
	// Bytes is the memory, valid until Unmap. Touching it afterwards is a fault that nothing recovers from.
	Bytes() []byte
	// Sync makes length bytes from offset durable.
	Sync(offset, length int) error
	// Unmap ends the mapping. Nothing may use Bytes any more.
	Unmap() error
}
