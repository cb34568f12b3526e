package columns

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// A file is a header block and chunks back to back. All integers are little-endian.
//
//	header block, 65536 bytes
//	   0    8  magic "ENGCOLS\n"
//	   8    4  version, 3
//	  12    4  shard
//	  16    8  creation time of the stream, Unix nanoseconds
//	  24    4  space number
//	  28    4  length of the epoch
//	  32   64  epoch, zero padded
//	  96    4  column generation
//	 100    4  dimension
//	 104    4  bytes of a sketch
//	 108    4  bytes of a code
//	 112    4  words of a base-layer list
//	 116    4  words of an upper list
//	 120    4  log2 of the rows of a chunk
//	 124    4  log2 of the slots of a chunk
//	 128    4  CRC-32C of the centre
//	 132 3960  zero
//	4092    4  CRC-32C of bytes 0..4092
//	4096 4096  state (State)
//	8192    …  centre: a f32 for each dimension, where they have room, then zero
//
//	chunk, of R rows, a multiple of 65536 bytes, each column at a multiple of 64
//	  sketches     R × (sketch, f32 factor, f32 norm, zeros to a multiple of 64), when there are sketches
//	  codes        R × (code, f32 factor, f32 norm, u16 missed, u16 rounded, zeros to a multiple of 16)
//	  sequences    R × u64
//	  links        R × words of a base-layer list × u32
//	  upper index  R × u32, when there are upper lists
//	  upper lists  slots × words of an upper list × u32
const (
	magic      = "ENGCOLS\n"
	version    = 3
	maxEpoch   = 64
	fixedBytes = 4096 // what never changes, with its checksum

	stateOffset = fixedBytes
	stateBytes  = 4096

	centreSumOffset = 128

	centreOffset = stateOffset + stateBytes

	headerBytes = 65536 // a multiple of vfs.PageSize
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is what a file says of itself.
type Header struct {
	// Epoch, Shard and CreatedAt name the incarnation of the stream that the shard is a view of. An epoch has at most 64
	// bytes; CreatedAt is in Unix nanoseconds.
	Epoch     string
	Shard     uint32
	CreatedAt int64
	// Space is the number of the space in the shard, and Generation counts its column files.
	Space      uint32
	Generation uint32
	Layout     Layout
	// Centre is the point that the codes are relative to, Layout.Dim numbers, nil for the origin. It is the choice of who
	// creates the file; who opens it reads what it is. There is room for MaxCentre numbers.
	Centre []float32
}

// MaxCentre is the largest dimension of a centre.
const MaxCentre = (headerBytes - centreOffset) / 4

func appendHeader(dst []byte, h Header) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, version)
	dst = binary.LittleEndian.AppendUint32(dst, h.Shard)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.CreatedAt))
	dst = binary.LittleEndian.AppendUint32(dst, h.Space)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(h.Epoch)))
	dst = append(dst, h.Epoch...)
	dst = append(dst, make([]byte, start+32+maxEpoch-len(dst))...)
	dst = binary.LittleEndian.AppendUint32(dst, h.Generation)
	for _, v := range h.Layout.words() {
		dst = binary.LittleEndian.AppendUint32(dst, v)
	}
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(h.centre(), castagnoli))
	dst = append(dst, make([]byte, start+fixedBytes-4-len(dst))...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// centre returns the bytes of the centre as they are in the file: zeros for the origin, nothing where there is no room.
func (h Header) centre() []byte {
	if h.Layout.Dim > MaxCentre {
		return nil
	}
	b := make([]byte, 0, 4*h.Layout.Dim)
	for _, x := range h.Centre {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b[:4*h.Layout.Dim]
}

// parseCentre reads the centre from the header block, whose header has been parsed as h.
func parseCentre(block []byte, h Header) ([]float32, error) {
	if h.Layout.Dim > MaxCentre {
		return nil, nil
	}
	b := block[centreOffset : centreOffset+4*h.Layout.Dim]
	if crc32.Checksum(b, castagnoli) != binary.LittleEndian.Uint32(block[centreSumOffset:]) {
		return nil, fmt.Errorf("%w: the checksum of the centre is wrong", ErrCorrupt)
	}
	centre, origin := make([]float32, h.Layout.Dim), true
	for i := range centre {
		bits := binary.LittleEndian.Uint32(b[4*i:])
		centre[i], origin = math.Float32frombits(bits), origin && bits == 0
	}
	if origin {
		return nil, nil
	}
	return centre, nil
}

func (l Layout) words() [7]uint32 {
	return [7]uint32{uint32(l.Dim), uint32(l.Sketch), uint32(l.Code), uint32(l.Links), uint32(l.UpperLinks), uint32(l.ChunkShift), uint32(l.SlotShift)}
}

func (h Header) validate() error {
	if len(h.Epoch) > maxEpoch {
		return fmt.Errorf("an epoch of %d bytes; it can have %d", len(h.Epoch), maxEpoch)
	}
	if n := len(h.Centre); n != 0 && (n != h.Layout.Dim || n > MaxCentre) {
		return fmt.Errorf("a centre of %d numbers in %d dimensions; it can have as many, up to %d", n, h.Layout.Dim, MaxCentre)
	}
	return h.Layout.validate()
}

// parseHeader looks at the magic first, then at the version, then at the checksum.
func parseHeader(b []byte) (Header, error) {
	if len(b) < fixedBytes || string(b[:8]) != magic {
		return Header{}, fmt.Errorf("%w: it does not begin with a header", ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return Header{}, fmt.Errorf("%w: %d; this program reads %d", ErrVersion, v, version)
	}
	if crc32.Checksum(b[:fixedBytes-4], castagnoli) != binary.LittleEndian.Uint32(b[fixedBytes-4:]) {
		return Header{}, fmt.Errorf("%w: the checksum of the header is wrong", ErrCorrupt)
	}
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	n := word(28)
	if n > maxEpoch {
		return Header{}, fmt.Errorf("%w: the header has an epoch of %d bytes", ErrCorrupt, n)
	}
	for _, at := range []int{100, 104, 108, 112, 116, 120, 124} {
		if word(at) > 1<<30 {
			return Header{}, fmt.Errorf("%w: the header has %d at %d", ErrCorrupt, word(at), at)
		}
	}
	h := Header{
		Epoch:      string(b[32 : 32+n]),
		Shard:      word(12),
		CreatedAt:  int64(binary.LittleEndian.Uint64(b[16:])),
		Space:      word(24),
		Generation: word(96),
		Layout: Layout{
			Dim: int(word(100)), Sketch: int(word(104)), Code: int(word(108)), Links: int(word(112)), UpperLinks: int(word(116)),
			ChunkShift: uint(word(120)), SlotShift: uint(word(124)),
		},
	}
	if err := h.Layout.validate(); err != nil {
		return Header{}, fmt.Errorf("%w: the header says %w", ErrCorrupt, err)
	}
	return h, nil
}

// check tells in what the header is not the one that is wanted. How the rows are cut into chunks is the file's choice.
func (h Header) check(want Header) error {
	switch {
	case h.Epoch != want.Epoch || h.Shard != want.Shard || h.CreatedAt != want.CreatedAt:
		return fmt.Errorf("%w: they are of epoch %s, shard %d, stream created at %d", ErrIdentity, h.Epoch, h.Shard, h.CreatedAt)
	case h.Space != want.Space || h.Generation != want.Generation:
		return fmt.Errorf("%w: they are generation %d of space %d", ErrIdentity, h.Generation, h.Space)
	case h.Layout.Dim != want.Layout.Dim || h.Layout.Sketch != want.Layout.Sketch || h.Layout.Code != want.Layout.Code ||
		h.Layout.Links != want.Layout.Links || h.Layout.UpperLinks != want.Layout.UpperLinks:
		l := h.Layout
		return fmt.Errorf("%w: they have dimension %d, sketches of %d bytes and codes of %d, and lists of %d and %d words",
			ErrIdentity, l.Dim, l.Sketch, l.Code, l.Links, l.UpperLinks)
	}
	return nil
}
