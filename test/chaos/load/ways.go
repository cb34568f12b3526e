package load

import (
	"context"
	"errors"
	"net/http"
	"time"

	"connectrpc.com/connect"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/api/engram/v1/engramv1connect"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/wire"
)

// Endpoints are the addresses of an Engram, as clients outside of it have them.
type Endpoints struct {
	// NATS has clients on connections of their own, at least one. Whoever made them closes them.
	NATS []*client.Client
	// Gateways and Recalls are the HTTP addresses of all ingest-gateways and recall-apis, such as http://127.0.0.1:8080.
	Gateways, Recalls []string
	// Token is sent with each request over HTTP; empty for none.
	Token string
}

// authorized sends a token with each request.
type authorized struct {
	next  http.RoundTripper
	token string
}

func (a *authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	return a.next.RoundTrip(r)
}

// caller is one way to ask: over NATS, or over the HTTP port of one daemon.
type caller interface {
	Observe(ctx context.Context, space string, req *api.ObserveRequest) (*api.ObserveResponse, error)
	Forget(ctx context.Context, space string, req *api.ForgetRequest) (*api.ForgetResponse, error)
	Recall(ctx context.Context, space string, req *api.RecallRequest) (*api.RecallResponse, error)
	Get(ctx context.Context, space string, req *api.GetRequest) (*api.GetResponse, error)
	List(ctx context.Context, space string, req *api.ListRequest) (*api.ListResponse, error)
}

// ways are the callers of both transports. A client that gets no answer goes on to the next caller of its transport.
type ways struct {
	nats, http []caller
	grpc       []engramv1connect.IngestServiceClient // of the gateways, for streams
}

func newWays(e Endpoints) *ways {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	// HTTP/1.1 for requests: a dead peer then takes one of them with it, and not all that share a connection.
	web := &http.Client{Transport: &authorized{&http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 10 * time.Second}, e.Token}}
	streams := &http.Client{Transport: &authorized{&http.Transport{Protocols: protocols}, e.Token}}
	w := &ways{}
	for _, c := range e.NATS {
		w.nats = append(w.nats, c)
	}
	for i := range max(len(e.Gateways), len(e.Recalls)) {
		g, r := e.Gateways[i%len(e.Gateways)], e.Recalls[i%len(e.Recalls)]
		w.http = append(w.http, &webCaller{
			ingest: engramv1connect.NewIngestServiceClient(web, g), recall: engramv1connect.NewRecallServiceClient(web, r),
		})
	}
	for _, g := range e.Gateways {
		w.grpc = append(w.grpc, engramv1connect.NewIngestServiceClient(streams, g, connect.WithGRPC()))
	}
	return w
}

// transport has the callers of the one or the other, and its name.
func (w *ways) transport(overHTTP bool) ([]caller, string) {
	if overHTTP {
		return w.http, "HTTP"
	}
	return w.nats, "NATS"
}

// webCaller speaks Connect to one ingest-gateway and one recall-api.
type webCaller struct {
	ingest engramv1connect.IngestServiceClient
	recall engramv1connect.RecallServiceClient
}

func (c *webCaller) Observe(ctx context.Context, space string, req *api.ObserveRequest) (*api.ObserveResponse, error) {
	req.Space = space
	return unary(ctx, c.ingest.Observe, req)
}

func (c *webCaller) Forget(ctx context.Context, space string, req *api.ForgetRequest) (*api.ForgetResponse, error) {
	req.Space = space
	return unary(ctx, c.ingest.Forget, req)
}

func (c *webCaller) Recall(ctx context.Context, space string, req *api.RecallRequest) (*api.RecallResponse, error) {
	req.Space = space
	return unary(ctx, c.recall.Recall, req)
}

func (c *webCaller) Get(ctx context.Context, space string, req *api.GetRequest) (*api.GetResponse, error) {
	req.Space = space
	return unary(ctx, c.recall.Get, req)
}

func (c *webCaller) List(ctx context.Context, space string, req *api.ListRequest) (*api.ListResponse, error) {
	req.Space = space
	return unary(ctx, c.recall.List, req)
}

// unary calls a method; its error is an *wire.Error.
func unary[Q, A any](ctx context.Context, method func(context.Context, *connect.Request[Q]) (*connect.Response[A], error), req *Q) (*A, error) {
	resp, err := method(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, contractError(ctx, err)
	}
	return resp.Msg, nil
}

// contractError is the Error of the contract that an error of Connect carries, or, where the daemon did not answer, what the
// client itself knows.
func contractError(ctx context.Context, err error) *wire.Error {
	var e *connect.Error
	if errors.As(err, &e) {
		for _, d := range e.Details() {
			if v, derr := d.Value(); derr == nil {
				if told, ok := v.(*api.Error); ok {
					return wire.FromProto(told)
				}
			}
		}
	}
	if ctx.Err() != nil {
		return wire.Errorf(wire.CodeDeadline, "", "there was no answer in time: %v", err)
	}
	return wire.Errorf(wire.CodeUnavailable, "", "%v", err)
}

// passes tells what may succeed when it is tried again.
func passes(e *wire.Error) bool {
	switch e.Code {
	case wire.CodeUnavailable, wire.CodeDeadline, wire.CodeBackpressure, wire.CodeStorageFull, wire.CodeInternal:
		return true
	}
	return false
}

// nothingWritten tells of the error of a write that the log has nothing of it, see docs/wire.md.
func nothingWritten(e *wire.Error) bool {
	s := e.Status()
	return s < http.StatusInternalServerError && e.Code != wire.CodeConflict || s == http.StatusInsufficientStorage
}

// attempt asks one caller after the other, each for a bounded time, until one answers or the time within is over. It returns
// the last error, and with wrote whether any try may have written.
func attempt(ctx context.Context, callers []caller, first int, within, try time.Duration, ask func(context.Context, caller) error) (wrote bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for i := first; ; i++ {
		limited, done := context.WithTimeout(ctx, try)
		err = ask(limited, callers[i%len(callers)])
		done()
		if err == nil {
			return true, nil
		}
		e := wire.AsError(err)
		wrote = wrote || !nothingWritten(e)
		if !passes(e) {
			return wrote, err
		}
		if Pause(ctx, min(max(e.RetryAfter, 20*time.Millisecond), time.Second)) != nil {
			return wrote, err
		}
	}
}

// Pause waits, and returns the error of a context that ends first.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
