package bus

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

const (
	// HedgeAfter is how long Ask should wait for an answer that is usually there in milliseconds.
	HedgeAfter = 300 * time.Millisecond
	// nobodyFor is for how long nobody may be there, and half the patience: whoever serves a subject is restarted in less, or is not
	// there at all.
	nobodyFor = time.Second
	// askPause is between a refusal and the next try.
	askPause = 50 * time.Millisecond
)

// Asking is how Ask asks.
type Asking struct {
	// Hedge is how long it waits for an answer before it asks another time, and twice as long each time after that: who was asked
	// may have died with the request.
	Hedge time.Duration
	// Patience is for how long a refusal as unavailable is tried again.
	Patience time.Duration
}

// reply is what became of one try.
type reply struct {
	msg *nats.Msg
	err error
}

// Ask sends a request that changes nothing, so that it may be answered more than once, and returns the first answer that is one. Where
// none comes it asks again, while it goes on listening for the first: whoever of a queue group was asked may have died, and the server
// gives the next request to another. A refusal as unavailable is tried again for as long as the patience, and that nobody is there for
// a second of it; then it is what Ask returns, as it is where the context ends before. The error is nats.ErrNoResponders, the context's, or of
// the connection.
func Ask(ctx context.Context, nc *nats.Conn, m *nats.Msg, how Asking) (*nats.Msg, error) {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	replies := make(chan reply, 1)
	asked := 0
	var last reply
	ask := func() {
		asked++
		again := &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}
		all.Go(func() {
			msg, err := nc.RequestMsgWithContext(ctx, again)
			select {
			case replies <- reply{msg, err}:
			case <-ctx.Done():
			}
		})
	}
	ask()
	wait := how.Hedge
	hedge := time.NewTimer(wait)
	defer hedge.Stop()
	for {
		select {
		case <-ctx.Done():
			if last == (reply{}) {
				last.err = ctx.Err()
			}
			return last.msg, last.err
		case <-hedge.C:
			ask()
			wait *= 2
			hedge.Reset(wait)
		case r := <-replies:
			asked--
			if ctx.Err() != nil {
				continue // said above
			}
			if asked > 0 && refused(r) {
				last = r
				continue // another one was asked as well, and may do it
			}
			if !passing(r, time.Since(began), how.Patience) {
				return r.msg, r.err
			}
			last = r
			hedge.Reset(askPause)
			wait = how.Hedge / 2
		}
	}
}

// refused tells whether a reply is no answer, but says that there is none here or now.
func refused(r reply) bool {
	if r.err != nil {
		return errors.Is(r.err, nats.ErrNoResponders)
	}
	switch r.msg.Header.Get(micro.ErrorCodeHeader) {
	case crowded, unavailable, late:
		return true
	}
	return false
}

// passing tells whether a reply is a refusal that may pass when it is tried again.
func passing(r reply, after, patience time.Duration) bool {
	if r.err != nil {
		return errors.Is(r.err, nats.ErrNoResponders) && after < min(patience/2, nobodyFor)
	}
	return r.msg.Header.Get(micro.ErrorCodeHeader) == unavailable && after < patience
}

// The codes of wire.CodeBackpressure, CodeUnavailable and CodeDeadline in the headers of an answer.
var (
	crowded     = strconv.Itoa(http.StatusTooManyRequests)
	unavailable = strconv.Itoa(http.StatusServiceUnavailable)
	late        = strconv.Itoa(http.StatusGatewayTimeout)
)
