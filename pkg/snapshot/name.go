package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// The blobs of one incarnation of the log of a shard have one prefix, <epoch>/<shard>/<creation time of the stream>/:
//
//	snapshot-<position>-<time>.json    a manifest; 20 digits each, so that the order of names is that of positions
//	chunk-<sha256>                     a piece of a segment
//	lock-<worker>.json                 who takes a snapshot just now
const (
	manifestPrefix = "snapshot-"
	manifestSuffix = ".json"
	chunkPrefix    = "chunk-"
	lockPrefix     = "lock-"
)

// prefixOf returns the prefix of the blobs of a shard.
func prefixOf(src vecstore.Source) string {
	return fmt.Sprintf("%s/%d/%d/", src.Epoch, src.Shard, src.CreatedAt)
}

// ID names a snapshot of a shard among those of the same log.
type ID struct {
	Position uint64
	Taken    time.Time
}

// String returns the text that ParseID reads, <position>-<Unix nanoseconds>.
func (id ID) String() string { return fmt.Sprintf("%020d-%020d", id.Position, id.Taken.UnixNano()) }

// ParseID reads an ID.
func ParseID(text string) (ID, error) {
	position, taken, ok := strings.Cut(text, "-")
	p, perr := strconv.ParseUint(position, 10, 64)
	t, terr := strconv.ParseInt(taken, 10, 64)
	id := ID{Position: p, Taken: time.Unix(0, t).UTC()}
	if !ok || perr != nil || terr != nil || id.String() != text {
		return ID{}, fmt.Errorf("%q is no snapshot: one is <position>-<time>, 20 digits each, as engram snapshot list prints them", text)
	}
	return id, nil
}

func manifestName(src vecstore.Source, id ID) string {
	return prefixOf(src) + manifestPrefix + id.String() + manifestSuffix
}

// parseName returns what the name of a manifest says; false for any other blob.
func parseName(name string) (src vecstore.Source, id ID, ok bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 4 {
		return src, id, false
	}
	text, ok := strings.CutPrefix(parts[3], manifestPrefix)
	if !ok {
		return src, id, false
	}
	if text, ok = strings.CutSuffix(text, manifestSuffix); !ok {
		return src, id, false
	}
	id, err := ParseID(text)
	if err != nil {
		return src, id, false
	}
	shard, err := strconv.ParseUint(parts[1], 10, 32)
	if err != nil {
		return src, id, false
	}
	created, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil {
		return src, id, false
	}
	src = vecstore.Source{Epoch: parts[0], Shard: uint32(shard), CreatedAt: created}
	return src, id, manifestName(src, id) == name
}

// Sum is the SHA-256 of a chunk.
type Sum [sha256.Size]byte

func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// MarshalText returns 64 hexadecimal digits.
func (s Sum) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText reads what MarshalText returns.
func (s *Sum) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(s)) || strings.ToLower(string(text)) != string(text) {
		return fmt.Errorf("%q is no SHA-256 of 64 hexadecimal digits", text)
	}
	_, err := hex.Decode(s[:], text)
	return err
}

func chunkName(src vecstore.Source, sum Sum) string {
	return prefixOf(src) + chunkPrefix + sum.String()
}

// chunkOf returns the hash in the name of a chunk; false for any other blob.
func chunkOf(name string) (sum Sum, ok bool) {
	text, ok := strings.CutPrefix(name[strings.LastIndexByte(name, '/')+1:], chunkPrefix)
	ok = ok && sum.UnmarshalText([]byte(text)) == nil
	return sum, ok
}
