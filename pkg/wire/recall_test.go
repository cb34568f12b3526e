package wire_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

func TestRecallRoundTrip(t *testing.T) {
	for _, r := range []*api.RecallRequest{
		{}, {Embedding: f32(1, -0.5)}, {Text: "a"},
		{
			Space: "demo", Embedding: f32(1), Text: "t", Id: "i", K: proto.Uint32(0), MinScore: proto.Float32(0), Filter: "f",
			AtLeast: "e.0:1", DeadlineMs: 5, Include: []string{"text"}, Recall: api.RecallTarget_RECALL_TARGET_EXACT, Ef: proto.Uint32(0), AsOf: "e.0:2",
		},
	} {
		for _, f := range []wire.Format{wire.JSON, wire.Protobuf} {
			b, err := wire.EncodeRecallRequest(f, r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := wire.DecodeRecall(f, b)
			if err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			equal(t, got, r)
		}
	}
}

func TestRecallIsStrict(t *testing.T) {
	for body, want := range map[string]struct {
		code  wire.Code
		field string
	}{
		``: {wire.CodeMalformed, ""}, `[]`: {wire.CodeMalformed, ""}, `{"text":"a"}{`: {wire.CodeMalformed, ""},
		`{"top":1}`: {wire.CodeMalformed, "top"}, `{"k":"5"}`: {wire.CodeMalformed, "k"}, `{"k":-1}`: {wire.CodeMalformed, "k"},
		`{"k":1.5}`: {wire.CodeMalformed, "k"}, `{"min_score":"x"}`: {wire.CodeMalformed, "min_score"},
		`{"include":"text"}`: {wire.CodeMalformed, "include"}, `{"at_least":5}`: {wire.CodeMalformed, "at_least"},
		`{"recall":"slow"}`: {wire.CodeInvalidArgument, "recall"}, `{"recall":1}`: {wire.CodeMalformed, "recall"},
		`{"ef":"x"}`: {wire.CodeMalformed, "ef"}, `{"as_of":5}`: {wire.CodeMalformed, "as_of"},
		`{"deadline_ms":4294967296}`: {wire.CodeMalformed, "deadline_ms"}, `{"embedding":7}`: {wire.CodeInvalidEmbedding, "embedding"},
	} {
		_, err := wire.DecodeRecall(wire.JSON, []byte(body))
		refused(t, err, want.code, want.field)
	}
	_, err := wire.DecodeRecall(wire.Protobuf, []byte{0x0a})
	refused(t, err, wire.CodeMalformed, "")
}

func TestCheckRecall(t *testing.T) {
	for _, r := range []*api.RecallRequest{
		{Text: "a"}, {Id: "a"}, {Embedding: f32(1)}, {Text: "a", K: proto.Uint32(1)}, {Text: "a", K: proto.Uint32(event.MaxK)},
		{Text: "a", MinScore: proto.Float32(-inf())}, {Text: "a", Include: []string{"embedding", "none"}},
		{Text: strings.Repeat("a", event.MaxText)}, {Text: "a", Ef: proto.Uint32(1)}, {Text: "a", Recall: api.RecallTarget_RECALL_TARGET_EXACT},
		{Text: "a", Ef: proto.Uint32(event.MaxEf), Recall: api.RecallTarget_RECALL_TARGET_FAST},
	} {
		if err := wire.CheckRecall(r); err != nil {
			t.Errorf("%v: %v", r, err)
		}
	}
	for _, c := range []struct {
		r     *api.RecallRequest
		code  wire.Code
		field string
	}{
		{&api.RecallRequest{}, wire.CodeInvalidArgument, "embedding"},
		{&api.RecallRequest{Text: "a", Id: "b"}, wire.CodeInvalidArgument, "embedding"},
		{&api.RecallRequest{Text: "a", Embedding: &api.Embedding{}}, wire.CodeInvalidArgument, "embedding"},
		{&api.RecallRequest{Text: "a", K: proto.Uint32(0)}, wire.CodeInvalidArgument, "k"},
		{&api.RecallRequest{Text: "a", K: proto.Uint32(event.MaxK + 1)}, wire.CodeInvalidArgument, "k"},
		{&api.RecallRequest{Text: "a", MinScore: proto.Float32(nan())}, wire.CodeInvalidArgument, "min_score"},
		{&api.RecallRequest{Text: "a", Ef: proto.Uint32(0)}, wire.CodeInvalidArgument, "ef"},
		{&api.RecallRequest{Text: "a", Ef: proto.Uint32(event.MaxEf + 1)}, wire.CodeInvalidArgument, "ef"},
		{&api.RecallRequest{Text: "a", Ef: proto.Uint32(5), Recall: api.RecallTarget_RECALL_TARGET_EXACT}, wire.CodeInvalidArgument, "ef"},
		{&api.RecallRequest{Text: "a", Recall: 4}, wire.CodeInvalidArgument, "recall"},
		{&api.RecallRequest{Text: "a", Recall: -1}, wire.CodeInvalidArgument, "recall"},
		{&api.RecallRequest{Text: "a", HalfLifeMs: 1 << 50}, wire.CodeInvalidArgument, "half_life_ms"},
		{&api.RecallRequest{Text: "a", Cursor: "x", AsOf: "e.0:1"}, wire.CodeInvalidArgument, "as_of"},
		{&api.RecallRequest{Text: "a", Include: []string{"vector"}}, wire.CodeInvalidArgument, "include"},
		{&api.RecallRequest{Id: strings.Repeat("a", event.MaxID+1)}, wire.CodeInvalidID, "id"},
		{&api.RecallRequest{Text: strings.Repeat("a", event.MaxText+1)}, wire.CodeTooLarge, "text"},
	} {
		refused(t, wire.CheckRecall(c.r), c.code, c.field)
	}
}

func TestParseInclude(t *testing.T) {
	for names, want := range map[string]wire.Include{
		"": {Text: true, Metadata: true}, "none": {}, "text": {Text: true}, "embedding metadata": {Embedding: true, Metadata: true},
		"none text": {Text: true},
	} {
		got, err := wire.ParseInclude(strings.Fields(names))
		if err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", names, got, err, want)
		}
	}
}

func TestGetAndList(t *testing.T) {
	get := &api.GetRequest{Space: "s", Ids: []string{"a", "b"}, Include: []string{"none"}, AtLeast: "e.0:1", AsOf: "e.0:2", DeadlineMs: 5}
	got, err := wire.DecodeGet(wire.JSON, []byte(`{"space":"s","ids":["a"],"id":"b","include":["none"],"at_least":"e.0:1","as_of":"e.0:2","deadline_ms":5}`))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, get)
	if got, err = wire.DecodeGet(wire.Protobuf, marshal(t, get)); err != nil {
		t.Fatal(err)
	}
	equal(t, got, get)

	list := &api.ListRequest{Space: "s", Limit: proto.Uint32(3), Before: "e.0:9", Include: []string{"text"}, AtLeast: "e.0:1", AsOf: "e.0:2", DeadlineMs: 5}
	gotList, err := wire.DecodeList(wire.JSON, []byte(`{"space":"s","limit":3,"before":"e.0:9","include":["text"],"at_least":"e.0:1","as_of":"e.0:2","deadline_ms":5}`))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, gotList, list)
	for _, f := range []wire.Format{wire.JSON, wire.Protobuf} {
		if gotList, err = wire.DecodeList(f, nil); err != nil {
			t.Fatal(err)
		}
		equal(t, gotList, &api.ListRequest{})
	}

	many := make([]string, event.MaxList+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for _, r := range []*api.GetRequest{{}, {Ids: many}} {
		_, err := wire.DecodeGet(wire.Protobuf, marshal(t, r))
		refused(t, err, wire.CodeInvalidArgument, "ids")
	}
	if _, err := wire.DecodeGet(wire.Protobuf, marshal(t, &api.GetRequest{Ids: many[1:]})); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"", strings.Repeat("x", event.MaxID+1), "a\x00"} {
		_, err := wire.DecodeGet(wire.Protobuf, marshal(t, &api.GetRequest{Ids: []string{"a", id}}))
		refused(t, err, wire.CodeInvalidID, "ids[1]")
	}
	_, err = wire.DecodeGet(wire.JSON, []byte(`{"ids":[]}`))
	refused(t, err, wire.CodeInvalidArgument, "ids")
	_, err = wire.DecodeGet(wire.JSON, []byte(`{"ids":["a"],"include":["x"]}`))
	refused(t, err, wire.CodeInvalidArgument, "include")
	_, err = wire.DecodeGet(wire.JSON, []byte(`{"ids":["a"],"limit":1}`))
	refused(t, err, wire.CodeMalformed, "limit")
	_, err = wire.DecodeGet(wire.Protobuf, []byte{0x0a})
	refused(t, err, wire.CodeMalformed, "")

	for _, n := range []uint32{0, event.MaxList + 1} {
		_, err := wire.DecodeList(wire.Protobuf, marshal(t, &api.ListRequest{Limit: &n}))
		refused(t, err, wire.CodeInvalidArgument, "limit")
		_, err = wire.DecodeList(wire.JSON, fmt.Appendf(nil, `{"limit":%d}`, n))
		refused(t, err, wire.CodeInvalidArgument, "limit")
	}
	_, err = wire.DecodeList(wire.JSON, []byte(`{"limit":"5"}`))
	refused(t, err, wire.CodeMalformed, "limit")
	_, err = wire.DecodeList(wire.JSON, []byte(`{"include":["x"]}`))
	refused(t, err, wire.CodeInvalidArgument, "include")
	_, err = wire.DecodeList(wire.Protobuf, []byte{0x0a})
	refused(t, err, wire.CodeMalformed, "")
}

func TestEncodeAnswers(t *testing.T) {
	hit := &api.Hit{
		Id: "a", Score: -0.5, ObservedAt: 1767366245e9, Position: "e.0:7", Text: "t", Metadata: map[string]*api.Value{"n": number(1)},
		Embedding: f32(1, 0.5), Priority: api.Priority_PRIORITY_HIGH, Importance: 0.25, ExpiresAt: 1767366246e9, Session: "s", Sequence: 3,
	}
	const rest = `"observed_at":"2026-01-02T15:04:05Z","position":"e.0:7","text":"t","metadata":{"n":1},"embedding":[1,0.5],` +
		`"priority":"high","importance":0.25,"expires_at":"2026-01-02T15:04:06Z","session":"s","sequence":3}`
	hits := []*api.Hit{hit}
	space := &api.SpaceInfo{
		Definition: &api.SpaceDefinition{Name: "demo", Dimension: 2, Metric: api.Metric_METRIC_L2, Embedder: "none", Generation: 4, Engine: "exact", Vectors: api.Vectors_VECTORS_F16, CreatedAt: 1},
		Shard:      3, Observations: 5, RowsInTail: 6, RowsInGraph: 7, RowsDead: 8, Applied: "e.3:9", StalenessMs: 1.5,
	}
	const spaceJSON = `{"space":"demo","dimension":2,"metric":"l2","embedder":"none","engine":"exact","vectors":"f16","generation":4,` +
		`"created_at":"1970-01-01T00:00:00.000000001Z","shard":3,"observations":5,"rows_in_tail":6,"rows_in_graph":7,"rows_dead":8,"applied":"e.3:9","staleness_ms":1.5}`
	recall := &api.RecallResponse{Hits: hits, Applied: "e.0:8", StalenessMs: 2.5, Searched: 10, Exact: true, TookUs: 20}
	get := &api.GetResponse{Observations: hits, Applied: "e.0:8", StalenessMs: 2.5}
	list := &api.ListResponse{Observations: hits, Applied: "e.0:8", StalenessMs: 2.5, More: true}
	spaces := &api.SpacesResponse{Spaces: []*api.SpaceInfo{space}}
	for name, c := range map[string]struct {
		encode func(wire.Format) ([]byte, *wire.Error)
		want   string
		same   proto.Message
	}{
		"recall": {func(f wire.Format) ([]byte, *wire.Error) { return wire.EncodeRecall(f, recall) },
			`{"hits":[{"id":"a","score":-0.5,` + rest + `],"applied":"e.0:8","staleness_ms":2.5,"searched":10,"exact":true,"took_us":20}`, recall},
		"no hits": {func(f wire.Format) ([]byte, *wire.Error) { return wire.EncodeRecall(f, &api.RecallResponse{}) },
			`{"hits":[],"applied":"","staleness_ms":0,"searched":0,"exact":false,"took_us":0}`, &api.RecallResponse{}},
		"get": {func(f wire.Format) ([]byte, *wire.Error) { return wire.EncodeGet(f, get) },
			`{"observations":[{"id":"a",` + rest + `],"applied":"e.0:8","staleness_ms":2.5,"searched":0,"exact":false,"took_us":0}`, get},
		"list": {func(f wire.Format) ([]byte, *wire.Error) { return wire.EncodeList(f, list) },
			`{"observations":[{"id":"a",` + rest + `],"more":true,"applied":"e.0:8","staleness_ms":2.5,"searched":0,"exact":false,"took_us":0}`, list},
		"spaces": {func(f wire.Format) ([]byte, *wire.Error) { return wire.EncodeSpaces(f, spaces, false) }, `{"spaces":[` + spaceJSON + `]}`, spaces},
		"space":  {func(f wire.Format) ([]byte, *wire.Error) { return wire.EncodeSpaces(f, spaces, true) }, spaceJSON, spaces},
	} {
		b, err := c.encode(wire.JSON)
		if err != nil || string(b) != c.want {
			t.Errorf("%s: %v\n%s, want\n%s", name, err, b, c.want)
		}
		if b, err = c.encode(wire.Protobuf); err != nil {
			t.Fatal(err)
		}
		got := proto.Clone(c.same)
		proto.Reset(got)
		if err := proto.Unmarshal(b, got); err != nil {
			t.Fatal(err)
		}
		equal(t, got, c.same)
	}
}

func TestDecodeSpaces(t *testing.T) {
	for body, want := range map[string]string{``: "", `{}`: "", `{"space":"demo"}`: "demo"} {
		got, err := wire.DecodeSpaces(wire.JSON, []byte(body))
		if err != nil || got.GetSpace() != want {
			t.Errorf("%s is %v, %v", body, got, err)
		}
	}
	got, err := wire.DecodeSpaces(wire.Protobuf, marshal(t, &api.SpacesRequest{Space: "demo"}))
	if err != nil || got.GetSpace() != "demo" {
		t.Errorf("%v, %v", got, err)
	}
	_, err = wire.DecodeSpaces(wire.JSON, []byte(`{"name":"x"}`))
	refused(t, err, wire.CodeMalformed, "name")
	_, err = wire.DecodeSpaces(wire.Protobuf, []byte{0x0a})
	refused(t, err, wire.CodeMalformed, "")
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Fields that this version does not know are not kept: nothing bounds them.
func TestUnknownProtobufFieldsAreDropped(t *testing.T) {
	unknown := []byte{0xfa, 0x3e, 0x03, 'a', 'b', 'c'} // field 1007
	o := append(marshal(t, &api.Observation{Id: "a"}), unknown...)
	body := append([]byte{0x0a, byte(len(o))}, o...)
	req, _, err := wire.DecodeObserve(wire.Protobuf, append(body, unknown...))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, req, &api.ObserveRequest{Observations: []*api.Observation{{Id: "a"}}})
}
