package wire_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

// formats calls fn for both ways to read the input.
func formats(fn func(wire.Format)) {
	fn(wire.JSON)
	fn(wire.Protobuf)
}

func seeds(f *testing.F, ms ...proto.Message) {
	for _, s := range []string{"", "{}", "[]", "null", `{"space":"demo"}`, `{"ids":["a"],"include":["text"]}`, "{\"a\":\xff}"} {
		f.Add([]byte(s))
	}
	for _, m := range ms {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// A refusal has a code that has a status, and can be written and read again.
func checkRefusal(t *testing.T, f wire.Format, err *wire.Error) {
	if _, ok := wire.Codes()[err.Code]; !ok {
		t.Fatalf("the code %q is not in the table", err.Code)
	}
	if got := wire.DecodeError(wire.JSON, wire.EncodeError(wire.JSON, err)); got.Code != err.Code {
		t.Fatalf("%+v was read as %+v", err, got)
	}
	_ = wire.EncodeError(f, err)
}

func FuzzDecodeObserve(f *testing.F) {
	seeds(f, &api.ObserveRequest{Observations: []*api.Observation{whole()}})
	b, err := wire.EncodeObservationJSON(whole())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`[{"embedding":"AACAPw=="},{"embedding":[1e-45,2],"metadata":{"a":1e300,"b":false}}]`))
	f.Add([]byte(`{"observations":[{"observed_at":"2026-01-02T15:04:05.5+01:00"}],"acknowledgement":"searchable"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		formats(func(f wire.Format) {
			req, single, refusal := wire.DecodeObserve(f, body)
			if refusal != nil {
				checkRefusal(t, f, refusal)
				return
			}
			if single && len(req.GetObservations()) != 1 {
				t.Fatalf("single with %d observations", len(req.GetObservations()))
			}
			for _, o := range req.GetObservations() {
				if wire.CheckObservation(o) != nil {
					continue
				}
				packed, refusal := wire.EmbeddingF32(o.GetEmbedding(), false)
				if refusal != nil {
					continue
				}
				o.Embedding = &api.Embedding{Data: packed, Encoding: api.Encoding_ENCODING_F32}
				stable(t, o)
			}
		})
	})
}

// stable checks that what was written of an observation is read as the same, where JSON can say it.
func stable(t *testing.T, o *api.Observation) {
	const first, last = -9214560000e9, 9214646400e9 - 1 // 1678 to 2261
	if o.GetObservedAt() < first || o.GetObservedAt() > last || o.GetExpiresAt() > last {
		return
	}
	b, err := wire.EncodeObservationJSON(o)
	if err != nil {
		t.Fatalf("%v: %v", o, err)
	}
	again, _, refusal := wire.DecodeObserve(wire.JSON, b)
	if refusal != nil {
		t.Fatalf("%s: %v", b, refusal)
	}
	if !proto.Equal(again.GetObservations()[0], o) {
		t.Fatalf("%v was read as %v", o, again.GetObservations()[0])
	}
}

func FuzzDecodeRecall(f *testing.F) {
	seeds(f, &api.RecallRequest{Embedding: f32(1, 2), K: proto.Uint32(3), MinScore: proto.Float32(0.5), Include: []string{"none"}})
	f.Add([]byte(`{"embedding":[1,2],"k":3,"min_score":-0.5,"at_least":"e.0:1","include":["embedding"],"filter":"x"}`))
	f.Add([]byte(`{"embedding":[1,2],"recall":"fast","ef":9,"as_of":"e.0:1"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		formats(func(f wire.Format) {
			req, refusal := wire.DecodeRecall(f, body)
			if refusal == nil {
				refusal = wire.CheckRecall(req)
			}
			if refusal != nil {
				checkRefusal(t, f, refusal)
				return
			}
			if req.Embedding != nil {
				packed, refusal := wire.EmbeddingF32(req.GetEmbedding(), false)
				if refusal != nil {
					return
				}
				req.Embedding = &api.Embedding{Data: packed, Encoding: api.Encoding_ENCODING_F32}
			}
			b, err := wire.EncodeRecallRequest(wire.JSON, req)
			if err != nil {
				return // an infinite min_score, which protobuf can say
			}
			again, refusal := wire.DecodeRecall(wire.JSON, b)
			if refusal != nil || !proto.Equal(again, req) {
				t.Fatalf("%v was read as %v, %v", req, again, refusal)
			}
		})
	})
}

func FuzzDecodeOthers(f *testing.F) {
	seeds(f, &api.GetRequest{Ids: []string{"a"}}, &api.ListRequest{Limit: proto.Uint32(5)}, &api.ForgetRequest{All: true}, &api.SpacesRequest{Space: "a"})
	f.Add([]byte(`{"limit":3,"before":"e.0:9"}`))
	f.Add([]byte(`{"all":true,"acknowledgement":"searchable"}`))
	f.Add([]byte(`{"dimension":3,"metric":"dot","vectors":"none","engine":"exact"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		formats(func(f wire.Format) {
			again(t, f, body, wire.DecodeGet)
			again(t, f, body, wire.DecodeList)
			again(t, f, body, wire.DecodeForget)
			again(t, f, body, wire.DecodeSpaces)
			again(t, f, body, wire.DecodeDefine)
			again(t, f, body, wire.DecodeCompact)
		})
	})
}

// again decodes, and what was taken survives protobuf.
func again[M proto.Message](t *testing.T, f wire.Format, body []byte, decode func(wire.Format, []byte) (M, *wire.Error)) {
	m, refusal := decode(f, body)
	if refusal != nil {
		checkRefusal(t, f, refusal)
		return
	}
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatalf("%v cannot be encoded: %v", m, err)
	}
	second, refusal := decode(wire.Protobuf, b)
	if refusal != nil || !proto.Equal(second, m) {
		t.Fatalf("%v was read as %v, %v", m, second, refusal)
	}
}

func FuzzDecodeError(f *testing.F) {
	seeds(f, &api.Error{Code: "deadline", Message: "m", Field: "f", RetryAfterMs: 5})
	f.Add([]byte(`{"error":{"code":"deadline","message":"m","retry_after_ms":5}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		formats(func(f wire.Format) {
			e := wire.DecodeError(f, body)
			if e == nil || e.Code == "" || e.Status() < 400 || e.Status() > 599 {
				t.Fatalf("%q is %+v", body, e)
			}
		})
	})
}

func FuzzDecodeFrame(f *testing.F) {
	seeds(f, &api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Observe{Observe: &api.StreamObserve{Sequence: 1, Observations: []*api.Observation{whole()}}}},
		&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Init{Init: &api.StreamInit{Session: "s", Window: 1, Acknowledged: 2}}})
	for _, s := range []string{
		`{"init":{"space":"demo","acknowledgement":"searchable","window":9}}`, `{"observe":{"sequence":1,"observations":[{"embedding":[1]}]}}`,
		`{"recall":{"tag":"r","request":{"text":"a","k":1}}}`, `{"pause":{}}`, `{"resume":{}}`, `{"close":{}}`, `{"ping":{"tag":"p"}}`, `{"init":null,"ping":{}}`,
		`{"recall":{}}`, `{"observe":{"observations":[{},{"txt":1}]}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		formats(func(f wire.Format) {
			in, refusal := wire.DecodeFrame(f, body)
			if refusal != nil {
				checkRefusal(t, f, refusal)
				return
			}
			if f != wire.JSON {
				return // what protobuf can hold, JSON may not
			}
			again, refusal := wire.EncodeFrameRequest(f, in)
			if refusal != nil {
				t.Fatalf("%v was read and cannot be written: %v", in, refusal)
			}
			back, refusal := wire.DecodeFrame(f, again)
			if refusal != nil {
				t.Fatalf("%s was written and cannot be read: %v", again, refusal)
			}
			if third, _ := wire.EncodeFrameRequest(f, back); string(third) != string(again) {
				t.Fatalf("%s became %s", again, third)
			}
		})
	})
}

func FuzzDecodeFrameResponse(f *testing.F) {
	failed := &api.Error{Code: "deadline", Message: "m", RetryAfterMs: 1}
	for _, m := range []*api.ObserveStreamResponse{
		{Frame: &api.ObserveStreamResponse_Opened{Opened: &api.StreamOpened{Session: "s", Next: 1, Acknowledgement: 1}}},
		{Frame: &api.ObserveStreamResponse_Ack{Ack: &api.StreamAck{Sequence: 1, Level: 2, At: 5, Results: []*api.ObserveResult{{Id: "a", Error: failed}}}}},
		{Frame: &api.ObserveStreamResponse_Refused{Refused: &api.StreamRefused{Expected: 1, Error: failed}}},
		{Frame: &api.ObserveStreamResponse_Status{Status: &api.StreamStatus{State: 2, Next: 3}}},
		{Frame: &api.ObserveStreamResponse_Recalled{Recalled: &api.StreamRecalled{Tag: "r", Response: &api.RecallResponse{Hits: []*api.Hit{{Id: "a", Embedding: f32(1)}}}}}},
		{Frame: &api.ObserveStreamResponse_Closed{Closed: &api.StreamClosed{Next: 1, Resumable: true, Error: failed}}},
		{Frame: &api.ObserveStreamResponse_Pong{Pong: &api.StreamPong{Tag: "p", At: 7}}},
	} {
		for _, format := range []wire.Format{wire.JSON, wire.Protobuf} {
			b, refusal := wire.EncodeFrame(format, m)
			if refusal != nil {
				f.Fatal(refusal)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		formats(func(f wire.Format) {
			out, refusal := wire.DecodeFrameResponse(f, body)
			if refusal != nil {
				checkRefusal(t, f, refusal)
				return
			}
			if f != wire.JSON {
				return
			}
			if _, refusal := wire.EncodeFrame(f, out); refusal != nil {
				t.Fatalf("%v was read and cannot be written: %v", out, refusal)
			}
		})
	})
}
