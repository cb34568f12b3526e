package worker

import (
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/wire"
)

// decode turns the body of a message of the log into an event and tells its lane. It refuses what the gateway would
// have refused: anybody with the right to publish may have written to the log directly.
func decode(subject string, data []byte, definition func(string) (vecstore.Definition, bool), ev *vecstore.Event) (high bool, err *wire.Error) {
	space, ok := bus.SpaceOf(subject)
	if !ok {
		return false, wire.Errorf(wire.CodeInvalidSpace, "space", "the subject %q names no space", subject)
	}
	if err := wire.CheckSpace(space); err != nil {
		return false, err
	}
	in := new(api.LogEvent)
	if proto.Unmarshal(data, in) != nil {
		return false, wire.Errorf(wire.CodeMalformed, "", "the message is not the protobuf of a LogEvent")
	}
	var named string
	switch e := in.GetEvent().(type) {
	case *api.LogEvent_Observe:
		named = e.Observe.GetSpace()
		high = e.Observe.GetPriority() == api.Priority_PRIORITY_HIGH
		err = decodeObserve(e.Observe, space, definition, ev)
	case *api.LogEvent_Define:
		named = e.Define.GetName()
		ev.Kind = vecstore.KindDefine
		ev.Definition, err = definitionOf(e.Define)
	case *api.LogEvent_Forget:
		named, high = e.Forget.GetSpace(), true
		ev.Kind, ev.IDs = vecstore.KindForget, e.Forget.GetIds()
	case *api.LogEvent_ForgetMatching:
		named, high = e.ForgetMatching.GetSpace(), true
		ev.Kind, ev.Filter = vecstore.KindForget, e.ForgetMatching.GetFilter()
		if ev.Filter == "" {
			err = wire.Errorf(wire.CodeMalformed, "filter", "the event says not what it forgets")
		}
	case *api.LogEvent_Drop:
		named = e.Drop.GetSpace()
		ev.Kind, ev.Generation = vecstore.KindDrop, e.Drop.GetGeneration()
	default:
		return false, wire.Errorf(wire.CodeMalformed, "", "the message is a LogEvent of a kind that this version does not know")
	}
	if err == nil && named != space {
		err = wire.Errorf(wire.CodeInvalidSpace, "space", "the event says space %q, its subject space %q", named, space)
	}
	ev.Space = space
	return high, err
}

func decodeObserve(o *api.Observation, space string, definition func(string) (vecstore.Definition, bool), ev *vecstore.Event) *wire.Error {
	if err := wire.CheckObservation(o); err != nil {
		return err
	}
	if err := wire.CheckID(o.GetId(), "id"); err != nil {
		return err
	}
	def, ok := definition(space)
	if !ok {
		return wire.Errorf(wire.CodeUnknownSpace, "space", "the log holds no definition of space %q before this observation", space)
	}
	packed, err := wire.EmbeddingF32(o.GetEmbedding(), def.Metric == vecstore.Cosine)
	if err == nil {
		err = wire.CheckHeld(packed, vectorsMessage(def.Vectors), def.Metric == vecstore.Cosine)
	}
	if err != nil {
		return err
	}
	ev.Kind, ev.ID, ev.Vector, ev.ExpiresAt = vecstore.KindObserve, o.GetId(), packed, o.GetExpiresAt()
	// The record has these already; the body is the rest.
	o.Id, o.Space, o.Embedding = "", "", nil
	body, merr := proto.Marshal(o)
	if merr != nil {
		return wire.Errorf(wire.CodeMalformed, "", "the observation is not UTF-8 throughout")
	}
	ev.Body = body
	return nil
}

// definitionOf refuses what this version cannot name; the store refuses what it cannot hold.
func definitionOf(d *api.SpaceDefinition) (*vecstore.Definition, *wire.Error) {
	var m vecstore.Metric // one that is not known stays 0, which no store can hold
	switch d.GetMetric() {
	case api.Metric_METRIC_UNSPECIFIED:
		m = vecstore.Cosine
	case api.Metric_METRIC_COSINE, api.Metric_METRIC_DOT, api.Metric_METRIC_L2:
		m = vecstore.Metric(d.GetMetric())
	}
	var vectors vecstore.Vectors
	switch d.GetVectors() {
	case api.Vectors_VECTORS_UNSPECIFIED, api.Vectors_VECTORS_F32:
		vectors = vecstore.VectorsF32
	case api.Vectors_VECTORS_F16:
		vectors = vecstore.VectorsF16
	case api.Vectors_VECTORS_NONE:
		vectors = vecstore.VectorsNone
	default:
		return nil, wire.Errorf(wire.CodeInvalidArgument, "vectors", "the definition of space %q says vectors %d, which this version does not know", d.GetName(), d.GetVectors())
	}
	return &vecstore.Definition{
		Name: d.GetName(), Dimension: d.GetDimension(), Metric: m, Generation: d.GetGeneration(),
		Embedder: d.GetEmbedder(), Engine: d.GetEngine(), Vectors: vectors, CreatedAt: d.GetCreatedAt(),
	}, nil
}

// definitionMessage is the inverse of definitionOf.
func definitionMessage(d *vecstore.Definition) *api.SpaceDefinition {
	return &api.SpaceDefinition{
		Name: d.Name, Dimension: d.Dimension, Metric: api.Metric(d.Metric), Generation: d.Generation,
		Embedder: d.Embedder, Engine: d.Engine, Vectors: vectorsMessage(d.Vectors), CreatedAt: d.CreatedAt,
	}
}

func vectorsMessage(v vecstore.Vectors) api.Vectors { return api.Vectors(v) + api.Vectors_VECTORS_F32 }
