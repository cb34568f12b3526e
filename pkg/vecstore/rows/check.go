package rows

import (
	"encoding/binary"
	"fmt"
)

// checkpointMagic begins the body of a checkpoint, so that one can be found in a damaged file.
const (
	checkpointMagic = "\x89EngramCheckpt\r\n"
	checkpointBody  = 16 + 16
	// checkpointLength is the size of a checkpoint record.
	checkpointLength = recordHeader + checkpointBody
)

// place is a place in the log. A checkpoint has one in its body: everything before it was on the disk when the checkpoint
// was written.
type place struct {
	file   uint32
	offset int64
}

func appendCheckpoint(dst []byte, p place) []byte {
	dst = append(dst, checkpointMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, p.file)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	return binary.LittleEndian.AppendUint64(dst, uint64(p.offset))
}

// parseCheckpoint reads the body of a checkpoint that wrong has looked at.
func parseCheckpoint(body []byte) place {
	b := body[len(checkpointMagic):]
	return place{file: binary.LittleEndian.Uint32(b), offset: int64(binary.LittleEndian.Uint64(b[8:]))}
}

// wrong says what is wrong with a record that has its right checksum; an empty string when nothing is. What the numbers of
// spaces and the definitions mean is not looked at.
func (r *Record) wrong(form byte) string {
	switch {
	case form&^(formEncoding|formCompressed) != 0 || r.Encoding > I8:
		return fmt.Sprintf("a record of the unknown form %#x", form)
	case r.Kind < KindDefine || r.Kind > KindCheckpoint:
		return fmt.Sprintf("a record of unknown kind %d", r.Kind)
	case (r.Space == 0) != (r.Kind == KindCheckpoint):
		return fmt.Sprintf("a record of kind %d and space %d", r.Kind, r.Space)
	case r.Kind == KindObserve:
		if !r.Encoding.holds(len(r.Vector)) {
			return fmt.Sprintf("a vector of encoding %d and %d bytes", r.Encoding, len(r.Vector))
		}
		return ""
	case r.Encoding != F32 || len(r.Vector) > 0 || len(r.ID) > 0 || r.Expires != 0:
		return fmt.Sprintf("a record of kind %d with the parts of an observe", r.Kind)
	case r.Kind == KindForget:
		if n, err := countIDs(r.Body); err != nil {
			return "the ids of a forget run past its end"
		} else if n == 0 {
			return "a forget of nothing"
		}
	case r.Kind == KindDrop && len(r.Body) > 0:
		return "a drop with a body"
	case r.Kind == KindCheckpoint && (len(r.Body) != checkpointBody || string(r.Body[:len(checkpointMagic)]) != checkpointMagic):
		return "a checkpoint without its magic"
	}
	return ""
}

func countIDs(b []byte) (n int, err error) {
	for len(b) > 0 {
		if _, b, err = cutString(b); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}
