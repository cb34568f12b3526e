// Package client is what a Go program imports to observe and to recall. It speaks protobuf over NATS request-reply.
package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nuid"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/wire"
)

// Client asks an Engram. It may be used by any number of goroutines.
type Client struct {
	nc    *nats.Conn
	owned bool // the connection ends with the client

	mu        sync.Mutex
	producers map[*Producer]struct{}
}

// New returns a client on a connection, which must stay open for as long as the client is used: Close leaves it open.
func New(nc *nats.Conn) *Client { return &Client{nc: nc, producers: map[*Producer]struct{}{}} }

// Connect returns a client on a connection of its own, which Close closes. It reconnects for as long as it is open, unless
// the options say otherwise.
func Connect(url string, opts ...nats.Option) (*Client, error) {
	nc, err := nats.Connect(url, append([]nats.Option{nats.Name("engram-client"), nats.MaxReconnects(-1)}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS at %s: %w", url, err)
	}
	c := New(nc)
	c.owned = true
	return c, nil
}

// Close closes the client's producers, see [Producer.Close], and the connection if it is the client's own.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	producers := slices.Collect(maps.Keys(c.producers))
	c.mu.Unlock()
	errs := make([]error, len(producers))
	var all sync.WaitGroup
	for i, p := range producers {
		all.Go(func() { errs[i] = p.Close(ctx) })
	}
	all.Wait()
	if c.owned {
		c.nc.Close()
	}
	return errors.Join(errs...)
}

// MaxUncertainty is half the duplicate window of the log: for so long a write may be sent again safely.
const MaxUncertainty = 2 * time.Minute

// DefaultTimeout bounds a request whose context has no deadline.
const DefaultTimeout = 10 * time.Second

// Observe sends the observations of one request and returns when they are durable, or searchable where the request
// says so. The error is an *wire.Error; where only some of several observations failed it is nil, and their results say
// so.
func (c *Client) Observe(ctx context.Context, space string, req *api.ObserveRequest) (*api.ObserveResponse, error) {
	resp := new(api.ObserveResponse)
	return resp, c.callSpace(ctx, space, bus.ObserveSubject, req, resp)
}

// ObserveRetrying is Observe, sent again under the same idempotency key, which it mints where there is none, until it
// is neither refused for backpressure or a rate of its space's quota nor unanswered, or ctx ends. A write whose outcome is
// unknown is given up after MaxUncertainty: later the log might not know it again. refused, which may be nil, is called for
// each refusal.
func (c *Client) ObserveRetrying(ctx context.Context, space string, req *api.ObserveRequest, refused func(*wire.Error)) (*api.ObserveResponse, error) {
	if req.GetIdempotencyKey() == "" {
		req.IdempotencyKey = nuid.Next()
	}
	var uncertain time.Time // when an outcome first was unknown
	for {
		// A gateway that dies does not answer: without a bound of its own that try would take all the time there is.
		try, cancel := context.WithTimeout(ctx, tryTimeout(req.GetDeadlineMs()))
		resp, err := c.Observe(try, space, req)
		cancel()
		var e *wire.Error
		if err == nil || !errors.As(err, &e) {
			return resp, err
		}
		if !transient(e.Code) {
			return resp, err
		}
		if refused != nil {
			refused(e)
		}
		if !refusedForNow(e.Code) && uncertain.IsZero() {
			uncertain = time.Now()
		}
		if !uncertain.IsZero() && time.Since(uncertain) > MaxUncertainty {
			return resp, err
		}
		wait := e.RetryAfter
		if wait == 0 {
			wait = 100 * time.Millisecond
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return resp, err
		case <-t.C:
		}
	}
}

// refusedForNow is true for the codes that say that nothing was written, and that the same request will be taken later.
func refusedForNow(c wire.Code) bool { return c == wire.CodeBackpressure || c == wire.CodeQuota }

// transient is true for what may pass when it is tried again.
func transient(c wire.Code) bool {
	switch c {
	case wire.CodeUnavailable, wire.CodeStorageFull, wire.CodeDeadline:
		return true
	}
	return refusedForNow(c)
}

// tryTimeout is how long a try waits for its answer: longer than a gateway that lives takes to give one.
func tryTimeout(deadlineMS uint32) time.Duration {
	if deadlineMS == 0 {
		return DefaultTimeout
	}
	return time.Duration(deadlineMS)*time.Millisecond + 500*time.Millisecond
}

// Recall returns the nearest observations of a space. It asks again where no answer comes, or nobody can answer at the moment,
// until the deadline of ctx, as Get, List, RecallMany and Spaces do; without a deadline for two seconds. The error is an *wire.Error.
func (c *Client) Recall(ctx context.Context, space string, req *api.RecallRequest) (*api.RecallResponse, error) {
	resp := new(api.RecallResponse)
	return resp, c.readSpace(ctx, space, bus.RecallSubject, req, resp)
}

// Get returns the observations of these ids that are there. The error is an *wire.Error.
func (c *Client) Get(ctx context.Context, space string, req *api.GetRequest) (*api.GetResponse, error) {
	resp := new(api.GetResponse)
	return resp, c.readSpace(ctx, space, bus.GetSubject, req, resp)
}

// List returns the newest observations. The error is an *wire.Error.
func (c *Client) List(ctx context.Context, space string, req *api.ListRequest) (*api.ListResponse, error) {
	resp := new(api.ListResponse)
	return resp, c.readSpace(ctx, space, bus.ListSubject, req, resp)
}

// Forget removes observations, or a space. The error is an *wire.Error.
func (c *Client) Forget(ctx context.Context, space string, req *api.ForgetRequest) (*api.ForgetResponse, error) {
	resp := new(api.ForgetResponse)
	return resp, c.callSpace(ctx, space, bus.ForgetSubject, req, resp)
}

// Define makes a space before its first observation. The same definition again is no error; one that differs from what
// is there is a conflict, about the first field that does. The error is an *wire.Error.
func (c *Client) Define(ctx context.Context, space string, req *api.DefineRequest) (*api.DefineResponse, error) {
	resp := new(api.DefineResponse)
	return resp, c.callSpace(ctx, space, bus.DefineSubject, req, resp)
}

// Compact has all copies of a space reclaim what nobody can read any more. It takes as long as that takes: a context
// without a deadline waits for what the request allows. The error is an *wire.Error; where only some of several copies
// failed it is nil, and their results say so.
func (c *Client) Compact(ctx context.Context, space string, req *api.CompactRequest) (*api.CompactResponse, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wire.CompactLimit(req)+DefaultTimeout)
		defer cancel()
	}
	resp := new(api.CompactResponse)
	return resp, c.callSpace(ctx, space, bus.CompactSubject, req, resp)
}

// RecallMany recalls from several spaces, which the request names by spaces or prefix, and returns the best of them all. The
// error is an *wire.Error; where only some of the spaces failed it is nil, and the answer says which, and why.
func (c *Client) RecallMany(ctx context.Context, req *api.RecallRequest) (*api.RecallResponse, error) {
	resp := new(api.RecallResponse)
	return resp, c.read(ctx, bus.RecallManySubject, req, resp)
}

// Prove erases what was forgotten from the log and from every copy of the store, and looks for it there. It takes as long as
// the youngest of it is younger than the duplicate window of the log: a context without a deadline waits for what the request
// allows. The error is an *wire.Error; what was found, or could not be looked at, is in the answer.
func (c *Client) Prove(ctx context.Context, space string, req *api.ProveRequest) (*api.ProveResponse, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wire.ProveLimit(req)+DefaultTimeout)
		defer cancel()
	}
	resp := new(api.ProveResponse)
	return resp, c.callSpace(ctx, space, bus.ProveSubject, req, resp)
}

// Drain has a worker give up its shards, or take shards again, and returns how many it holds then. Heartbeats tell how far it is.
// The error is an *wire.Error.
func (c *Client) Drain(ctx context.Context, worker string, cancel bool) (held int, err error) {
	resp := new(api.DrainResponse)
	err = c.call(ctx, bus.DrainSubject(worker), &api.DrainRequest{Cancel: cancel}, resp)
	return int(resp.GetShards()), err
}

// Spaces returns one space, or all for the empty name. The error is an *wire.Error.
func (c *Client) Spaces(ctx context.Context, only string) (*api.SpacesResponse, error) {
	resp := new(api.SpacesResponse)
	return resp, c.read(ctx, bus.SpacesSubject, &api.SpacesRequest{Space: only}, resp)
}

// callSpace refuses what is no name before it becomes part of a subject, where it could name something else.
func (c *Client) callSpace(ctx context.Context, space string, subject func(string) string, req, resp proto.Message) error {
	if err := wire.CheckSpace(space); err != nil {
		return err
	}
	return c.call(ctx, subject(space), req, resp)
}

// readSpace is callSpace for what changes nothing.
func (c *Client) readSpace(ctx context.Context, space string, subject func(string) string, req, resp proto.Message) error {
	if err := wire.CheckSpace(space); err != nil {
		return err
	}
	return c.read(ctx, subject(space), req, resp)
}

// defaultPatience is for how long what cannot be answered at the moment is asked again, where the caller's context does not say.
const defaultPatience = 2 * time.Second

func (c *Client) read(ctx context.Context, subject string, req, resp proto.Message) error {
	patience := defaultPatience
	if deadline, ok := ctx.Deadline(); ok {
		patience = time.Until(deadline)
	}
	return c.exchange(ctx, subject, req, resp, func(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
		return bus.Ask(ctx, c.nc, m, bus.Asking{Hedge: bus.HedgeAfter, Patience: patience})
	})
}

func (c *Client) call(ctx context.Context, subject string, req, resp proto.Message) error {
	return c.exchange(ctx, subject, req, resp, c.nc.RequestMsgWithContext)
}

// exchange sends a request in the way given and reads its answer.
func (c *Client) exchange(ctx context.Context, subject string, req, resp proto.Message, send func(context.Context, *nats.Msg) (*nats.Msg, error)) error {
	body, err := proto.Marshal(req)
	if err != nil {
		return wire.Errorf(wire.CodeMalformed, "", "the request is not UTF-8 throughout")
	}
	if int64(len(body)) > c.nc.MaxPayload() {
		return wire.Errorf(wire.CodeTooLarge, "", "the request has %d bytes, and a NATS message can have %d; send fewer observations at once",
			len(body), c.nc.MaxPayload())
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	m, err := send(ctx, &nats.Msg{
		Subject: subject, Data: body, Header: nats.Header{bus.HeaderContentType: {wire.TypeProtobuf}},
	})
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return &nobodyError{wire.Errorf(wire.CodeUnavailable, "", "nobody answers on %s; is Engram running on this NATS?", subject)}
	case err != nil && ctx.Err() != nil:
		return wire.Errorf(wire.CodeDeadline, "", "there was no answer on %s in time", subject)
	case err != nil:
		return wire.Errorf(wire.CodeUnavailable, "", "asking on %s: %v", subject, err)
	}
	if m.Header.Get(micro.ErrorCodeHeader) != "" {
		return wire.DecodeError(wire.Protobuf, m.Data)
	}
	if err := proto.Unmarshal(m.Data, resp); err != nil {
		return fmt.Errorf("reading the answer on %s: %w", subject, err)
	}
	return nil
}

// nobodyError says that a request reached nobody.
type nobodyError struct{ e *wire.Error }

func (e *nobodyError) Error() string   { return e.e.Error() }
func (e *nobodyError) Unwrap() []error { return []error{e.e, nats.ErrNoResponders} }
