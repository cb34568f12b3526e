package wire_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

func TestDefineRoundTrip(t *testing.T) {
	for _, r := range []*api.DefineRequest{
		{}, {Dimension: proto.Uint32(event.MaxDimension)}, {Vectors: api.Vectors_VECTORS_NONE},
		{
			Space: "demo", Dimension: proto.Uint32(3), Metric: api.Metric_METRIC_DOT, Vectors: api.Vectors_VECTORS_F16, Engine: "coder",
			Embedder: "http:m", DeadlineMs: 5,
		},
	} {
		for _, f := range []wire.Format{wire.JSON, wire.Protobuf} {
			b, err := wire.EncodeDefineRequest(f, r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := wire.DecodeDefine(f, b)
			if err == nil {
				err = wire.CheckDefine(got)
			}
			if err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			equal(t, got, r)
		}
	}
	// An empty body is a request, too.
	for _, f := range []wire.Format{wire.JSON, wire.Protobuf} {
		got, err := wire.DecodeDefine(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, got, &api.DefineRequest{})
	}
}

func TestDefineIsStrict(t *testing.T) {
	for body, want := range map[string]struct {
		code  wire.Code
		field string
	}{
		`[]`: {wire.CodeMalformed, ""}, `{"dim":3}`: {wire.CodeMalformed, "dim"}, `{"dimension":"3"}`: {wire.CodeMalformed, "dimension"},
		`{"dimension":-1}`: {wire.CodeMalformed, "dimension"}, `{"metric":"euclid"}`: {wire.CodeInvalidArgument, "metric"},
		`{"vectors":"i8"}`: {wire.CodeInvalidArgument, "vectors"}, `{"vectors":1}`: {wire.CodeMalformed, "vectors"},
	} {
		_, err := wire.DecodeDefine(wire.JSON, []byte(body))
		refused(t, err, want.code, want.field)
	}
	_, err := wire.DecodeDefine(wire.Protobuf, []byte{0x0a})
	refused(t, err, wire.CodeMalformed, "")
	for field, r := range map[string]*api.DefineRequest{
		"dimension": {Dimension: proto.Uint32(0)}, "metric": {Metric: 9}, "vectors": {Vectors: -1}, "engine": {Engine: "HNSW"},
	} {
		refused(t, wire.CheckDefine(r), wire.CodeInvalidArgument, field)
	}
	refused(t, wire.CheckDefine(&api.DefineRequest{Dimension: proto.Uint32(event.MaxDimension + 1)}), wire.CodeInvalidArgument, "dimension")
}

func TestDefineAnswer(t *testing.T) {
	resp := &api.DefineResponse{
		Definition: &api.SpaceDefinition{Name: "demo", Dimension: 3, Metric: api.Metric_METRIC_L2, Embedder: "none", Generation: 2, CreatedAt: 1},
		Shard:      4, Created: true, Revision: 9,
	}
	b, err := wire.EncodeDefine(wire.JSON, resp)
	// A definition from before there was a choice says nothing of engine and vectors.
	const want = `{"space":"demo","dimension":3,"metric":"l2","embedder":"none","engine":"hnsw","vectors":"f32","generation":2,` +
		`"created_at":"1970-01-01T00:00:00.000000001Z","shard":4,"created":true,"revision":9}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v; want %s", b, err, want)
	}
	if b, err = wire.EncodeDefine(wire.Protobuf, resp); err != nil {
		t.Fatal(err)
	}
	got := new(api.DefineResponse)
	if err := proto.Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	equal(t, got, resp)
}

func TestCompact(t *testing.T) {
	for body, want := range map[string]*api.CompactRequest{
		"": {}, "{}": {}, `{"space":"demo","deadline_ms":7}`: {Space: "demo", DeadlineMs: 7},
	} {
		got, err := wire.DecodeCompact(wire.JSON, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		equal(t, got, want)
		if got, err = wire.DecodeCompact(wire.Protobuf, marshal(t, want)); err != nil {
			t.Fatal(err)
		}
		equal(t, got, want)
	}
	_, err := wire.DecodeCompact(wire.JSON, []byte(`{"rows":1}`))
	refused(t, err, wire.CodeMalformed, "rows")
	_, err = wire.DecodeCompact(wire.Protobuf, []byte{0x0a})
	refused(t, err, wire.CodeMalformed, "")
	resp := &api.CompactResponse{Copies: []*api.CompactedCopy{
		{Worker: "a", RowsBefore: 3, RowsAfter: 1, RowsReclaimed: 2, LogBytesBefore: 9, LogBytesAfter: 8, TookMs: 1.5},
		{Worker: "b", Error: &api.Error{Code: "unavailable", Message: "m"}},
	}}
	b, err := wire.EncodeCompact(wire.JSON, resp)
	const want = `{"copies":[{"worker":"a","rows_before":3,"rows_after":1,"rows_reclaimed":2,"log_bytes_before":9,"log_bytes_after":8,"took_ms":1.5},` +
		`{"worker":"b","rows_before":0,"rows_after":0,"rows_reclaimed":0,"log_bytes_before":0,"log_bytes_after":0,"took_ms":0,` +
		`"error":{"code":"unavailable","message":"m"}}]}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v; want %s", b, err, want)
	}
	if b, err = wire.EncodeCompact(wire.JSON, &api.CompactResponse{}); err != nil || string(b) != `{"copies":[]}` {
		t.Errorf("%s, %v", b, err)
	}
}
