package wire_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

func TestPeekObserve(t *testing.T) {
	normal, high := &api.Observation{Id: "a", Text: "x"}, &api.Observation{Priority: api.Priority_PRIORITY_HIGH, Embedding: &api.Embedding{Data: make([]byte, 300)}}
	for _, tc := range []struct {
		all  []*api.Observation
		high bool
	}{{nil, false}, {[]*api.Observation{normal}, false}, {[]*api.Observation{high}, true}, {[]*api.Observation{high, high, high}, true}, {[]*api.Observation{high, normal}, false}} {
		b, err := proto.Marshal(&api.ObserveRequest{IdempotencyKey: "k", Observations: tc.all, DeadlineMs: 7})
		if err != nil {
			t.Fatal(err)
		}
		if n, high, ok := wire.PeekObserve(b); n != len(tc.all) || high != tc.high || ok != (len(tc.all) > 0) {
			t.Errorf("%d observations: %d, %v, %v", len(tc.all), n, high, ok)
		}
	}
	for _, b := range []string{"", "{", "\x0a", "\x0a\x05a", "\xff"} {
		if _, _, ok := wire.PeekObserve([]byte(b)); ok {
			t.Errorf("%q was read", b)
		}
	}
}

// It never disagrees with what decoding finds.
func FuzzPeekObserve(f *testing.F) {
	for _, o := range []*api.Observation{{}, {Id: "a", Priority: api.Priority_PRIORITY_HIGH}} {
		b, err := proto.Marshal(&api.ObserveRequest{Observations: []*api.Observation{o}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		n, high, ok := wire.PeekObserve(body)
		req := new(api.ObserveRequest)
		if proto.Unmarshal(body, req) != nil || !ok {
			return
		}
		all := true
		for _, o := range req.GetObservations() {
			all = all && o.GetPriority() == api.Priority_PRIORITY_HIGH
		}
		if n != len(req.GetObservations()) || high != all {
			t.Errorf("%d, %v for %v", n, high, req)
		}
	})
}

// Too many observations are refused before they are decoded, and as many as there may be are not.
func TestCheckCount(t *testing.T) {
	for _, extra := range []int{0, 1} {
		all := make([]*api.Observation, event.MaxBatch+extra)
		for i := range all {
			all[i] = &api.Observation{}
		}
		request, err := proto.Marshal(&api.ObserveRequest{Observations: all})
		if err != nil {
			t.Fatal(err)
		}
		frame, err := proto.Marshal(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Observe{Observe: &api.StreamObserve{Sequence: 1, Observations: all}}})
		if err != nil {
			t.Fatal(err)
		}
		_, _, ofRequest := wire.DecodeObserve(wire.Protobuf, request)
		_, ofFrame := wire.DecodeFrame(wire.Protobuf, frame)
		for what, refused := range map[string]*wire.Error{"request": ofRequest, "frame": ofFrame} {
			if (refused != nil) != (extra > 0) || refused != nil && refused.Code != wire.CodeTooLarge {
				t.Errorf("a %s of %d observations: %v", what, len(all), refused)
			}
		}
	}
}
