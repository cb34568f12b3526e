package rows

import "fmt"

// Ref tells where a record stands: file id (20 bits), offset/8 (26 bits), length/8 (18 bits). Refs into one file order
// as their records do.
type Ref uint64

const (
	refLengthBits = 18
	refOffsetBits = 26
	maxID         = 1<<20 - 1
)

// MaxSegment is what a Ref can address, and the limit of Options.SegmentSize.
const MaxSegment = 8 << refOffsetBits

func makeRef(id uint32, offset, length int64) Ref {
	return Ref(id)<<(refOffsetBits+refLengthBits) | Ref(offset/8)<<refLengthBits | Ref(length/8)
}

// File returns the id of the segment.
func (r Ref) File() uint32 { return uint32(r >> (refOffsetBits + refLengthBits)) }

// Offset returns where the record begins in its segment.
func (r Ref) Offset() int64 { return int64(r>>refLengthBits&(1<<refOffsetBits-1)) * 8 }

// Length returns how many bytes the record has on disk.
func (r Ref) Length() int { return int(r&(1<<refLengthBits-1)) * 8 }

func (r Ref) end() int64 { return r.Offset() + int64(r.Length()) }

func (r Ref) String() string {
	return fmt.Sprintf("file %d, offset %d, length %d", r.File(), r.Offset(), r.Length())
}
