package rows

import (
	"encoding/binary"
	"fmt"

	"github.com/minio/highwayhash"
)

// Beside each segment stands its index, rows-<id>.idx: a header, and entries of the same size back to back.
// docs/format/rowindex.md says it at length.
//
//	header, 56 bytes
//	  0   8  magic "ENGRIDX\n"
//	  8   4  version, 1
//	 12   4  file id
//	 16  16  hash of the header of the segment, with the key of the hash of ids
//	 32  20  zero
//	 52   4  CRC-32C of bytes 0..52
//
//	entry, 56 bytes
//	  0   4  CRC-32C of bytes 4..56
//	  4   1  kind, as in the record
//	  5   1  encoding of the vector
//	  6   1  1 in the first entry of a record, else 0
//	  7   1  zero
//	  8   4  space number
//	 12   4  bytes of the vector (observe); ids that follow in the same record (forget); else 0
//	 16   8  sequence
//	 24   8  expiry (observe), else 0
//	 32   8  ref of the record: file id, offset/8, length/8, in 20, 26 and 18 bits from the top
//	 40  16  hash of the id (observe, forget); file id and offset that the checkpoint vouches for; else 0
const (
	indexMagic   = "ENGRIDX\n"
	indexVersion = 1
	indexEntry   = 56
)

func indexName(id uint32) string { return fmt.Sprintf("rows-%08d.idx", id) }

// appendIndexHeader makes the header of the index of the segment with this header.
func appendIndexHeader(dst []byte, id uint32, segment []byte, key *HashKey) []byte {
	start := len(dst)
	sum := highwayhash.Sum128(segment, key[:])
	dst = append(dst, indexMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, indexVersion)
	dst = binary.LittleEndian.AppendUint32(dst, id)
	dst = append(dst, sum[:]...)
	dst = append(dst, make([]byte, start+indexEntry-4-len(dst))...)
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[start:]))
}

func appendEntry(dst []byte, e *Entry) []byte {
	start := len(dst)
	first := byte(0)
	if e.first {
		first = 1
	}
	dst = append(dst, 0, 0, 0, 0, byte(e.Kind), byte(e.Encoding), first, 0)
	dst = binary.LittleEndian.AppendUint32(dst, e.Space)
	dst = binary.LittleEndian.AppendUint32(dst, e.Size)
	dst = binary.LittleEndian.AppendUint64(dst, e.Sequence)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Expires))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Ref))
	dst = binary.LittleEndian.AppendUint64(dst, e.Key[0])
	dst = binary.LittleEndian.AppendUint64(dst, e.Key[1])
	binary.LittleEndian.PutUint32(dst[start:], checksum(dst[start+4:]))
	return dst
}

// parseEntry decodes an entry and tells whether its checksum is right.
func parseEntry(b []byte, e *Entry) bool {
	b = b[:indexEntry]
	e.Kind, e.Encoding, e.first = Kind(b[4]), Encoding(b[5]), b[6] == 1
	e.Space = binary.LittleEndian.Uint32(b[8:])
	e.Size = binary.LittleEndian.Uint32(b[12:])
	e.Sequence = binary.LittleEndian.Uint64(b[16:])
	e.Expires = int64(binary.LittleEndian.Uint64(b[24:]))
	e.Ref = Ref(binary.LittleEndian.Uint64(b[32:]))
	e.Key = Key{binary.LittleEndian.Uint64(b[40:]), binary.LittleEndian.Uint64(b[48:])}
	return checksum(b[4:]) == binary.LittleEndian.Uint32(b)
}

// entries calls visit with each entry of a record that parseRecord has taken, which stands at a ref. The entry is e, used
// again for each of them.
func (h *HashKey) entries(r *Record, at Ref, e *Entry, visit func() error) error {
	*e = Entry{Kind: r.Kind, Encoding: r.Encoding, first: true, Space: r.Space, Sequence: r.Sequence, Expires: r.Expires, Ref: at}
	switch r.Kind {
	case KindObserve:
		e.Size, e.Key = uint32(len(r.Vector)), h.key(r.ID)
	case KindCheckpoint:
		p := parseCheckpoint(r.Body)
		e.Key = Key{uint64(p.file), uint64(p.offset)}
	case KindForget:
		n, err := countIDs(r.Body)
		if err != nil {
			return err
		}
		for rest := r.Body; n > 0; n-- {
			var id []byte
			if id, rest, err = cutString(rest); err != nil {
				return err
			}
			e.Size, e.Key = uint32(n-1), h.key(id)
			if err := visit(); err != nil {
				return err
			}
			e.first = false
		}
		return nil
	}
	return visit()
}
