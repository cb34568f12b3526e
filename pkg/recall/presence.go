package recall

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/engram-memory/engram/pkg/wire"
)

// presence knows which shards have a worker. A forwarded request carries the client's own reply subject, and the server
// tells only the one who publishes that nobody listens: without this a client would wait for its timeout.
type presence struct {
	conn *nats.Conn
	// seen is when a worker of each shard last answered, in Unix nanoseconds.
	seen []atomic.Int64
}

const (
	// presentFor is how long an answer counts: one request of a shard in this time waits for a round trip more.
	presentFor = time.Second
	// pingTimeout bounds that round trip. A worker that is there and slow is not taken for one that is gone.
	pingTimeout = 500 * time.Millisecond
)

func newPresence(conn *nats.Conn, shards int) *presence {
	return &presence{conn: conn, seen: make([]atomic.Int64, shards)}
}

// check returns the refusal of a request to a shard that no worker holds.
func (p *presence) check(ctx context.Context, shard int) *wire.Error {
	now := time.Now().UnixNano()
	if now-p.seen[shard].Load() < int64(presentFor) {
		return nil
	}
	subject, err := micro.ControlSubject(micro.PingVerb, "engram-shard-"+strconv.Itoa(shard), "")
	if err != nil {
		return wire.Errorf(wire.CodeInternal, "", "naming the service of shard %d: %v", shard, err)
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	switch _, err := p.conn.RequestWithContext(ctx, subject, nil); {
	case errors.Is(err, nats.ErrNoResponders):
		return wire.Errorf(wire.CodeUnavailable, "", "no worker holds shard %d at this moment; send the request again", shard)
	case err == nil:
		p.seen[shard].Store(now)
	}
	return nil
}
