package recall

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/embed"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/registry"
	"github.com/engram-memory/engram/pkg/wire"
)

// Options are what a Router works with. All are required but Latency.
type Options struct {
	Conn      *nats.Conn
	Topology  bus.Topology
	Registry  *registry.Registry
	Embedders *embed.Set
	Logger    zerolog.Logger
	Version   string
	// Latency observes the seconds of each recall over HTTP, if it is set. Answers over NATS do not pass here. A worker
	// observes every recall, so in a process that has one it is left out.
	Latency prometheus.Observer
}

// Router finds the shard of a request. Its methods may be called concurrently.
type Router struct{ Options }

// New returns a router.
func New(opt Options) *Router { return &Router{opt} }

// lookupTimeout bounds the question to the bucket for a space that is not known here.
const lookupTimeout = 2 * time.Second

// Ready tells why no recall can be answered, nil when they can.
func (r *Router) Ready() error {
	if !r.Conn.IsConnected() {
		return errors.New("NATS is not connected")
	}
	return nil
}

// routed is a request that is ready for its shard.
type routed struct {
	space string
	shard int
	verb  string
	body  []byte
	f     wire.Format
}

// message returns the request to the shard.
func (q *routed) message(reply string) *nats.Msg {
	return &nats.Msg{
		Subject: bus.ShardSubject(q.shard, q.verb), Reply: reply, Data: q.body,
		Header: nats.Header{bus.HeaderSpace: {q.space}, bus.HeaderContentType: {q.f.ContentType()}},
	}
}

// entry returns the definition of a space, or the 404 of one that is not there.
func (r *Router) entry(ctx context.Context, space string) (*registry.Entry, *wire.Error) {
	if err := wire.CheckSpace(space); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	e, err := r.Registry.Lookup(ctx, space)
	if err != nil {
		return nil, wire.Errorf(wire.CodeUnavailable, "", "NATS did not answer: %v; send the request again", err)
	}
	if !e.Living() {
		return nil, wire.UnknownSpace(space)
	}
	return e, nil
}

// route checks a request and prepares it for its shard. Only a recall by text changes on the way: it gets its embedding.
func (r *Router) route(ctx context.Context, verb, space string, f wire.Format, body []byte) (*routed, *wire.Error) {
	e, err := r.entry(ctx, space)
	if err != nil && err.Code == wire.CodeUnknownSpace && atLeast(verb, f, body) != "" {
		e, err = r.awaitEntry(ctx, space)
	}
	if err != nil {
		return nil, err
	}
	q := &routed{space: space, shard: event.ShardOf(space, r.Topology.Shards), verb: verb, body: body, f: f}
	named := ""
	switch verb {
	case bus.VerbRecall:
		var req *api.RecallRequest
		if req, err = wire.DecodeRecall(f, body); err == nil {
			err = wire.CheckRecall(req)
		}
		if err == nil {
			err = wire.CheckOneSpace(req)
		}
		if err == nil && req.GetText() != "" {
			q.body, err = r.embed(ctx, e, f, req)
		}
		named = req.GetSpace()
	case bus.VerbGet:
		var req *api.GetRequest
		req, err = wire.DecodeGet(f, body)
		named = req.GetSpace()
	case bus.VerbList:
		var req *api.ListRequest
		req, err = wire.DecodeList(f, body)
		named = req.GetSpace()
	}
	if err == nil {
		err = auth.Require(ctx, auth.Recall, named)
	}
	if err == nil && named != "" && named != space {
		err = wire.Errorf(wire.CodeInvalidSpace, "space", "the body says space %q, the request space %q", named, space)
	}
	return q, err
}

// newsTime is how long a definition may be on its way here.
const newsTime = 2 * time.Second

// awaitEntry is entry for a space that somebody has a position of: it is there, or was, though a server of the cluster may not have
// heard of it yet.
func (r *Router) awaitEntry(ctx context.Context, space string) (e *registry.Entry, err *wire.Error) {
	ctx, cancel := context.WithTimeout(ctx, newsTime)
	defer cancel()
	look := time.NewTicker(newsTime / 40)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, wire.UnknownSpace(space)
		case <-look.C:
		}
		if e, err = r.entry(ctx, space); err == nil || err.Code != wire.CodeUnknownSpace && ctx.Err() == nil {
			return e, err
		}
	}
}

// atLeast returns the position that a request waits for, empty for none; of one that cannot be read nobody needs to know.
func atLeast(verb string, f wire.Format, body []byte) string {
	switch verb {
	case bus.VerbRecall:
		req, _ := wire.DecodeRecall(f, body)
		return req.GetAtLeast()
	case bus.VerbGet:
		req, _ := wire.DecodeGet(f, body)
		return req.GetAtLeast()
	case bus.VerbList:
		req, _ := wire.DecodeList(f, body)
		return req.GetAtLeast()
	}
	return ""
}

// embed replaces the text of a recall by its embedding.
func (r *Router) embed(ctx context.Context, e *registry.Entry, f wire.Format, req *api.RecallRequest) ([]byte, *wire.Error) {
	if err := r.embedText(ctx, e, req); err != nil {
		return nil, err
	}
	return wire.EncodeRecallRequest(f, req)
}

func (r *Router) embedText(ctx context.Context, e *registry.Entry, req *api.RecallRequest) *wire.Error {
	em, err := r.Embedders.Lookup(e.GetEmbedder())
	if err != nil {
		return wire.NoEmbedder(e.GetName(), e.GetEmbedder())
	}
	vectors, err := em.Embed(ctx, []string{req.GetText()}, int(e.GetDimension()))
	var features *embed.NoFeaturesError
	if errors.As(err, &features) {
		return wire.Errorf(wire.CodeInvalidEmbedding, "text", "the text has no word or number to make an embedding of")
	}
	if err != nil {
		return wire.Errorf(wire.CodeEmbedder, "text", "the embedder %q of space %q failed: %v", e.GetEmbedder(), e.GetName(), err)
	}
	req.Text = ""
	req.Embedding = &api.Embedding{Data: event.AppendF32(nil, vectors[0]), Encoding: api.Encoding_ENCODING_F32}
	return nil
}
