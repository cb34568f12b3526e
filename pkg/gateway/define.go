package gateway

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/embed"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/registry"
	"github.com/engram-memory/engram/pkg/wire"
)

// define returns the definition of the request's space once the log holds it. Where there is none the first observation
// makes it, but not before the whole request is known to fit it: what is refused has published nothing.
func (r *observing) define(ctx context.Context) (*registry.Entry, *wire.Error) {
	known, err := r.g.Registry.Lookup(ctx, r.space)
	if err != nil {
		return nil, unavailable(err)
	}
	if known.Living() {
		return r.g.define(ctx, r.space, known, nil)
	}
	def, refused := r.g.definitionFrom(r.space, r.req.GetObservations()[0])
	if refused != nil {
		return nil, refused
	}
	would := &registry.Entry{SpaceDefinition: def}
	if err := r.embed(ctx, would); err != nil {
		return nil, err
	}
	for i := range r.req.GetObservations() {
		if err := r.fits(i, would); err != nil {
			return nil, err
		}
	}
	return r.g.define(ctx, r.space, known, def)
}

// define makes a definition, unless somebody else does at the same moment, and sees to it that the log holds it. Requests
// for the same space share the work.
func (g *Gateway) define(ctx context.Context, space string, known *registry.Entry, def *api.SpaceDefinition) (*registry.Entry, *wire.Error) {
	v, err, _ := g.defining.Do(space, func() (any, error) {
		entry := known
		if def != nil {
			var err error
			if entry, err = g.Registry.Create(ctx, def); err != nil {
				return nil, unavailable(err)
			}
		}
		if entry.LoggedIn(g.streamOf(space)) {
			return entry, nil
		}
		return g.logDefinition(ctx, entry)
	})
	if err != nil {
		return nil, wire.AsError(err)
	}
	return v.(*registry.Entry), nil
}

// noEmbedder is the name of the embedder of a space whose text is never embedded.
const noEmbedder = "none"

// definitionFrom makes the definition of a space out of its first observation and the configuration.
func (g *Gateway) definitionFrom(space string, first *api.Observation) (*api.SpaceDefinition, *wire.Error) {
	def, err := g.newDefinition(space)
	if err != nil {
		return nil, err
	}
	if e := first.GetEmbedding(); e != nil {
		packed, err := wire.EmbeddingF32(e, def.GetMetric() == api.Metric_METRIC_COSINE)
		if err != nil {
			return nil, err
		}
		def.Dimension, def.Embedder = uint32(len(packed)/4), g.embedderOfVectors()
	} else if _, err := g.Embedders.Lookup(g.Config.Space.Embedder); err != nil {
		return nil, wire.Errorf(wire.CodeInvalidEmbedding, "embedding", "space %q is new and would have the embedder %q, which this gateway does not have; send an embedding",
			space, g.Config.Space.Embedder)
	}
	return def, nil
}

// newDefinition makes the definition of a space that is made now out of the configuration alone.
func (g *Gateway) newDefinition(space string) (*api.SpaceDefinition, *wire.Error) {
	cfg := &g.Config.Space
	metric, err := wire.ParseMetric(cfg.Metric)
	var vectors api.Vectors
	if err == nil {
		vectors, err = wire.ParseVectors(cfg.Vectors)
	}
	if err != nil {
		return nil, wire.Errorf(wire.CodeInternal, "", "the gateway's configuration: space.%s", err.Message)
	}
	return &api.SpaceDefinition{
		Name: space, Dimension: uint32(cfg.Dimension), Metric: cmp.Or(metric, api.Metric_METRIC_COSINE), Embedder: cfg.Embedder,
		Engine: wire.EngineName(cfg.Engine), Vectors: cmp.Or(vectors, api.Vectors_VECTORS_F32), CreatedAt: time.Now().UnixNano(),
	}, nil
}

// embedderOfVectors returns the embedder of a new space that gets embeddings of somebody's own. The built-in embedder's
// vectors have nothing to do with those of anybody's model: text must not be mixed in.
func (g *Gateway) embedderOfVectors() string {
	if g.Config.Space.Embedder == (*embed.Lexical)(nil).Name() {
		return noEmbedder
	}
	return g.Config.Space.Embedder
}

// logDefinition writes a definition to the log of its shard, before any observation of the space can follow it, and
// notes in the bucket that it is there. A gateway that died between the two leaves that to the next one: the event may
// then stand in the log twice, and the second changes nothing.
func (g *Gateway) logDefinition(ctx context.Context, entry *registry.Entry) (*registry.Entry, error) {
	def := proto.CloneOf(entry.SpaceDefinition)
	def.Quota = nil // it changes, and what the log says does not
	b, err := proto.Marshal(&api.LogEvent{Event: &api.LogEvent_Define{Define: def}})
	if err != nil {
		return nil, wire.Errorf(wire.CodeInternal, "", "encoding the definition of space %q: %v", def.GetName(), err)
	}
	shard := event.ShardOf(def.GetName(), g.Topology.Shards)
	created := g.streamOf(def.GetName())
	out := bus.PublishAll(ctx, g.JetStream, []bus.Entry{{
		Subject: bus.LogSubject(shard, def.GetName()),
		// '#' keeps the write ids of the gateway's own events apart from those that clients choose.
		ID:   def.GetName() + "#define/" + strconv.FormatUint(uint64(def.GetGeneration()), 10),
		Data: b,
	}})
	if out[0].Err != nil {
		return nil, logError(out[0].Err)
	}
	logged, err := g.Registry.Update(ctx, entry, func(d *api.SpaceDefinition) {
		d.LoggedStream, d.LoggedSequence = created, out[0].Sequence
	})
	if errors.Is(err, registry.ErrChanged) {
		// Another gateway did the same, or the space was dropped; either way this definition is in the log.
		return entry, nil
	}
	if err != nil {
		return nil, unavailable(err)
	}
	return logged, nil
}

func unavailable(err error) *wire.Error {
	return wire.Errorf(wire.CodeUnavailable, "", "NATS did not answer: %v; send the request again", err)
}

// streamOf returns the creation time of the stream that is the log of a space now, as far as this gateway knows. A
// definition that an earlier stream of the same name holds has to be logged again.
func (g *Gateway) streamOf(space string) int64 {
	return g.shards[event.ShardOf(space, g.Topology.Shards)].stream()
}
