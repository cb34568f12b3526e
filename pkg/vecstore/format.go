package vecstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The row log is a directory of segment files, rows-<number>.seg, each a header and then records back to back. All
// integers are little-endian.
//
//	segment header, 128 bytes
//	  0   8  magic "ENGROWS\n"
//	  8   4  version, 1
//	 12   4  segment number, from 1
//	 16   8  creation time of the stream, Unix nanoseconds
//	 24   4  shard
//	 28   4  length of the epoch
//	 32  64  epoch, zero padded
//	 96   8  where the records of the segment before it end, 0 in segment 1
//	104  20  zero
//	124   4  CRC-32C of bytes 0..124
//
//	record, a multiple of 8 bytes
//	  0   4  CRC-32C of bytes 4..length
//	  4   4  length of the whole record
//	  8   1  kind: 1 define, 2 observe, 3 forget, 4 drop, 5 checkpoint
//	  9   1  zero
//	 10   2  length of the id (observe), else 0
//	 12   4  space number (0 for a checkpoint)
//	 16   8  sequence in the log; of a checkpoint, the one through which everything is in the row log
//	 24   8  publish time, Unix nanoseconds; of a checkpoint, when it was taken
//	 32   8  expiry, Unix nanoseconds, 0 for never (observe), else 0
//	 40   4  bytes of the vector (observe), else 0
//	 44   4  bytes of the body
//	 48   …  vector, id, body, zero padding
//
// A space number is given by the record that defines it, counted from 1 in a shard, and means that generation of the
// space alone. The body of a define is its definition (appendDefinition), that of a forget its ids, that of a
// checkpoint the 16 bytes of checkpointMagic, so that one can be found in a damaged file.
const (
	segmentMagic   = "ENGROWS\n"
	segmentVersion = 1
	segmentHeader  = 128
	maxEpoch       = 64

	recordHeader = 48
	maxRecord    = 1<<21 - 8

	checkpointMagic = "\x89EngramCheckpt\r\n"

	kindCheckpoint Kind = 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segmentInfo is what a segment header says. previousEnd tells a segment before it that lost whole records from one
// that never had them.
type segmentInfo struct {
	number      uint32
	src         Source
	previousEnd int64
}

func appendSegmentHeader(dst []byte, info segmentInfo) []byte {
	start, src := len(dst), info.src
	dst = append(dst, segmentMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, segmentVersion)
	dst = binary.LittleEndian.AppendUint32(dst, info.number)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(src.CreatedAt))
	dst = binary.LittleEndian.AppendUint32(dst, src.Shard)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(src.Epoch)))
	dst = append(dst, src.Epoch...)
	dst = append(dst, make([]byte, start+32+maxEpoch-len(dst))...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(info.previousEnd))
	dst = append(dst, make([]byte, start+segmentHeader-4-len(dst))...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func parseSegmentHeader(b []byte) (segmentInfo, error) {
	if len(b) < segmentHeader || string(b[:8]) != segmentMagic {
		return segmentInfo{}, fmt.Errorf("%w: it does not begin with a segment header", ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != segmentVersion {
		return segmentInfo{}, fmt.Errorf("%w %d: this program reads version %d", ErrVersion, v, segmentVersion)
	}
	if crc32.Checksum(b[:segmentHeader-4], castagnoli) != binary.LittleEndian.Uint32(b[segmentHeader-4:]) {
		return segmentInfo{}, fmt.Errorf("%w: the checksum of the segment header is wrong", ErrCorrupt)
	}
	n := binary.LittleEndian.Uint32(b[28:])
	if n > maxEpoch {
		return segmentInfo{}, fmt.Errorf("%w: the epoch of the segment header has %d bytes", ErrCorrupt, n)
	}
	return segmentInfo{
		number: binary.LittleEndian.Uint32(b[12:]),
		src: Source{
			Epoch:     string(b[32 : 32+n]),
			Shard:     binary.LittleEndian.Uint32(b[24:]),
			CreatedAt: int64(binary.LittleEndian.Uint64(b[16:])),
		},
		previousEnd: int64(binary.LittleEndian.Uint64(b[96:])),
	}, nil
}

// record is a decoded record; its slices point into the bytes it was decoded from.
type record struct {
	length    uint32
	kind      Kind
	space     uint32
	sequence  uint64
	published int64
	expires   int64
	vector    []byte
	id        []byte
	body      []byte
}

var errRecord = errors.New("bad record")

func appendRecord(dst []byte, r *record, id string) ([]byte, error) {
	n := recordHeader + len(r.vector) + len(id) + len(r.body)
	length := (n + 7) &^ 7
	if length > maxRecord || len(id) > 1<<16-1 {
		return dst, fmt.Errorf("%w: it needs %d bytes, a record holds %d", ErrTooLarge, length, maxRecord)
	}
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(length))
	dst = append(dst, byte(r.kind), 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(id)))
	dst = binary.LittleEndian.AppendUint32(dst, r.space)
	dst = binary.LittleEndian.AppendUint64(dst, r.sequence)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.published))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.expires))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r.vector)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r.body)))
	dst = append(dst, r.vector...)
	dst = append(dst, id...)
	dst = append(dst, r.body...)
	for len(dst)-start < length {
		dst = append(dst, 0)
	}
	r.length = uint32(length)
	binary.LittleEndian.PutUint32(dst[start:], crc32.Checksum(dst[start+4:], castagnoli))
	return dst, nil
}

// recordLength reads the length of the record that b begins with, checked for plausibility alone.
func recordLength(b []byte) (int, error) {
	if len(b) < recordHeader {
		return 0, errRecord
	}
	n := int(binary.LittleEndian.Uint32(b[4:]))
	if n < recordHeader || n > maxRecord || n%8 != 0 {
		return 0, errRecord
	}
	return n, nil
}

// parseRecord decodes and verifies the record that b holds from its first to its last byte.
func parseRecord(b []byte) (record, error) {
	n, err := recordLength(b)
	if err != nil || n > len(b) {
		return record{}, errRecord
	}
	b = b[:n]
	if crc32.Checksum(b[4:], castagnoli) != binary.LittleEndian.Uint32(b) {
		return record{}, errRecord
	}
	id := int(binary.LittleEndian.Uint16(b[10:]))
	vec := int(binary.LittleEndian.Uint32(b[40:]))
	body := int(binary.LittleEndian.Uint32(b[44:]))
	if vec > n || body > n || recordHeader+vec+id+body > n {
		return record{}, errRecord
	}
	rest := b[recordHeader:]
	return record{
		length:    uint32(n),
		kind:      Kind(b[8]),
		space:     binary.LittleEndian.Uint32(b[12:]),
		sequence:  binary.LittleEndian.Uint64(b[16:]),
		published: int64(binary.LittleEndian.Uint64(b[24:])),
		expires:   int64(binary.LittleEndian.Uint64(b[32:])),
		vector:    rest[:vec:vec],
		id:        rest[vec : vec+id : vec+id],
		body:      rest[vec+id : vec+id+body : vec+id+body],
	}, nil
}
