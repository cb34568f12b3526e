package vfs

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is a file system in memory, for tests: it knows what has been synced, and makes copies of itself as the death of
// the process ([Mem.Kill]) or a loss of power ([Mem.LosePower]) would leave it. Relative names begin at its root.
type Mem struct {
	boot uint64

	mu     sync.Mutex // over everything below, and the names in directories
	inodes uint64
	root   *memNode
	// pending are the changes of names that no SyncDir has made durable, in order.
	pending []nameChange
}

// memNode is a directory or a file.
type memNode struct {
	inode   uint64
	names   map[string]*memNode // of a directory
	durable map[string]*memNode // the names that the last SyncDir covered
	data    *memData            // of a file
}

// nameChange is what one call did to names: all of it happens or nothing.
type nameChange struct {
	node *memNode // that was made, renamed or removed
	sets []nameSet
}

type nameSet struct {
	dir  *memNode
	name string
	to   *memNode // nil where the name went
}

// NewMem makes an empty file system. Nothing has to be closed for its memory to be free again.
func NewMem() *Mem {
	m := &Mem{boot: rand.Uint64()}
	m.root = m.newDir()
	return m
}

func (m *Mem) newNode() *memNode {
	m.inodes++
	return &memNode{inode: m.inodes}
}

func (m *Mem) newDir() *memNode {
	n := m.newNode()
	n.names, n.durable = map[string]*memNode{}, map[string]*memNode{}
	return n
}

func (n *memNode) isDir() bool { return n.names != nil }

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// elements are the names on the way from the root.
func elements(name string) []string {
	return strings.FieldsFunc(filepath.Clean(name), func(r rune) bool { return r == filepath.Separator })
}

func (m *Mem) lookup(name string) (*memNode, error) {
	n := m.root
	for _, e := range elements(name) {
		if e == "." {
			continue
		}
		if !n.isDir() {
			return nil, syscall.ENOTDIR
		}
		if n = n.names[e]; n == nil {
			return nil, syscall.ENOENT
		}
	}
	return n, nil
}

// parent returns the directory that name is in, or would be.
func (m *Mem) parent(name string) (dir *memNode, base string, err error) {
	dir, err = m.lookup(filepath.Dir(filepath.Clean(name)))
	if err == nil && !dir.isDir() {
		err = syscall.ENOTDIR
	}
	return dir, filepath.Base(name), err
}

func (m *Mem) change(node *memNode, sets ...nameSet) {
	for _, s := range sets {
		s.apply(s.dir.names)
	}
	m.pending = append(m.pending, nameChange{node, sets})
}

func (s nameSet) apply(names map[string]*memNode) {
	if s.to == nil {
		delete(names, s.name)
	} else {
		names[s.name] = s.to
	}
}

// Open implements [FS].
func (m *Mem) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookup(name)
	if err == nil && n.isDir() {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return &memFile{name: name, data: n.data}, nil
}

// Create implements [FS].
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parent(name)
	if err == nil && dir.names[base] != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return nil, pathError("create", name, err)
	}
	n := m.newNode()
	n.data = &memData{}
	m.change(n, nameSet{dir, base, n})
	return &memFile{name: name, data: n.data}, nil
}

// Remove implements [FS]. Files that are open stay usable.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parent(name)
	if err != nil {
		return pathError("remove", name, err)
	}
	n := dir.names[base]
	switch {
	case n == nil:
		return pathError("remove", name, syscall.ENOENT)
	case len(n.names) > 0:
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	m.change(n, nameSet{dir, base, nil})
	return nil
}

// Rename implements [FS].
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, oldBase, err := m.parent(oldName)
	if err == nil && from.names[oldBase] == nil {
		err = syscall.ENOENT
	}
	if err != nil {
		return pathError("rename", oldName, err)
	}
	n := from.names[oldBase]
	to, newBase, err := m.parent(newName)
	if err == nil {
		switch there := to.names[newBase]; {
		case there == n:
			return nil
		case there == nil:
		case there.isDir() && !n.isDir():
			err = syscall.EISDIR
		case !there.isDir() && n.isDir():
			err = syscall.ENOTDIR
		case len(there.names) > 0:
			err = syscall.ENOTEMPTY
		}
	}
	if err != nil {
		return pathError("rename", newName, err)
	}
	m.change(n, nameSet{from, oldBase, nil}, nameSet{to, newBase, n})
	return nil
}

// MkdirAll implements [FS]. Each directory that it makes is a name that a SyncDir of the one above it makes durable.
func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.root
	for _, e := range elements(dir) {
		if e == "." {
			continue
		}
		next := n.names[e]
		if next == nil {
			next = m.newDir()
			m.change(next, nameSet{n, e, next})
		}
		if n = next; !n.isDir() {
			return pathError("mkdir", dir, syscall.ENOTDIR)
		}
	}
	return nil
}

// List implements [FS].
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.directory(dir)
	if err != nil {
		return nil, pathError("list", dir, err)
	}
	return slices.Sorted(maps.Keys(n.names)), nil
}

func (m *Mem) directory(name string) (*memNode, error) {
	n, err := m.lookup(name)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	return n, err
}

// SyncDir implements [FS].
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.directory(dir)
	if err != nil {
		return pathError("sync", dir, err)
	}
	n.durable = maps.Clone(n.names)
	var rest []nameChange
	for _, c := range m.pending {
		var sets []nameSet
		for _, s := range c.sets {
			if s.dir != n {
				sets = append(sets, s)
			}
		}
		if len(sets) > 0 {
			rest = append(rest, nameChange{c.node, sets})
		}
	}
	m.pending = rest
	return nil
}

// Identity implements [FS].
func (m *Mem) Identity(dir string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.directory(dir)
	if err != nil {
		return "", pathError("stat", dir, err)
	}
	return fmt.Sprintf("memory-%016x:%x", m.boot, n.inode), nil
}

// Stat implements [FS]. Times are zero.
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookup(name)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	info := memInfo{name: filepath.Base(name), mode: fs.ModeDir | 0o755}
	if !n.isDir() {
		info.size, info.mode = n.data.length(), 0o644
	}
	return info, nil
}

type memInfo struct {
	name string
	size int64
	mode fs.FileMode
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return i.mode }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memInfo) Sys() any           { return nil }
