package rpc_test

import (
	"fmt"
	"testing"

	"connectrpc.com/connect"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
)

// From init to close, on every transport: acks of both levels with positions and times, a recall, a repeat.
func TestStream(t *testing.T) {
	for name, dial := range pipes(t) {
		t.Run(name, func(t *testing.T) {
			p, space := dial(shared.HTTPAddr()), unique("stream")
			o := open(t, p, &api.StreamInit{Space: space, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE})
			if o.GetSession() == "" || o.GetNext() != 1 || o.GetWindow() == 0 || o.GetResumed() {
				t.Fatalf("opened %v", o)
			}
			for i := range uint64(3) {
				must(t, p.send(observeFrame(i+1, &api.Observation{Embedding: f32(1, float32(i)), Text: fmt.Sprint("text ", i)})))
			}
			positions := map[uint64]string{}
			searchable := 0
			for searchable < 3 {
				ack := next(t, p).GetAck()
				if ack == nil || ack.GetAt() == 0 {
					t.Fatalf("in place of an ack came %v", ack)
				}
				for i, r := range ack.GetResults() {
					sequence := ack.GetSequence() + uint64(i)
					if r.GetError() != nil || r.GetPosition() == "" || r.GetId() != fmt.Sprintf("%s:%d", o.GetSession(), sequence) {
						t.Fatalf("result %v", r)
					}
					if ack.GetLevel() == api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE {
						searchable++
						if positions[sequence] != r.GetPosition() || !r.GetSearchable() {
							t.Fatalf("searchable %v, accepted at %q", r, positions[sequence])
						}
					}
					positions[sequence] = r.GetPosition()
				}
			}
			must(t, p.send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Recall{Recall: &api.StreamRecall{Tag: "r", Request: &api.RecallRequest{Embedding: f32(1, 2)}}}}))
			if r := next(t, p).GetRecalled(); r.GetTag() != "r" || r.GetError() != nil || len(r.GetResponse().GetHits()) != 3 || r.GetResponse().GetHits()[0].GetText() != "text 2" {
				t.Fatalf("recalled %v", r)
			}
			must(t, p.send(observeFrame(2, &api.Observation{Embedding: f32(9, 9)})))
			if ack := next(t, p).GetAck(); ack.GetSequence() != 2 || !ack.GetResults()[0].GetDuplicate() || ack.GetResults()[0].GetPosition() != positions[2] {
				t.Fatalf("a repeat: %v", ack)
			}
			next(t, p) // searchable
			must(t, p.send(observeFrame(7, &api.Observation{Embedding: f32(1, 1)})))
			if r := next(t, p).GetRefused(); r.GetSequence() != 7 || r.GetExpected() != 4 || r.GetError().GetCode() != "out_of_sequence" {
				t.Fatalf("a gap: %v", r)
			}
			must(t, p.send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Ping{Ping: &api.StreamPing{Tag: "p"}}}))
			if r := next(t, p).GetPong(); r.GetTag() != "p" || r.GetAt() == 0 {
				t.Fatalf("pong %v", r)
			}
			must(t, p.send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Close{Close: &api.StreamClose{}}}))
			if r := next(t, p).GetClosed(); r.GetNext() != 4 || r.GetError() != nil || r.GetResumable() {
				t.Fatalf("closed %v", r)
			}
		})
	}
}

// A frame with a bad field, in the middle of others that the client does not wait for: what is sent in its place, and
// behind it, is there.
func TestBadFrameInTheMiddle(t *testing.T) {
	for name, dial := range pipes(t) {
		t.Run(name, func(t *testing.T) {
			p, space := dial(shared.HTTPAddr()), unique("middle")
			open(t, p, &api.StreamInit{Space: space})
			observation := func(id string) *api.Observation { return &api.Observation{Id: id, Embedding: f32(1, 0)} }
			must(t, p.send(observeFrame(1, observation("first"))))
			next(t, p)
			bad := observation("bad")
			bad.Importance = 7
			for i, o := range []*api.Observation{observation("a"), bad, observation("c"), observation("d")} {
				must(t, p.send(observeFrame(uint64(2+i), o)))
			}
			for range 4 { // an ack and three refusals
				if f := next(t, p); f.GetRefused() == nil && len(f.GetAck().GetResults()) != 1 {
					t.Fatalf("frame %v", f)
				}
			}
			must(t, p.send(observeFrame(3, observation("c"), observation("d"), observation("e"))))
			ack := next(t, p).GetAck()
			if ack.GetSequence() != 3 || len(ack.GetResults()) != 3 {
				t.Fatalf("in place of an ack of 3 to 5 came %v", ack)
			}
			ids := []string{"a", "c", "d", "e"}
			resp, err := recalls(t).Get(background(t), connect.NewRequest(&api.GetRequest{
				Space: space, Ids: ids, Include: []string{"none"}, AtLeast: ack.GetResults()[2].GetPosition(),
			}))
			must(t, err)
			if len(resp.Msg.GetObservations()) != len(ids) {
				t.Errorf("of %v there are %v", ids, resp.Msg.GetObservations())
			}
		})
	}
}

// What others write under the session and sequence of a stream, or under a key that looks like them, is another write.
func TestWriteIDsOfStreams(t *testing.T) {
	space := unique("writes")
	p := pipes(t)["gRPC"](shared.HTTPAddr())
	id := open(t, p, &api.StreamInit{Space: space}).GetSession()
	must(t, p.send(observeFrame(1, &api.Observation{Id: "a", Embedding: f32(1, 0)})))
	next(t, p)
	for _, req := range []*api.ObserveRequest{
		{Space: space, Observations: []*api.Observation{{Id: "x", Session: id, Sequence: 2, Embedding: f32(1, 0)}}},
		{Space: space, IdempotencyKey: id + ":3", Observations: []*api.Observation{{Id: "y", Embedding: f32(1, 0)}}},
	} {
		_, err := ingest(t).Observe(background(t), connect.NewRequest(req))
		must(t, err)
	}
	must(t, p.send(observeFrame(2, &api.Observation{Id: "b", Embedding: f32(1, 0)}, &api.Observation{Id: "c", Embedding: f32(1, 0)})))
	ack := next(t, p).GetAck()
	if len(ack.GetResults()) != 2 || ack.GetResults()[0].GetDuplicate() || ack.GetResults()[1].GetDuplicate() {
		t.Fatalf("acked %v", ack)
	}
}
