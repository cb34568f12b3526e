package rpc_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"github.com/rs/zerolog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/reflect/protoreflect"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/api/engram/v1/engramv1connect"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/rpc"
	"github.com/engram-memory/engram/pkg/wire"
)

// What grpcurl asks for: the services of the port, and the descriptors of one with all that they import.
func TestReflection(t *testing.T) {
	s := grpcreflect.NewClient(h2c(t), "http://"+shared.HTTPAddr(), connect.WithGRPC()).NewStream(background(t))
	defer func() { _, _ = s.Close() }()
	names, err := s.ListServices()
	must(t, err)
	for _, want := range []string{rpc.IngestService, rpc.RecallService, "grpc.health.v1.Health"} {
		if !slices.ContainsFunc(names, func(n protoreflect.FullName) bool { return string(n) == want }) {
			t.Errorf("%s is not among the services %v", want, names)
		}
	}
	found := map[string]bool{}
	files, err := s.FileContainingSymbol("engram.v1.IngestService")
	must(t, err)
	for _, f := range files {
		for _, m := range f.GetMessageType() {
			found[f.GetPackage()+"."+m.GetName()] = true
		}
		for _, m := range f.GetService() {
			found[fmt.Sprint(f.GetPackage(), ".", m.GetName(), " ", len(m.GetMethod()))] = true
		}
	}
	for _, want := range []string{"engram.v1.IngestService 4", "engram.v1.Observation", "engram.v1.ObserveStreamRequest", "engram.v1.Value"} {
		if !found[want] {
			t.Errorf("%s is not described", want)
		}
	}
}

// gRPC's health check of each service, of the port, and of what is not there.
func TestHealth(t *testing.T) {
	check := func(addr, service string) (string, error) {
		c := connect.NewClient[api.StreamPing, api.StreamPing](h2c(t), "http://"+addr+"/grpc.health.v1.Health/Check", connect.WithGRPC())
		// HealthCheckRequest and HealthCheckResponse have one field of number 1: a string, and an enumeration.
		resp, err := c.CallUnary(background(t), connect.NewRequest(&api.StreamPing{Tag: service}))
		if err != nil {
			return "", err
		}
		return fmt.Sprint(resp.Msg.ProtoReflect().GetUnknown()), nil
	}
	for _, service := range []string{"", rpc.IngestService, rpc.RecallService} {
		if got, err := check(shared.HTTPAddr(), service); err != nil || got != "[8 1]" { // SERVING
			t.Errorf("%q: %v, %v", service, got, err)
		}
	}
	if _, err := check(shared.HTTPAddr(), "other"); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("another service: %v", err)
	}
	down, err := daemon.ServeHTTP("127.0.0.1:0", rpc.Discovery(map[string]func() error{"a": func() error { return nil }, "b": func() error { return errors.New("no") }}))
	must(t, err)
	defer func() { _ = down.Close(past()) }()
	for service, want := range map[string]string{"a": "[8 1]", "b": "[8 2]", "": "[8 2]"} {
		if got, err := check(down.Addr(), service); err != nil || got != want {
			t.Errorf("%q: %v, %v", service, got, err)
		}
	}
}

// The reads, and forgetting and defining, by gRPC; refinements and pages end in a final marker, and in no other place.
func TestServices(t *testing.T) {
	ctx, space := background(t), unique("services")
	in, out := ingest(t, connect.WithGRPC()), recalls(t, connect.WithGRPC())
	defined, err := in.Define(ctx, connect.NewRequest(&api.DefineRequest{Space: space, Dimension: ptr(uint32(2)), Metric: api.Metric_METRIC_L2}))
	must(t, err)
	if !defined.Msg.GetCreated() || defined.Msg.GetDefinition().GetDimension() != 2 {
		t.Errorf("defined %v", defined.Msg)
	}
	req := &api.ObserveRequest{Space: space, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE}
	for i := range 25 {
		req.Observations = append(req.Observations, &api.Observation{Id: fmt.Sprint(i), Embedding: f32(float32(i), 0)})
	}
	_, err = in.Observe(ctx, connect.NewRequest(req))
	must(t, err)
	ask := func(size uint32) (answers []*api.RecallStreamResponse) {
		s, err := out.RecallStream(ctx, connect.NewRequest(&api.RecallStreamRequest{Request: &api.RecallRequest{Space: space, Embedding: f32(0, 0), K: ptr(uint32(25))}, PageSize: size}))
		must(t, err)
		defer s.Close()
		for s.Receive() {
			answers = append(answers, s.Msg())
		}
		must(t, s.Err())
		return answers
	}
	pages := ask(10)
	if len(pages) != 3 {
		t.Fatalf("%d pages", len(pages))
	}
	next := 0
	for i, p := range pages {
		if p.GetFinal() != (i == 2) {
			t.Errorf("page %d has final %v", i, p.GetFinal())
		}
		for _, h := range p.GetResponse().GetHits() {
			if h.GetId() != fmt.Sprint(next) {
				t.Errorf("hit %d is %s", next, h.GetId())
			}
			next++
		}
	}
	// Where the recall is itself a page of a longer one, the last message says how to go on.
	paged := answers(t, out, &api.RecallRequest{Space: space, Embedding: f32(0, 0), K: ptr(uint32(4)), Paged: true}, 3)
	if len(paged) != 2 || paged[0].GetResponse().GetNext() != "" || paged[1].GetResponse().GetNext() == "" {
		t.Fatalf("pages of a page: %v", paged)
	}
	whole := answers(t, out, &api.RecallRequest{Space: space, Embedding: f32(0, 0), K: ptr(uint32(4)), Paged: true}, 0)
	for _, last := range []*api.RecallStreamResponse{paged[1], whole[0]} {
		behind := answers(t, out, &api.RecallRequest{Space: space, Embedding: f32(0, 0), K: ptr(uint32(4)), Cursor: last.GetResponse().GetNext()}, 0)
		if h := behind[0].GetResponse().GetHits(); len(behind) != 1 || len(h) != 4 || h[0].GetId() != "4" {
			t.Errorf("behind the page: %v", behind)
		}
	}
	if whole := ask(0); len(whole) != 1 || !whole[0].GetFinal() || len(whole[0].GetResponse().GetHits()) != 25 || !whole[0].GetResponse().GetExact() {
		t.Errorf("refinements of what is exact at once: %d, %v", len(whole), whole[0].GetFinal())
	}
	got, err := out.Get(ctx, connect.NewRequest(&api.GetRequest{Space: space, Ids: []string{"3"}}))
	if err != nil || len(got.Msg.GetObservations()) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
	list, err := out.List(ctx, connect.NewRequest(&api.ListRequest{Space: space, Limit: ptr(uint32(5))}))
	if err != nil || len(list.Msg.GetObservations()) != 5 || !list.Msg.GetMore() {
		t.Errorf("list %v, %v", list, err)
	}
	_, err = in.Forget(ctx, connect.NewRequest(&api.ForgetRequest{Space: space, Ids: []string{"3"}, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE}))
	must(t, err)
	info, err := out.Spaces(ctx, connect.NewRequest(&api.SpacesRequest{Space: space}))
	if err != nil || len(info.Msg.GetSpaces()) != 1 || info.Msg.GetSpaces()[0].GetObservations() != 24 {
		t.Errorf("spaces %v, %v", info, err)
	}
	compacted, err := out.Compact(ctx, connect.NewRequest(&api.CompactRequest{Space: space}))
	if err != nil || len(compacted.Msg.GetCopies()) != 1 {
		t.Errorf("compacted %v, %v", compacted, err)
	}
	for name, err := range map[string]error{
		"recall":        second(out.Recall(ctx, connect.NewRequest(&api.RecallRequest{Space: "not-there", Text: "a"}))),
		"get":           second(out.Get(ctx, connect.NewRequest(&api.GetRequest{Space: "not-there", Ids: []string{"a"}}))),
		"forget":        second(in.Forget(ctx, connect.NewRequest(&api.ForgetRequest{Space: "not-there", All: true}))),
		"spaces":        second(out.Spaces(ctx, connect.NewRequest(&api.SpacesRequest{Space: "not-there"}))),
		"recall stream": streamError(out.RecallStream(ctx, connect.NewRequest(&api.RecallStreamRequest{Request: &api.RecallRequest{Space: "not-there", Text: "a"}}))),
	} {
		if e := rpc.Refusal(err); e.Code != wire.CodeUnknownSpace || connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("%s of a space that is not there: %v", name, err)
		}
	}
}

func second[M any](_ *connect.Response[M], err error) error { return err }

func streamError(s *connect.ServerStreamForClient[api.RecallStreamResponse], err error) error {
	if err != nil {
		return err
	}
	defer s.Close()
	for s.Receive() {
	}
	return s.Err()
}

// Nobody drains the shard: gRPC says RESOURCE_EXHAUSTED with RetryInfo, and a stream a status, and each when to come back.
func TestBackpressure(t *testing.T) {
	srv := bustest.Start(t)
	conn := srv.Connect()
	env, _, stop, err := daemon.NewEnv(conn, zerolog.Nop())
	must(t, err)
	cfg := daemon.GatewayConfig{Gateway: gateway.DefaultConfig()}
	cfg.Gateway.Admission.Capacity, cfg.Gateway.Deadline, cfg.Topology.Shards = 100, time.Second, 2
	part, err := daemon.StartGateway(background(t), cfg, env)
	must(t, err)
	faces, err := daemon.Faces(part)
	if err != nil {
		t.Fatal(err)
	}
	h, err := daemon.ServeHTTP("127.0.0.1:0", faces...)
	must(t, err)
	defer func() {
		must(t, part.Drain(t.Context()))
		_ = h.Close(past())
		must(t, part.Close())
		must(t, stop())
	}()
	for name, dial := range pipes(t) {
		p, space := dial(h.Addr()), unique("pressure-"+strings.ToLower(strings.ReplaceAll(name, " ", "-")))
		open(t, p, &api.StreamInit{Space: space})
		sequence, status := uint64(1), (*api.StreamStatus)(nil)
		for status == nil {
			if sequence > 200 {
				t.Fatalf("%s: %d observations were taken", name, sequence)
			}
			must(t, p.send(observeFrame(sequence, &api.Observation{Embedding: f32(1, 2)})))
			out := next(t, p)
			if status = out.GetStatus(); status == nil {
				sequence++
			}
		}
		r := next(t, p).GetRefused()
		if status.GetState() != api.StreamState_STREAM_STATE_BACKPRESSURE || status.GetRetryAfterMs() == 0 || status.GetNext() != sequence ||
			r.GetSequence() != sequence || r.GetExpected() != sequence || r.GetError().GetCode() != string(wire.CodeBackpressure) || r.GetError().GetRetryAfterMs() != status.GetRetryAfterMs() {
			t.Errorf("%s: status %v, refused %v", name, status, r)
		}
		p.cut()
		_, err := engramv1connect.NewIngestServiceClient(h2c(t), "http://"+h.Addr(), connect.WithGRPC()).Observe(background(t),
			connect.NewRequest(&api.ObserveRequest{Space: space, Observations: []*api.Observation{{Embedding: f32(1, 2)}}}))
		var e *connect.Error
		if !errors.As(err, &e) || e.Code() != connect.CodeResourceExhausted {
			t.Fatalf("gRPC answered with %v", err)
		}
		var retry *errdetails.RetryInfo
		for _, d := range e.Details() {
			if v, err := d.Value(); err == nil {
				if ri, ok := v.(*errdetails.RetryInfo); ok {
					retry = ri
				}
			}
		}
		if d := retry.GetRetryDelay().AsDuration(); d < 10*time.Millisecond || d > 10*time.Second {
			t.Errorf("RetryInfo %v in %v", retry, e.Details())
		}
	}
}
