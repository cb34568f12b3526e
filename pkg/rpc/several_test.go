package rpc_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/api/engram/v1/engramv1connect"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/rpc"
	"github.com/engram-memory/engram/pkg/wire"
)

// hits returns the spaces and ids of an answer, best first, without what all names of spaces begin with.
func hits(resp *api.RecallResponse, prefix string) string {
	var all []string
	for _, h := range resp.GetHits() {
		all = append(all, strings.TrimPrefix(h.GetSpace(), prefix)+h.GetId())
	}
	return strings.Join(all, " ")
}

// answers collects what a recall by stream sends.
func answers(t *testing.T, out engramv1connect.RecallServiceClient, req *api.RecallRequest, size uint32) (all []*api.RecallStreamResponse) {
	t.Helper()
	s, err := out.RecallStream(background(t), connect.NewRequest(&api.RecallStreamRequest{Request: req, PageSize: size}))
	must(t, err)
	defer s.Close()
	for s.Receive() {
		all = append(all, s.Msg())
	}
	must(t, s.Err())
	return all
}

// A recall that names several spaces, or the beginning of their names, is answered over gRPC and Connect and on every stream as
// over NATS, and refused as there.
func TestRecallOfSeveralSpaces(t *testing.T) {
	ctx, prefix := background(t), unique("several")+"-"
	in := ingest(t, connect.WithGRPC())
	var names []string
	for s := range 3 {
		name := prefix + string(rune('a'+s))
		names = append(names, name)
		req := &api.ObserveRequest{Space: name, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE}
		for i := range 4 {
			req.Observations = append(req.Observations, &api.Observation{Id: fmt.Sprint(i), Embedding: f32(1, float32(i*3+s)/10)})
		}
		_, err := in.Observe(ctx, connect.NewRequest(req))
		must(t, err)
	}
	conn, err := shared.Connect(t.Name())
	must(t, err)
	defer conn.Close()
	overNATS := client.New(conn.NC)

	requests := map[string]struct {
		req  *api.RecallRequest
		want string // hits, or the code of the refusal
	}{
		"spaces":         {&api.RecallRequest{Spaces: []string{names[2], names[0]}, K: ptr(uint32(3))}, "a0 c0 a1"},
		"prefix":         {&api.RecallRequest{Prefix: prefix, K: ptr(uint32(5))}, "a0 b0 c0 a1 b1"},
		"one, unknown":   {&api.RecallRequest{Spaces: []string{names[1], prefix + "nobody"}, K: ptr(uint32(2))}, "b0 b1"},
		"all unknown":    {&api.RecallRequest{Spaces: []string{prefix + "nobody"}}, string(wire.CodeUnknownSpace)},
		"nobody's":       {&api.RecallRequest{Prefix: prefix + "nobody"}, string(wire.CodeUnknownSpace)},
		"both":           {&api.RecallRequest{Spaces: names, Prefix: prefix}, string(wire.CodeInvalidSpace)},
		"with a space":   {&api.RecallRequest{Space: names[0], Spaces: names}, string(wire.CodeInvalidSpace)},
		"space, prefix":  {&api.RecallRequest{Space: names[0], Prefix: prefix}, string(wire.CodeInvalidSpace)},
		"no name":        {&api.RecallRequest{Spaces: []string{"Upper"}}, string(wire.CodeInvalidSpace)},
		"an id":          {&api.RecallRequest{Spaces: names, Id: "0"}, string(wire.CodeInvalidArgument)},
		"another filter": {&api.RecallRequest{Spaces: names, Filter: "x"}, string(wire.CodeFilterInvalid)},
	}
	for name, tc := range requests {
		if tc.req.GetId() == "" {
			tc.req.Embedding = f32(1, 0)
		}
		resp, err := overNATS.RecallMany(ctx, tc.req)
		var refusal *wire.Error
		got := hits(resp, prefix)
		if err != nil {
			refusal = wire.AsError(err)
			got = string(refusal.Code)
		}
		if got != tc.want {
			t.Errorf("%s over NATS: %q, %v; want %s", name, got, err, tc.want)
		}
		for transport, opts := range map[string][]connect.ClientOption{"gRPC": {connect.WithGRPC()}, "gRPC-Web": {connect.WithGRPCWeb()}, "Connect": nil, "Connect JSON": {connect.WithProtoJSON()}} {
			out := recalls(t, opts...)
			one, err := out.Recall(ctx, connect.NewRequest(tc.req))
			if refusal != nil {
				if e := rpc.Refusal(err); e == nil || e.Code != refusal.Code || e.Field != refusal.Field || e.Message != refusal.Message {
					t.Errorf("%s by %s: %v; want %v", name, transport, err, refusal)
				}
				err = streamError(out.RecallStream(ctx, connect.NewRequest(&api.RecallStreamRequest{Request: tc.req})))
				if e := rpc.Refusal(err); e == nil || e.Code != refusal.Code || e.Message != refusal.Message {
					t.Errorf("%s by a stream of %s: %v; want %v", name, transport, err, refusal)
				}
				continue
			}
			must(t, err)
			if got := hits(one.Msg, prefix); got != tc.want || len(one.Msg.GetSpaces()) != len(resp.GetSpaces()) || one.Msg.GetExact() != resp.GetExact() {
				t.Errorf("%s by %s: %q, %v", name, transport, got, one.Msg)
			}
			// What is exact at once is not refined; what is not, since a space fails, is.
			refined := answers(t, out, tc.req, 0)
			if last := refined[len(refined)-1]; len(refined) != map[bool]int{true: 1, false: 2}[resp.GetExact()] || !last.GetFinal() || hits(last.GetResponse(), prefix) != tc.want {
				t.Errorf("%s by a stream of %s: %v", name, transport, refined)
			}
			var all []string
			for _, page := range answers(t, out, tc.req, 2) {
				all = append(all, hits(page.GetResponse(), prefix))
				if len(page.GetResponse().GetSpaces()) != len(resp.GetSpaces()) {
					t.Errorf("%s in pages by %s: a page says nothing of its spaces: %v", name, transport, page)
				}
			}
			if got := strings.Join(all, " "); got != tc.want || len(all) != (len(resp.GetHits())+1)/2 {
				t.Errorf("%s in pages by %s: %q", name, transport, all)
			}
		}
	}
	for transport, dial := range pipes(t) {
		p := dial(shared.HTTPAddr())
		open(t, p, &api.StreamInit{Space: names[0]}) // which is not what these recalls are from
		for name, tc := range requests {
			must(t, p.send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Recall{Recall: &api.StreamRecall{Tag: name, Request: tc.req}}}))
			r := next(t, p).GetRecalled()
			got := hits(r.GetResponse(), prefix)
			if r.GetError() != nil {
				got = r.GetError().GetCode()
			}
			if r.GetTag() != name || got != tc.want || r.GetError() == nil && len(r.GetResponse().GetSpaces()) == 0 {
				t.Errorf("%s on a stream by %s: %v", name, transport, r)
			}
		}
		p.cut()
	}
}

// once answers the first recall of several spaces with what is not exact yet, and keeps what is asked behind it.
type once struct {
	rpc.Reads
	asked   []*api.RecallRequest
	earlier [][]*api.SpaceAnswer
}

func (o *once) RecallMany(_ context.Context, req *api.RecallRequest, earlier ...*api.SpaceAnswer) (*api.RecallResponse, *wire.Error) {
	o.asked, o.earlier = append(o.asked, req), append(o.earlier, earlier)
	return &api.RecallResponse{Spaces: []*api.SpaceAnswer{{Space: "a", Applied: "k3q7y2mzab.1:7"}, {Space: "b", Applied: "k3q7y2mzab.0:3"}}}, nil
}

// A refinement is of no earlier state than the answer before it, in each space, and keeps the position that was asked for.
func TestRefinementsOfSeveralSpaces(t *testing.T) {
	reads, mux := new(once), http.NewServeMux()
	rpc.MountRecall(mux, reads, nil)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(auth.NewContext(r.Context(), auth.Everyone())))
	}))
	defer srv.Close()
	all := answers(t, engramv1connect.NewRecallServiceClient(srv.Client(), srv.URL), &api.RecallRequest{Spaces: []string{"a", "b"}, AtLeast: "k3q7y2mzab.0:2"}, 0)
	if len(all) != 2 || all[0].GetFinal() || !all[1].GetFinal() {
		t.Fatalf("%v", all)
	}
	if r := reads.asked[1]; r.GetAtLeast() != "k3q7y2mzab.0:2" || !slices.Equal(r.GetSpaces(), []string{"a", "b"}) || reads.asked[0].GetRecall() != api.RecallTarget_RECALL_TARGET_FAST {
		t.Errorf("asked %v", reads.asked)
	}
	if len(reads.earlier[0]) != 0 || len(reads.earlier[1]) != 2 || reads.earlier[1][0].GetApplied() != "k3q7y2mzab.1:7" {
		t.Errorf("earlier answers were %v", reads.earlier)
	}
}
