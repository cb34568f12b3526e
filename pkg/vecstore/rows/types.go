package rows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/minio/highwayhash"
)

// Source names the incarnation of the stream that a log is a view of. A directory that was filled from another source
// is never read as this one.
type Source struct {
	// Epoch names the set of streams, at most MaxEpoch bytes.
	Epoch string
	Shard uint32
	// CreatedAt is when the stream was created, Unix time in nanoseconds.
	CreatedAt int64
}

func (s Source) String() string {
	return fmt.Sprintf("epoch %s, shard %d, stream created at %d", s.Epoch, s.Shard, s.CreatedAt)
}

// Kind says what a record is about. The numbers are those on disk.
type Kind uint8

// The kinds of records.
const (
	KindDefine     Kind = 1
	KindObserve    Kind = 2
	KindForget     Kind = 3
	KindDrop       Kind = 4
	KindCheckpoint Kind = 5
)

func (k Kind) String() string {
	names := [...]string{
		KindDefine: "define", KindObserve: "observe", KindForget: "forget", KindDrop: "drop", KindCheckpoint: "checkpoint",
	}
	if k > 0 && int(k) < len(names) {
		return names[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// Encoding is the form of a vector in a record. The numbers are those on disk. All forms are little-endian.
type Encoding uint8

// The encodings.
const (
	// F32 is four bytes a component.
	F32 Encoding = 0
	// F16 is two bytes a component, IEEE 754 half precision.
	F16 Encoding = 1
	// I8 is a scale, an f32, and then one signed byte a component.
	I8 Encoding = 2
)

func (e Encoding) String() string {
	names := [...]string{F32: "f32", F16: "f16", I8: "i8"}
	if int(e) < len(names) {
		return names[e]
	}
	return "encoding " + strconv.Itoa(int(e))
}

// Size returns how many bytes a vector of a dimension has.
func (e Encoding) Size(dimension int) int {
	switch e {
	case F32:
		return 4 * dimension
	case F16:
		return 2 * dimension
	case I8:
		return 4 + dimension
	}
	return -1
}

// holds tells whether there is a dimension whose vectors have so many bytes.
func (e Encoding) holds(size int) bool {
	return size > 0 && (e == F32 && size%4 == 0 || e == F16 && size%2 == 0 || e == I8 && size > 4)
}

// Record is one record of the log. Its slices point into the bytes that it was decoded from, and are good as long as
// those.
type Record struct {
	Kind     Kind
	Encoding Encoding
	// Space is the number of the space; 0 in a checkpoint.
	Space uint32
	// Sequence is that of the event in the stream; of a checkpoint, the one through which everything is in the log.
	Sequence uint64
	// Published is when the stream took the event, Unix time in nanoseconds; of a checkpoint, when it was taken.
	Published int64
	// Expires is Unix time in nanoseconds, 0 for never. Of an observe alone, as are Vector and ID.
	Expires int64
	Vector  []byte
	ID      []byte
	// Body is the definition of a define (ParseDefinition), the ids of a forget (ParseIDs), and whatever the event
	// carried of an observe.
	Body []byte
}

// Key stands for an id: 128 bits of a hash with a key that was drawn when the directory was made, so that the ids need
// not be kept in memory. Two ids of a space of 2^30 rows share a Key with a probability of about 2^-69, and nobody can
// aim for it without the hash key.
type Key [2]uint64

// HashKey is the key of the hash of ids.
type HashKey [32]byte

// Key returns the Key of an id.
func (h *HashKey) Key(id string) Key { return h.key(bytesOf(id)) }

func (h *HashKey) key(id []byte) Key {
	sum := highwayhash.Sum128(id, h[:])
	return Key{binary.LittleEndian.Uint64(sum[:8]), binary.LittleEndian.Uint64(sum[8:])}
}

// Entry is what the index has of a record: one for each define, observe, drop and checkpoint, and one for each id of a
// forget.
type Entry struct {
	Kind     Kind
	Encoding Encoding
	// first is set in the first entry of a record.
	first bool
	Space uint32
	// Size is the number of bytes of the vector of an observe. Of a forget it is the number of ids that follow this one
	// in the same record. Else 0.
	Size     uint32
	Sequence uint64
	// Expires is that of an observe, else 0.
	Expires int64
	// Ref is where the record stands.
	Ref Ref
	// Key is that of the id of an observe or of a forget, else zero.
	Key Key
}

// Segment names a segment and says how much of it counts.
type Segment struct {
	// ID is in the names of its files, from 1, and is never used again.
	ID uint32
	// Length is where its records end. Of the last segment of a log, which is written to, it is 0; where a log was sealed
	// (Log.Sealed), it is what is known to be durable of it.
	Length int64
	// Entries is how many entries its index has up to there.
	Entries uint32
}

// Errors of single calls.
var (
	// ErrTooLarge: the record does not fit.
	ErrTooLarge = errors.New("event too large")
	// ErrOrder: the sequence is below one that was added before.
	ErrOrder = errors.New("sequence out of order")
	// ErrRecord: the record is none that a reader would take, for instance a vector of a length that its encoding does
	// not have.
	ErrRecord = errors.New("record that cannot be")
	// ErrMoved: the segment that a Ref points into was rewritten and retired. The row has another Ref by now.
	ErrMoved = errors.New("record has moved")
)

// Errors of a log as a whole.
var (
	// ErrClosed is returned by every call after Close.
	ErrClosed = errors.New("row log is closed")
	// ErrFailed wraps the first failed fsync. What it should have covered may be lost, so the log takes nothing more and
	// must be opened again as Distrusted.
	ErrFailed = errors.New("row log failed to make its records durable")
	// ErrCorrupt wraps what Open and Read find wrong with bytes that had been made durable.
	ErrCorrupt = errors.New("corrupt file of the store")
	// ErrVersion is wrapped when a file was written by an unknown version of the format.
	ErrVersion = errors.New("unknown format version")
	// ErrSource is wrapped when a directory holds the view of another stream.
	ErrSource = errors.New("directory belongs to another log")
)
