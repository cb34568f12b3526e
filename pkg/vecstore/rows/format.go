package rows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A log is a directory of segment files, rows-<id>.seg, each a header and then records back to back. All integers are
// little-endian. docs/format/rowlog.md says it at length.
//
//	segment header, 128 bytes
//	  0   8  magic "ENGROWS\n"
//	  8   4  version, 2
//	 12   4  file id, from 1
//	 16   8  creation time of the stream, Unix nanoseconds
//	 24   4  shard
//	 28   4  length of the epoch
//	 32  64  epoch, zero padded
//	 96  28  zero
//	124   4  CRC-32C of bytes 0..124
//
//	record, a multiple of 8 bytes
//	  0   4  CRC-32C of bytes 4..length
//	  4   4  length of the whole record
//	  8   1  kind: 1 define, 2 observe, 3 forget, 4 drop, 5 checkpoint
//	  9   1  form: encoding of the vector in bits 0..3 (0 f32, 1 f16, 2 i8), bit 7 for a compressed payload
//	 10   2  length of the id (observe), else 0
//	 12   4  space number (0 for a checkpoint)
//	 16   8  sequence in the stream
//	 24   8  publish time, Unix nanoseconds
//	 32   8  expiry, Unix nanoseconds, 0 for never (observe), else 0
//	 40   4  bytes of the vector (observe), else 0
//	 44   4  bytes of the body
//	 48   …  payload: vector, id, body; then zero padding
//
// A compressed payload is a u32 and so many bytes: an s2 block of vector, id and body, whose lengths in the header are
// those before compression.
const (
	segmentMagic   = "ENGROWS\n"
	segmentVersion = 2
	segmentHeader  = 128
	// MaxEpoch is the length of the longest Source.Epoch.
	MaxEpoch = 64

	recordHeader = 48
	// MaxRecord is the size of the largest record, and before compression too.
	MaxRecord = 1<<21 - 8

	formEncoding   = 0x0f
	formCompressed = 0x80
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func segmentName(id uint32) string { return fmt.Sprintf("rows-%08d.seg", id) }

func appendSegmentHeader(dst []byte, id uint32, src Source) []byte {
	start := len(dst)
	dst = append(dst, segmentMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, segmentVersion)
	dst = binary.LittleEndian.AppendUint32(dst, id)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(src.CreatedAt))
	dst = binary.LittleEndian.AppendUint32(dst, src.Shard)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(src.Epoch)))
	dst = append(dst, src.Epoch...)
	dst = append(dst, make([]byte, start+segmentHeader-4-len(dst))...)
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[start:]))
}

func parseSegmentHeader(b []byte) (id uint32, src Source, err error) {
	if len(b) < segmentHeader || string(b[:8]) != segmentMagic {
		return 0, src, fmt.Errorf("%w: it does not begin with a segment header", ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != segmentVersion {
		return 0, src, fmt.Errorf("%w %d of a segment: this program reads version %d", ErrVersion, v, segmentVersion)
	}
	if checksum(b[:segmentHeader-4]) != binary.LittleEndian.Uint32(b[segmentHeader-4:]) {
		return 0, src, fmt.Errorf("%w: the checksum of the segment header is wrong", ErrCorrupt)
	}
	n := binary.LittleEndian.Uint32(b[28:])
	if n > MaxEpoch {
		return 0, src, fmt.Errorf("%w: the epoch of the segment header has %d bytes", ErrCorrupt, n)
	}
	src = Source{
		Epoch:     string(b[32 : 32+n]),
		Shard:     binary.LittleEndian.Uint32(b[24:]),
		CreatedAt: int64(binary.LittleEndian.Uint64(b[16:])),
	}
	return binary.LittleEndian.Uint32(b[12:]), src, nil
}

// errTorn says that bytes are no whole record.
var errTorn = errors.New("no whole record")

// appendRecord encodes a record as it is.
func appendRecord(dst []byte, r *Record) ([]byte, error) {
	n := recordHeader + len(r.Vector) + len(r.ID) + len(r.Body)
	length := (n + 7) &^ 7
	if length > MaxRecord || len(r.ID) > 1<<16-1 {
		return dst, fmt.Errorf("%w: it needs %d bytes, a record holds %d", ErrTooLarge, length, MaxRecord)
	}
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(length))
	dst = append(dst, byte(r.Kind), byte(r.Encoding))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(r.ID)))
	dst = binary.LittleEndian.AppendUint32(dst, r.Space)
	dst = binary.LittleEndian.AppendUint64(dst, r.Sequence)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.Published))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.Expires))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r.Vector)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r.Body)))
	dst = append(dst, r.Vector...)
	dst = append(dst, r.ID...)
	dst = append(dst, r.Body...)
	return finishRecord(dst, start), nil
}

// finishRecord pads the record that begins at start and gives it its length and its checksum.
func finishRecord(dst []byte, start int) []byte {
	for (len(dst)-start)%8 != 0 {
		dst = append(dst, 0)
	}
	binary.LittleEndian.PutUint32(dst[start+4:], uint32(len(dst)-start))
	binary.LittleEndian.PutUint32(dst[start:], checksum(dst[start+4:]))
	return dst
}

// recordLength reads the length of the record that b begins with, checked for plausibility alone.
func recordLength(b []byte) (int, error) {
	if len(b) < recordHeader {
		return 0, errTorn
	}
	n := int(binary.LittleEndian.Uint32(b[4:]))
	if n < recordHeader || n > MaxRecord || n%8 != 0 {
		return 0, errTorn
	}
	return n, nil
}

// parseRecord decodes and checks the record that b begins with. It points into b or, where its payload was compressed,
// into scratch, which is returned as it has become. The error is errTorn when the bytes are no whole record, and ErrCorrupt
// when they are one that nobody writes.
func parseRecord(b, scratch []byte) (rec Record, length int, grown []byte, err error) {
	n, err := recordLength(b)
	if err != nil || n > len(b) {
		return rec, 0, scratch, errTorn
	}
	b = b[:n]
	if checksum(b[4:]) != binary.LittleEndian.Uint32(b) {
		return rec, 0, scratch, errTorn
	}
	id := int(binary.LittleEndian.Uint16(b[10:]))
	vec := int(binary.LittleEndian.Uint32(b[40:]))
	body := int(binary.LittleEndian.Uint32(b[44:]))
	payload := b[recordHeader:]
	if vec > MaxRecord || body > MaxRecord || vec+id+body > MaxRecord-recordHeader {
		return rec, 0, scratch, fmt.Errorf("%w: a record has parts of %d, %d and %d bytes", ErrCorrupt, vec, id, body)
	}
	if b[9]&formCompressed != 0 {
		if payload, scratch, err = unpack(payload, vec+id+body, scratch); err != nil {
			return rec, 0, scratch, err
		}
	}
	if vec+id+body > len(payload) {
		return rec, 0, scratch, fmt.Errorf("%w: the parts of a record run past its end", ErrCorrupt)
	}
	rec = Record{
		Kind:      Kind(b[8]),
		Encoding:  Encoding(b[9] & formEncoding),
		Space:     binary.LittleEndian.Uint32(b[12:]),
		Sequence:  binary.LittleEndian.Uint64(b[16:]),
		Published: int64(binary.LittleEndian.Uint64(b[24:])),
		Expires:   int64(binary.LittleEndian.Uint64(b[32:])),
		Vector:    payload[:vec:vec],
		ID:        payload[vec : vec+id : vec+id],
		Body:      payload[vec+id : vec+id+body : vec+id+body],
	}
	if what := rec.wrong(b[9]); what != "" {
		return Record{}, 0, scratch, fmt.Errorf("%w: %s", ErrCorrupt, what)
	}
	return rec, n, scratch, nil
}
