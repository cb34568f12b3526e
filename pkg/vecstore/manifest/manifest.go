// Package manifest keeps the one small file that says what a shard's directory holds: which segments of the row log, in
// which order, and which column files, and whether the shard was closed or is in use. It is replaced as a whole: a new one
// is written beside it, synced, renamed over it, and the directory synced.
package manifest

import (
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

// Name is the name of the file in a shard's directory.
const Name = "MANIFEST"

// State tells whether the shard is in use.
type State uint8

// The states. The numbers are those on disk.
const (
	// Clean: it was closed, and everything in the files named was made durable before.
	Clean State = 1
	// Open: it is in use, or its process was killed or lost power. Identity tells which.
	Open State = 2
	// Failed: an fsync of the row log failed, so that it is to be opened as rows.Distrusted.
	Failed State = 3
)

func (s State) String() string {
	switch s {
	case Clean:
		return "clean"
	case Open:
		return "open"
	case Failed:
		return "failed"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Manifest is the content of the file.
type Manifest struct {
	// Source is the incarnation of the stream that the shard is a view of.
	Source rows.Source
	// HashKey is the key of the hash of ids, drawn when the directory was made.
	HashKey rows.HashKey
	State   State
	// Identity is that of the directory (vfs.FS.Identity) when it was opened.
	Identity string
	// Segments of the row log, in the order of their records, and the id of the next one.
	Segments []rows.Segment
	NextID   uint32
	// Columns has at most one element for each space.
	Columns []Columns
	// Horizons has at most one element for each space.
	Horizons []Horizon
	// GivenUp are the rows that could not be applied, whose records are in the row log all the same. Each stands there once.
	GivenUp []Row
}

// Row names a row of a space.
type Row struct {
	// Space is its number in the row log.
	Space uint32
	// Sequence is that of its record.
	Sequence uint64
}

// Columns names the column file of a generation of a large space.
type Columns struct {
	// Space is its number in the row log.
	Space uint32
	// Generation counts the column files of the space.
	Generation uint32
	// File is the name of the file in the shard's directory.
	File string
	// Rows is how many rows it had when the shard was closed cleanly.
	Rows uint32
}

// Horizon says from where on the past of a space can be read.
type Horizon struct {
	// Space is its number in the row log.
	Space uint32
	// Sequence is the lowest position that can be read; those below it are gone.
	Sequence uint64
}

// New returns the manifest of an empty shard, with a hash key drawn at random. It is Open, and has no Identity yet.
func New(src rows.Source) *Manifest {
	m := &Manifest{Source: src, State: Open, NextID: 1}
	rand.Read(m.HashKey[:]) // never fails
	return m
}

// CheckSource returns rows.ErrSource when the directory is a view of another stream than src.
func (m *Manifest) CheckSource(src rows.Source) error {
	if m.Source != src {
		return fmt.Errorf("%w: it was filled from %v, not from %v", rows.ErrSource, m.Source, src)
	}
	return nil
}

// check returns what is wrong with the content.
func (m *Manifest) check() error {
	if m.State < Clean || m.State > Failed {
		return fmt.Errorf("%w: a manifest of the unknown %v", rows.ErrCorrupt, m.State)
	}
	if len(m.Source.Epoch) > rows.MaxEpoch || len(m.Identity) > maxIdentity || m.NextID == 0 {
		return fmt.Errorf("%w: a manifest with an epoch of %d bytes, an identity of %d, and the next file id %d",
			rows.ErrCorrupt, len(m.Source.Epoch), len(m.Identity), m.NextID)
	}
	if err := rows.CheckSegments(m.Segments, m.NextID); err != nil {
		return err
	}
	spaces := map[uint32]bool{}
	for _, c := range m.Columns {
		if c.Space == 0 || spaces[c.Space] || !fileName(c.File) {
			return fmt.Errorf("%w: a manifest with columns of space %d in %q", rows.ErrCorrupt, c.Space, c.File)
		}
		spaces[c.Space] = true
	}
	clear(spaces)
	for _, h := range m.Horizons {
		if h.Space == 0 || spaces[h.Space] {
			return fmt.Errorf("%w: a manifest with horizons of space %d", rows.ErrCorrupt, h.Space)
		}
		spaces[h.Space] = true
	}
	given := make(map[Row]bool, len(m.GivenUp))
	for _, r := range m.GivenUp {
		if r.Space == 0 || r.Sequence == 0 || given[r] {
			return fmt.Errorf("%w: a manifest with row %d of space %d given up", rows.ErrCorrupt, r.Sequence, r.Space)
		}
		given[r] = true
	}
	return nil
}

// fileName tells whether a name is that of a file in the directory itself.
func fileName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxFile && !strings.ContainsAny(name, "/\\\x00")
}
