package manifest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

// The file is a header, then what the header counts, each at a multiple of 8, and a checksum. All integers are
// little-endian. docs/format/manifest.md says it at length.
//
//	header, 160 bytes
//	  0   8  magic "ENGMANI\n"
//	  8   4  version, 1
//	 12   4  length of the file
//	 16   8  creation time of the stream, Unix nanoseconds
//	 24   4  shard
//	 28   4  length of the epoch
//	 32  64  epoch, zero padded
//	 96  32  hash key
//	128   1  state: 1 clean, 2 open, 3 failed
//	129   3  zero
//	132   4  length of the identity
//	136   4  next file id
//	140   4  number of segments
//	144   4  number of columns
//	148   4  number of horizons
//	152   4  number of rows given up
//	156   4  zero
//
//	identity, zero padded
//	segments, 16 bytes each:  id u32, entries u32, length u64
//	columns:                  space u32, generation u32, rows u32, length of the file name u32, zero u64, file name, zero padded
//	horizons, 16 bytes each:  space u32, zero u32, sequence u64
//	rows given up, the same
//	zero u32, CRC-32C of all before it
const (
	magic   = "ENGMANI\n"
	version = 1

	header       = 160
	segmentEntry = 16
	columnsFixed = 24
	horizonEntry = 16
	givenUpEntry = 16
	trailer      = 8

	maxIdentity = 1 << 10
	maxFile     = 255
	// maxLength is that of the longest manifest that is read.
	maxLength = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode returns the bytes of the file. Its errors are about a Manifest that cannot be.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	b := make([]byte, 0, header+maxIdentity+segmentEntry*len(m.Segments)+64*len(m.Columns)+horizonEntry*len(m.Horizons)+givenUpEntry*len(m.GivenUp))
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, 0) // the length, below
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Source.CreatedAt))
	b = binary.LittleEndian.AppendUint32(b, m.Source.Shard)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.Source.Epoch)))
	b = append(b, m.Source.Epoch...)
	b = append(b, make([]byte, rows.MaxEpoch-len(m.Source.Epoch))...)
	b = append(b, m.HashKey[:]...)
	b = append(b, byte(m.State), 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.Identity)))
	b = binary.LittleEndian.AppendUint32(b, m.NextID)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.Segments)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.Columns)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.Horizons)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.GivenUp)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = pad(append(b, m.Identity...))
	for _, s := range m.Segments {
		b = binary.LittleEndian.AppendUint32(b, s.ID)
		b = binary.LittleEndian.AppendUint32(b, s.Entries)
		b = binary.LittleEndian.AppendUint64(b, uint64(s.Length))
	}
	for _, c := range m.Columns {
		b = binary.LittleEndian.AppendUint32(b, c.Space)
		b = binary.LittleEndian.AppendUint32(b, c.Generation)
		b = binary.LittleEndian.AppendUint32(b, c.Rows)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(c.File)))
		b = binary.LittleEndian.AppendUint64(b, 0)
		b = pad(append(b, c.File...))
	}
	for _, h := range m.Horizons {
		b = binary.LittleEndian.AppendUint32(b, h.Space)
		b = binary.LittleEndian.AppendUint32(b, 0)
		b = binary.LittleEndian.AppendUint64(b, h.Sequence)
	}
	for _, r := range m.GivenUp {
		b = binary.LittleEndian.AppendUint32(b, r.Space)
		b = binary.LittleEndian.AppendUint32(b, 0)
		b = binary.LittleEndian.AppendUint64(b, r.Sequence)
	}
	b = binary.LittleEndian.AppendUint32(b, 0)
	if len(b)+4 > maxLength {
		return nil, fmt.Errorf("%w: a manifest of %d bytes", rows.ErrTooLarge, len(b)+4)
	}
	binary.LittleEndian.PutUint32(b[12:], uint32(len(b)+4))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

func pad(b []byte) []byte {
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

// Decode reads the bytes of a file. Its errors are rows.ErrCorrupt and rows.ErrVersion.
func Decode(b []byte) (*Manifest, error) {
	if len(b) < header+trailer || string(b[:8]) != magic {
		return nil, fmt.Errorf("%w: a manifest of %d bytes does not begin with its header", rows.ErrCorrupt, len(b))
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return nil, fmt.Errorf("%w %d of a manifest: this program reads version %d", rows.ErrVersion, v, version)
	}
	if n := binary.LittleEndian.Uint32(b[12:]); uint64(n) != uint64(len(b)) {
		return nil, fmt.Errorf("%w: a manifest of %d bytes says that it has %d", rows.ErrCorrupt, len(b), n)
	}
	end := len(b) - 4
	if crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return nil, fmt.Errorf("%w: the checksum of the manifest is wrong", rows.ErrCorrupt)
	}
	m := &Manifest{State: State(b[128]), NextID: binary.LittleEndian.Uint32(b[136:])}
	epoch := binary.LittleEndian.Uint32(b[28:])
	if epoch > rows.MaxEpoch {
		return nil, fmt.Errorf("%w: the epoch of the manifest has %d bytes", rows.ErrCorrupt, epoch)
	}
	m.Source = rows.Source{
		Epoch:     string(b[32 : 32+epoch]),
		Shard:     binary.LittleEndian.Uint32(b[24:]),
		CreatedAt: int64(binary.LittleEndian.Uint64(b[16:])),
	}
	copy(m.HashKey[:], b[96:])
	r := reader{b: b[header : len(b)-trailer]}
	m.Identity = string(r.padded(binary.LittleEndian.Uint32(b[132:])))
	m.segments(&r, binary.LittleEndian.Uint32(b[140:]))
	m.columns(&r, binary.LittleEndian.Uint32(b[144:]))
	m.horizons(&r, binary.LittleEndian.Uint32(b[148:]))
	m.givenUp(&r, binary.LittleEndian.Uint32(b[152:]))
	if r.short || len(r.b) > 0 {
		return nil, fmt.Errorf("%w: what the manifest counts does not fill it", rows.ErrCorrupt)
	}
	return m, m.check()
}

// The loops end with the bytes, whatever the counts say, and memory follows the bytes.

func (m *Manifest) segments(r *reader, n uint32) {
	for ; n > 0 && !r.short; n-- {
		if b := r.take(segmentEntry); b != nil {
			m.Segments = append(m.Segments, rows.Segment{
				ID:      binary.LittleEndian.Uint32(b),
				Entries: binary.LittleEndian.Uint32(b[4:]),
				Length:  int64(binary.LittleEndian.Uint64(b[8:])),
			})
		}
	}
}

func (m *Manifest) columns(r *reader, n uint32) {
	for ; n > 0 && !r.short; n-- {
		if b := r.take(columnsFixed); b != nil {
			m.Columns = append(m.Columns, Columns{
				Space:      binary.LittleEndian.Uint32(b),
				Generation: binary.LittleEndian.Uint32(b[4:]),
				Rows:       binary.LittleEndian.Uint32(b[8:]),
				File:       string(r.padded(binary.LittleEndian.Uint32(b[12:]))),
			})
		}
	}
}

func (m *Manifest) horizons(r *reader, n uint32) {
	for ; n > 0 && !r.short; n-- {
		if b := r.take(horizonEntry); b != nil {
			m.Horizons = append(m.Horizons, Horizon{
				Space:    binary.LittleEndian.Uint32(b),
				Sequence: binary.LittleEndian.Uint64(b[8:]),
			})
		}
	}
}

func (m *Manifest) givenUp(r *reader, n uint32) {
	for ; n > 0 && !r.short; n-- {
		if b := r.take(givenUpEntry); b != nil {
			m.GivenUp = append(m.GivenUp, Row{
				Space:    binary.LittleEndian.Uint32(b),
				Sequence: binary.LittleEndian.Uint64(b[8:]),
			})
		}
	}
}

// reader takes bytes off, until there are too few.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if r.short = r.short || n > len(r.b); r.short {
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// padded takes n bytes off, and what pads them to a multiple of 8.
func (r *reader) padded(n uint32) []byte {
	if n > maxLength {
		r.short = true
	}
	b := r.take((int(n) + 7) &^ 7)
	if b == nil {
		return nil
	}
	return b[:n]
}
