package gateway

import (
	"context"
	"net/http"
	"strconv"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/embed"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/registry"
	"github.com/engram-memory/engram/pkg/session"
	"github.com/engram-memory/engram/pkg/wire"
)

// Define makes a space as a request describes it, or makes sure that the one that is there is such. It blocks until the
// log holds the definition.
func (g *Gateway) Define(ctx context.Context, space string, req *api.DefineRequest) (*api.DefineResponse, *wire.Error) {
	if err := checkDefine(space, req); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithDeadline(ctx, g.deadline(time.Now(), req.GetDeadlineMs()))
	defer cancel()
	known, err := g.Registry.Lookup(ctx, space)
	if err != nil {
		return nil, unavailable(err)
	}
	var def *api.SpaceDefinition
	var refused *wire.Error
	switch {
	case known.Living():
		refused = difference(known, req)
	case req.GetIfRevision() != 0:
		refused = wire.Errorf(wire.CodeConflict, "if_revision", "there is no space %q, and the request is about revision %d of it", space, req.GetIfRevision())
	default:
		def, refused = g.definitionOf(space, req)
	}
	if refused != nil {
		return nil, refused
	}
	entry, refused := g.define(ctx, space, known, def)
	if refused == nil {
		refused = difference(entry, req) // where somebody else makes the space at the same moment, it is theirs
	}
	created := refused == nil && def != nil && def.GetCreatedAt() == entry.GetCreatedAt()
	if refused == nil && !created {
		entry, refused = g.changeQuota(ctx, entry, req)
	}
	if refused != nil {
		return nil, refused
	}
	return &api.DefineResponse{
		Definition: entry.SpaceDefinition, Shard: uint32(event.ShardOf(space, g.Topology.Shards)), Revision: entry.Revision,
		Created: created,
	}, nil
}

func checkDefine(space string, req *api.DefineRequest) *wire.Error {
	if err := wire.CheckSpace(space); err != nil {
		return err
	}
	if req.GetSpace() != "" && req.GetSpace() != space {
		return wire.Errorf(wire.CodeInvalidSpace, "space", "the body says space %q, the request space %q", req.GetSpace(), space)
	}
	return wire.CheckDefine(req)
}

// definitionOf makes the definition of a new space out of a request and, where that leaves something out, the
// configuration.
func (g *Gateway) definitionOf(space string, req *api.DefineRequest) (*api.SpaceDefinition, *wire.Error) {
	def, err := g.newDefinition(space)
	if err != nil {
		return nil, err
	}
	if m := req.GetMetric(); m != api.Metric_METRIC_UNSPECIFIED {
		def.Metric = m
	}
	if v := req.GetVectors(); v != api.Vectors_VECTORS_UNSPECIFIED {
		def.Vectors = v
	}
	if req.GetEngine() != "" {
		def.Engine = req.GetEngine()
	}
	def.Quota = wire.MergeQuota(nil, req.GetQuota())
	switch {
	case req.GetEmbedder() != "":
		def.Embedder = req.GetEmbedder()
	case req.Dimension != nil:
		// Who names a dimension has it from a model.
		def.Embedder = g.embedderOfVectors()
	}
	if _, err := g.Embedders.Lookup(def.GetEmbedder()); err != nil && def.GetEmbedder() != noEmbedder {
		return nil, wire.Errorf(wire.CodeInvalidArgument, "embedder", "embedder is %q, which this gateway does not have; it can be none, or one of %q",
			def.GetEmbedder(), g.Embedders.Names())
	}
	switch {
	case req.Dimension != nil:
		def.Dimension = req.GetDimension()
	case def.GetEmbedder() == noEmbedder:
		return nil, wire.Errorf(wire.CodeInvalidArgument, "dimension", "a space without an embedder needs a dimension, that of the embeddings to come")
	}
	if tooNarrow(def.GetEmbedder(), int(def.GetDimension())) {
		return nil, wire.Errorf(wire.CodeInvalidArgument, "dimension", "dimension is %d, in which the embedder %q cannot tell texts apart; choose a larger one, "+
			"%d for instance, or the embedder %q for embeddings of your own", def.GetDimension(), def.GetEmbedder(), DefaultConfig().Space.Dimension, noEmbedder)
	}
	return def, nil
}

// tooNarrow tells that an embedder's vectors of a dimension would be of no use.
func tooNarrow(embedder string, dimension int) bool {
	return embedder == (*embed.Lexical)(nil).Name() && dimension < embed.MinLexicalDim
}

// difference returns the conflict of a request with the definition that is there, about the first field that differs.
func difference(e *registry.Entry, req *api.DefineRequest) *wire.Error {
	for _, f := range []struct{ name, has, asked string }{
		{"dimension", strconv.Itoa(int(e.GetDimension())), dimensionAsked(req.Dimension)},
		{"metric", wire.MetricName(e.GetMetric()), wire.MetricName(req.GetMetric())},
		{"vectors", wire.VectorsName(e.GetVectors()), vectorsAsked(req.GetVectors())},
		{"engine", wire.EngineName(e.GetEngine()), req.GetEngine()},
		{"embedder", e.GetEmbedder(), req.GetEmbedder()},
	} {
		if f.asked != "" && f.asked != f.has {
			return wire.Errorf(wire.CodeConflict, f.name, "space %q has the %s %s, and the request says %s; that is fixed until the space is dropped",
				e.GetName(), f.name, f.has, f.asked)
		}
	}
	return nil
}

// What was asked for, empty for nothing.

func dimensionAsked(n *uint32) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(int(*n))
}

func vectorsAsked(v api.Vectors) string {
	if v == api.Vectors_VECTORS_UNSPECIFIED {
		return ""
	}
	return wire.VectorsName(v)
}

// maxDefine bounds the body of a definition.
const maxDefine = 64 << 10

// putSpace defines a space: 201 where it made it, 200 where it was there.
func (g *Gateway) putSpace(w http.ResponseWriter, r *http.Request) {
	counted := &countedReader{r: r.Body, held: session.Held{Memory: g.bodies}, conn: http.NewResponseController(w)}
	defer counted.held.Release()
	body, unread := counted.body(w, r, maxDefine)
	f, refused := bodyFormat(r.Header.Get("Content-Type"), body)
	if unread != nil {
		refused = unread
	}
	if denied := auth.Require(r.Context(), auth.Admin, r.PathValue("space")); denied != nil {
		refused = denied
	}
	var in *api.DefineRequest
	if refused == nil {
		in, refused = wire.DecodeDefine(f, body)
	}
	if refused == nil {
		refused = auth.Require(r.Context(), auth.Admin, in.GetSpace())
	}
	var resp *api.DefineResponse
	if refused == nil {
		resp, refused = g.Define(r.Context(), r.PathValue("space"), in)
	}
	var out []byte
	if refused == nil {
		out, refused = wire.EncodeDefine(f, resp)
	}
	if refused != nil {
		wire.WriteError(w, f, refused)
		return
	}
	w.Header().Set("Content-Type", f.ContentType())
	if resp.GetCreated() {
		w.WriteHeader(http.StatusCreated)
	}
	_, _ = w.Write(out) // a client that is gone can ask again
}
