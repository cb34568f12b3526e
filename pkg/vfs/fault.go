package vfs

import (
	"path/filepath"
	"sync"
)

// Op is a set of kinds of calls.
type Op uint32

// The kinds of calls that a [Fault] counts and fails.
const (
	OpOpen Op = 1 << iota
	OpCreate
	OpRemove
	OpRename
	OpSyncDir
	OpRead
	OpWrite
	OpTruncate
	OpSync
	OpAllocate
	OpMap
	OpMsync

	// OpChanges are those that can change what is on the disk, or decide what is durable.
	OpChanges = OpCreate | OpRemove | OpRename | OpSyncDir | OpWrite | OpTruncate | OpSync | OpAllocate | OpMsync
	OpAll     = OpMsync<<1 - 1
)

// Rule says which calls of a [Fault] go wrong, and how.
type Rule struct {
	Ops Op
	// Match is a pattern of filepath.Match for the last element of the name, of either name in a rename; of the
	// directory in a SyncDir. Empty is every name.
	Match string
	// N is which of the matching calls it is, the first one after Inject being 1. Less than 1 means 1.
	N int
	// Onwards has all matching calls go wrong from the Nth on.
	Onwards bool
	// Err is what the call returns, wrapped. When it is nil, the call is carried out.
	Err error
	// Short has a write, or an allocation, that fails do the first half of its work.
	Short bool
	// Before is called before the call is carried out or fails. It may use the file system beneath.
	Before func()
}

// Fault passes calls on to another file system, counts them, and fails those that it is told to. When a sync fails on a
// [Mem], what was not synced yet is lost to later syncs too.
type Fault struct {
	under FS

	mu     sync.Mutex
	counts map[Op]int
	rules  []*injected
	hits   int
}

type injected struct {
	Rule
	seen int
}

// NewFault wraps a file system. Without rules it changes nothing.
func NewFault(under FS) *Fault { return &Fault{under: under, counts: map[Op]int{}} }

// Inject adds a rule. When several match a call, the error is that of the first one that has one.
func (f *Fault) Inject(r Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.N = max(r.N, 1)
	f.rules = append(f.rules, &injected{Rule: r})
}

// Clear removes all rules. The counts stay.
func (f *Fault) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Count returns how many calls of these kinds there were, those that failed included.
func (f *Fault) Count(ops Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for op, count := range f.counts {
		if op&ops != 0 {
			n += count
		}
	}
	return n
}

// Hits returns how many calls a rule was applied to.
func (f *Fault) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// check counts a call and returns the error that it is to fail with, and whether half of it is to be done before.
func (f *Fault) check(op Op, names ...string) (short bool, err error) {
	var before []func()
	f.mu.Lock()
	f.counts[op]++
	hit := false
	for _, r := range f.rules {
		if r.Ops&op == 0 || !r.matches(names) {
			continue
		}
		r.seen++
		if r.seen != r.N && !(r.Onwards && r.seen > r.N) {
			continue
		}
		hit = true
		if r.Before != nil {
			before = append(before, r.Before)
		}
		if err == nil && r.Err != nil {
			short, err = r.Short, pathError("injected", names[0], r.Err)
		}
	}
	if hit {
		f.hits++
	}
	f.mu.Unlock()
	for _, call := range before {
		call()
	}
	return short, err
}

func (r *injected) matches(names []string) bool {
	if r.Match == "" {
		return true
	}
	for _, name := range names {
		if ok, err := filepath.Match(r.Match, filepath.Base(name)); ok && err == nil {
			return true
		}
	}
	return false
}
