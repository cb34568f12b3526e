package vecstore

import (
	"runtime"
	"time"

	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
	"github.com/engram-memory/engram/pkg/vfs"
)

// Options of a shard. The zero value is that of all defaults.
type Options struct {
	// FS is where the directory is. Default: vfs.OS().
	FS vfs.FS
	// SegmentSize is the size in bytes at which a segment of the row log is closed, at most 512 MiB. Default: 256 MiB.
	SegmentSize int64
	// Distrust cuts the row log off after its last checkpoint: what follows was written, but a failed fsync has shown
	// that it may not be on the disk.
	Distrust bool
	// KeepVersions is for how long replaced and forgotten versions are kept for reads of the past, at least. Default:
	// 10 minutes; negative keeps none.
	KeepVersions time.Duration
	// Compress has segments of the row log that are written anew compressed, record by record, where that saves a sixteenth.
	Compress bool
	// GraphRows is the number of rows from which on a space gets a graph; those with fewer are scanned. Default: 10,000.
	GraphRows uint32
	// Graph is how graphs are built. Default: hnsw.DefaultConfig. A graph that was built with another M is built again.
	Graph hnsw.Config
	// TailRows is how many rows may wait to be linked into a graph: an Apply that finds more links some itself. Default:
	// 4,096.
	TailRows uint32
	// TailBytes bounds the memory for codes of spaces without a graph, all together: those that were not searched for
	// longest give theirs up. Default: 256 MiB.
	TailBytes int64
	// LinkThreads is how many threads link rows into graphs; 0 for one a core.
	LinkThreads int
	// OnLink, if it is set, is told how long linking so many rows took.
	OnLink func(rows int, took time.Duration)
	// Maps, if it is set, bounds how much of the row log is mapped into memory, in all shards that share it. Default:
	// DefaultMapBytes of its own.
	Maps *Maps
	// Linking, if it is set, bounds the threads that link in all shards that share it.
	Linking *Linking
}

// Maps bounds how much of row logs is mapped into memory.
type Maps = rows.Maps

// DefaultMapBytes is how much of row logs is mapped when nobody says how much, in a worker as well.
const DefaultMapBytes = 192 << 20

// NewMaps allows so many bytes, in all shards that share it.
func NewMaps(bytes int64) *Maps { return rows.NewMaps(bytes) }

func (o *Options) fill() {
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	if o.SegmentSize <= 0 {
		o.SegmentSize = rows.DefaultSegmentSize
	}
	o.SegmentSize = min(o.SegmentSize, rows.MaxSegment)
	if o.KeepVersions == 0 {
		o.KeepVersions = 10 * time.Minute
	}
	if o.GraphRows == 0 {
		o.GraphRows = 10_000
	}
	if o.Graph == (hnsw.Config{}) {
		o.Graph = hnsw.DefaultConfig()
	}
	if o.TailRows == 0 {
		o.TailRows = 4096
	}
	if o.TailBytes == 0 {
		o.TailBytes = 256 << 20
	}
	if o.LinkThreads <= 0 {
		o.LinkThreads = min(runtime.NumCPU(), runtime.GOMAXPROCS(0))
	}
	if o.Maps == nil {
		o.Maps = NewMaps(DefaultMapBytes)
	}
	if o.Linking == nil {
		o.Linking = NewLinking(o.LinkThreads)
	}
}
