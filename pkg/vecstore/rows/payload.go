package rows

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/s2"
)

// packRecord appends a record that parseRecord has taken, with its payload compressed if that saves a sixteenth of it, else
// as it is. scratch is returned as it has become.
func packRecord(dst, raw, scratch []byte) (out, grown []byte) {
	n := int(binary.LittleEndian.Uint16(raw[10:]))
	n += int(binary.LittleEndian.Uint32(raw[40:]) + binary.LittleEndian.Uint32(raw[44:]))
	if raw[9]&formCompressed != 0 || n == 0 {
		return append(dst, raw...), scratch
	}
	if most := s2.MaxEncodedLen(n); cap(scratch) < most {
		scratch = make([]byte, most)
	}
	packed := s2.EncodeBetter(scratch[:cap(scratch)], raw[recordHeader:recordHeader+n])
	if 4+len(packed) > n-n/16 {
		return append(dst, raw...), scratch
	}
	start := len(dst)
	dst = append(dst, raw[:recordHeader]...)
	dst[start+9] |= formCompressed
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(packed)))
	dst = append(dst, packed...)
	return finishRecord(dst, start), scratch
}

// unpack returns the size bytes of a compressed payload, in scratch, which it makes longer if need be.
func unpack(payload []byte, size int, scratch []byte) (b, grown []byte, err error) {
	if len(payload) < 4 {
		return nil, scratch, fmt.Errorf("%w: a compressed payload of %d bytes", ErrCorrupt, len(payload))
	}
	n := binary.LittleEndian.Uint32(payload)
	if uint64(n) > uint64(len(payload)-4) {
		return nil, scratch, fmt.Errorf("%w: a compressed payload runs past the end of its record", ErrCorrupt)
	}
	payload = payload[4 : 4+n]
	if got, err := s2.DecodedLen(payload); err != nil || got != size {
		return nil, scratch, fmt.Errorf("%w: a compressed payload is not of the %d bytes that its record says", ErrCorrupt, size)
	}
	if cap(scratch) < size {
		scratch = make([]byte, size)
	}
	b, err = s2.Decode(scratch[:size], payload)
	if err != nil {
		return nil, scratch, fmt.Errorf("%w: a compressed payload: %w", ErrCorrupt, err)
	}
	return b, scratch, nil
}
