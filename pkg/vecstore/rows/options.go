package rows

import "fmt"

// Mode says how far Open trusts what it finds.
type Mode uint8

// The modes.
const (
	// Verified reads every record and checks it, compares the index with them, and cuts a torn tail off.
	Verified Mode = 0
	// Trusted reads the index alone. It is for a directory whose last writer was killed and ran on this same boot of
	// this machine (vfs.FS.Identity): the kernel still has every byte that it wrote. Any inconsistency makes it Verified.
	Trusted Mode = 1
	// Distrusted is Verified, and cuts the log off behind its last checkpoint: what follows was written, but a failed
	// fsync has shown that it may not be on the disk.
	Distrusted Mode = 2
)

func (m Mode) String() string {
	switch m {
	case Verified:
		return "verified"
	case Trusted:
		return "trusted"
	case Distrusted:
		return "distrusted"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// DefaultSegmentSize is the one of Options.SegmentSize when that is 0.
const DefaultSegmentSize = 256 << 20

// Options of a log. Commit and Replay are required; the other fields may be zero, for a directory that is new.
type Options struct {
	Mode Mode
	// SegmentSize is the size in bytes at which a segment is closed, at most MaxSegment. Default: DefaultSegmentSize.
	SegmentSize int64
	// Maps, if it is set, is how much of the segments may be mapped into memory.
	Maps *Maps
	// HashKey, Segments and NextID are what the manifest says. NextID 0 stands for 1.
	HashKey  HashKey
	Segments []Segment
	NextID   uint32

	// Commit stores the manifest with this list of segments and this next id, durably. It is called by Open when
	// it cuts the log, by Flush and Checkpoint when they begin a segment, and by Replace; one call at a time. The
	// slice must not be changed. After an error either list may be the one that is found at the next open.
	Commit func(segments []Segment, nextID uint32) error

	// Replay is given every entry of the log in its order. body returns the record, good until Replay returns; it costs
	// nothing when the log is being verified, and a read when it is trusted. The entry is used again for the next one.
	// An error ends Open and is wrapped by its error; one that is ErrCorrupt makes a Trusted open a Verified one first.
	Replay func(e *Entry, body func() (Record, error)) error
	// Restart, if it is set, is called when a Trusted open becomes a Verified one: Replay is given everything once more,
	// from the first entry.
	Restart func()
}

// Recovery says what Open found.
type Recovery struct {
	// Mode is how the log was opened in the end: Verified where Trusted was asked for and Doubt says why it was not.
	Mode  Mode
	Doubt error
	// Entries is how many entries were replayed.
	Entries int
	// Records is how many records were read and checked.
	Records int
	// Bytes is the size of the segments.
	Bytes int64
	// Torn is how many bytes of segments were cut off, because they were no whole records or were not to be trusted.
	Torn int64
	// IndexRepaired is how many index files did not match their segments and were written anew from where they did not.
	// After a loss of power that is nothing unusual.
	IndexRepaired int
	// IndexRepairs says of them what did not match.
	IndexRepairs []error
	// Strays is how many files were removed that the manifest does not name.
	Strays int
}
