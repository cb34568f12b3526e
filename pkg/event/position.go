package event

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrPosition is wrapped by every refusal of a position's text.
var ErrPosition = errors.New("malformed position")

// Position names one message of one shard's log. Its text, `<epoch>.<shard>:<stream sequence>`, is opaque to clients.
type Position struct {
	// Epoch names the incarnation of the set of logs.
	Epoch string
	Shard int
	// Sequence is the stream sequence, from 1; 0 is the position before the first message.
	Sequence uint64
}

// String returns the token that ParsePosition reads.
func (p Position) String() string {
	b := make([]byte, 0, len(p.Epoch)+24)
	b = append(b, p.Epoch...)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(p.Shard), 10)
	b = append(b, ':')
	b = strconv.AppendUint(b, p.Sequence, 10)
	return string(b)
}

// ParsePosition reads a token that String wrote; errors wrap ErrPosition.
func ParsePosition(s string) (Position, error) {
	bad := func() (Position, error) {
		return Position{}, fmt.Errorf("%w %q: want <epoch>.<shard>:<sequence>, as an acknowledgement returned it", ErrPosition, s)
	}
	epoch, rest, ok := strings.Cut(s, ".")
	if !ok || epoch == "" || len(epoch) > 64 {
		return bad()
	}
	shardText, seqText, ok := strings.Cut(rest, ":")
	if !ok {
		return bad()
	}
	shard, err := strconv.ParseUint(shardText, 10, 16)
	if err != nil || shard >= MaxShards {
		return bad()
	}
	seq, err := strconv.ParseUint(seqText, 10, 64)
	if err != nil {
		return bad()
	}
	return Position{Epoch: epoch, Shard: int(shard), Sequence: seq}, nil
}
