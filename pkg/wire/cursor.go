package wire

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"hash/fnv"
	"math"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
)

// Cursor is what the next page of an answer needs to know of those before it. Clients hold it as an opaque token.
type Cursor struct {
	// Request is what RequestOf said of the request.
	Request uint64 `json:"r"`
	// Epoch names the set of logs, and AsOf the sequence that each shard is read as of.
	Epoch string         `json:"e"`
	AsOf  map[int]uint64 `json:"a"`
	// Given is how many hits there were so far, and Now the time that they were counted from, Unix nanoseconds.
	Given int   `json:"n,omitempty"`
	Now   int64 `json:"t,omitempty"`
	// Score, Time, Sequence and Space are those of the last one, as far as the order has to do with them.
	Score    uint32 `json:"s,omitempty"` // the bits of a float32
	Time     int64  `json:"o,omitempty"`
	Sequence uint64 `json:"q,omitempty"`
	Space    string `json:"p,omitempty"`
}

// maxCursor is longer than any token that Encode makes.
const maxCursor = 16 << 10

// Encode returns the token of a cursor.
func (c *Cursor) Encode() string {
	b, err := json.Marshal(c)
	if err != nil {
		return "" // it has nothing that JSON cannot hold
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

// DecodeCursor reads a token, and refuses one that Encode did not make of a page of the same request.
func DecodeCursor(token string, request uint64, epoch string) (*Cursor, *Error) {
	notOne := func() (*Cursor, *Error) {
		return nil, Errorf(CodeInvalidCursor, "cursor", "the cursor is not one; give back the next of an answer as it was")
	}
	if len(token) > maxCursor {
		return notOne()
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 4 || crc32.ChecksumIEEE(b[:len(b)-4]) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return notOne()
	}
	c := new(Cursor)
	if json.Unmarshal(b[:len(b)-4], c) != nil || c.Given < 0 || c.Given > event.MaxPaged || len(c.AsOf) > event.MaxShards ||
		math.IsNaN(float64(math.Float32frombits(c.Score))) {
		return notOne()
	}
	switch {
	case c.Request != request:
		return nil, Errorf(CodeInvalidCursor, "cursor", "the cursor is of another request than this one; all pages are asked for with the same, but for k, limit, include and deadline_ms")
	case c.Epoch != epoch:
		return nil, Errorf(CodeInvalidCursor, "cursor", "the cursor is of another set of logs than this one, %s", epoch)
	}
	return c, nil
}

// Position returns what the cursor reads a shard as of, empty where it does not read that one.
func (c *Cursor) Position(shard int) string {
	sequence, ok := c.AsOf[shard]
	if !ok {
		return ""
	}
	return event.Position{Epoch: c.Epoch, Shard: shard, Sequence: sequence}.String()
}

// RequestOf returns a number that is the same for requests whose pages belong together. What is embedded is left out: an
// embedder need not give the same bits twice.
func RequestOf(space string, req proto.Message) uint64 {
	c := proto.Clone(req)
	switch r := c.(type) {
	case *api.RecallRequest:
		r.Space, r.K, r.Cursor, r.DeadlineMs, r.AtLeast, r.Include, r.Paged, r.AsOf = "", nil, "", 0, "", nil, false, ""
		r.Embedding, r.Text = nil, ""
	case *api.ListRequest:
		r.Space, r.Limit, r.Cursor, r.DeadlineMs, r.AtLeast, r.Include, r.AsOf = "", nil, "", 0, "", nil, ""
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return 0 // what was decoded can be encoded
	}
	h := fnv.New64a()
	_, _ = h.Write(append(append([]byte(space), 0), b...)) // a hash takes everything
	return h.Sum64()
}
