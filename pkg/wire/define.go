package wire

import (
	"slices"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
)

type defineJSON struct {
	Space      string     `json:"space,omitempty"`
	Dimension  *uint32    `json:"dimension,omitempty"`
	Metric     string     `json:"metric,omitempty"`
	Vectors    string     `json:"vectors,omitempty"`
	Engine     string     `json:"engine,omitempty"`
	Embedder   string     `json:"embedder,omitempty"`
	Quota      *quotaJSON `json:"quota,omitempty"`
	IfRevision *uint64    `json:"if_revision,omitempty"`
	DeadlineMS uint32     `json:"deadline_ms,omitempty"`
}

// DecodeDefine reads the body of a define request, which may be empty.
func DecodeDefine(f Format, body []byte) (*api.DefineRequest, *Error) {
	req := new(api.DefineRequest)
	switch {
	case len(body) == 0:
	case f == Protobuf:
		if err := unmarshal(body, req); err != nil {
			return nil, err
		}
	default:
		var in defineJSON
		if err := strictJSON(body, &in); err != nil {
			return nil, err
		}
		metric, err := metrics.parse(in.Metric)
		if err != nil {
			return nil, err
		}
		kept, err := vectors.parse(in.Vectors)
		if err != nil {
			return nil, err
		}
		req = &api.DefineRequest{
			Space: in.Space, Dimension: in.Dimension, Metric: metric, Vectors: kept, Engine: in.Engine, Embedder: in.Embedder,
			DeadlineMs: in.DeadlineMS, Quota: in.Quota.proto(), IfRevision: in.IfRevision,
		}
	}
	return req, nil
}

// CheckDefine refuses what no space could be.
func CheckDefine(r *api.DefineRequest) *Error {
	switch {
	case r.Dimension != nil && (r.GetDimension() == 0 || r.GetDimension() > event.MaxDimension):
		return Errorf(CodeInvalidArgument, "dimension", "dimension is %d; it can be 1 to %d", r.GetDimension(), event.MaxDimension)
	case !metrics.knows(r.GetMetric()):
		return Errorf(CodeInvalidArgument, "metric", "metric is %d, which is neither cosine nor dot nor l2", r.GetMetric())
	case !vectors.knows(r.GetVectors()):
		return Errorf(CodeInvalidArgument, "vectors", "vectors is %d, which is neither f32 nor f16 nor none", r.GetVectors())
	case r.GetEngine() != "" && !slices.Contains(Engines(), r.GetEngine()):
		return Errorf(CodeInvalidArgument, "engine", "engine is %q; it can be one of %q", r.GetEngine(), Engines())
	}
	return checkQuota(r.GetQuota())
}

// EncodeDefineRequest writes a define request in the format that its sender chose.
func EncodeDefineRequest(f Format, r *api.DefineRequest) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(r)
	}
	return toJSON(defineJSON{
		Space: r.GetSpace(), Dimension: r.Dimension, Metric: metrics.name(r.GetMetric()), Vectors: vectors.name(r.GetVectors()),
		Engine: r.GetEngine(), Embedder: r.GetEmbedder(), DeadlineMS: r.GetDeadlineMs(),
		Quota: quotaOf(r.GetQuota()), IfRevision: r.IfRevision,
	})
}

// definitionJSON is what is fixed about a space, and its quota.
type definitionJSON struct {
	Name       string     `json:"space"`
	Dimension  uint32     `json:"dimension"`
	Metric     string     `json:"metric"`
	Embedder   string     `json:"embedder"`
	Engine     string     `json:"engine"`
	Vectors    string     `json:"vectors"`
	Generation uint32     `json:"generation"`
	CreatedAt  timeJSON   `json:"created_at"`
	Shard      uint32     `json:"shard"`
	Quota      *quotaJSON `json:"quota,omitempty"`
}

func definition(d *api.SpaceDefinition, shard uint32) definitionJSON {
	return definitionJSON{
		Name: d.GetName(), Dimension: d.GetDimension(), Metric: metrics.name(d.GetMetric()), Embedder: d.GetEmbedder(),
		Engine: EngineName(d.GetEngine()), Vectors: VectorsName(d.GetVectors()), Generation: d.GetGeneration(),
		CreatedAt: timeJSON(d.GetCreatedAt()), Shard: shard, Quota: quotaOf(d.GetQuota()),
	}
}

type defineAnswerJSON struct {
	definitionJSON
	Created  bool   `json:"created"`
	Revision uint64 `json:"revision"`
}

// EncodeDefine writes the answer to a define request.
func EncodeDefine(f Format, r *api.DefineResponse) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(r)
	}
	return toJSON(defineAnswerJSON{definition(r.GetDefinition(), r.GetShard()), r.GetCreated(), r.GetRevision()})
}
