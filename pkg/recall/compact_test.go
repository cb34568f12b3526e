package recall_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/recall"
	"github.com/engram-memory/engram/pkg/registry"
	"github.com/engram-memory/engram/pkg/wire"
)

func TestCompactOverTransports(t *testing.T) {
	space := unique("compact")
	conn := connect(t)
	remember(t, conn, space, circle(5)...)
	type answer struct {
		Copies []struct {
			Worker         string          `json:"worker"`
			RowsBefore     uint64          `json:"rows_before"`
			RowsAfter      uint64          `json:"rows_after"`
			RowsReclaimed  uint64          `json:"rows_reclaimed"`
			LogBytesBefore uint64          `json:"log_bytes_before"`
			Error          json.RawMessage `json:"error"`
		}
	}
	for name, body := range map[string]string{"HTTP": "", "HTTP, with a deadline": `{"deadline_ms":5000}`} {
		status, _, text := call(t, http.MethodPost, shared.HTTPAddr(), "/v1/spaces/"+space+"/compact", "", body)
		var a answer
		if err := json.Unmarshal([]byte(text), &a); err != nil || status != http.StatusOK || len(a.Copies) != 1 {
			t.Fatalf("%s: %d %s", name, status, text)
		}
		if c := a.Copies[0]; c.Worker == "" || c.RowsBefore != 5 || c.RowsAfter != 5 || c.RowsReclaimed != 0 || c.LogBytesBefore == 0 || c.Error != nil {
			t.Errorf("%s: %s", name, text)
		}
	}
	resp, err := client.New(conn.NC).Compact(t.Context(), space, &api.CompactRequest{})
	if err != nil || len(resp.GetCopies()) != 1 || resp.GetCopies()[0].GetRowsBefore() != 5 {
		t.Errorf("%v, %v", resp, err)
	}
	for body, want := range map[string]struct {
		code  wire.Code
		field string
	}{`{"space":"other"}`: {wire.CodeInvalidSpace, "space"}, `{"rows":1}`: {wire.CodeMalformed, "rows"}, `{`: {wire.CodeMalformed, ""}} {
		if _, e, _ := request(t, conn.NC, wire.JSON, bus.CompactSubject(space), []byte(body)); e == nil || e.Code != want.code || e.Field != want.field {
			t.Errorf("%s over NATS: %v", body, e)
		}
		status, _, text := call(t, http.MethodPost, shared.HTTPAddr(), "/v1/spaces/"+space+"/compact", "", body)
		if e := wire.DecodeError(wire.JSON, []byte(text)); e.Code != want.code || status != wire.Codes()[want.code] {
			t.Errorf("%s over HTTP: %d %s", body, status, text)
		}
	}
	if _, e, _ := request(t, conn.NC, wire.Protobuf, bus.CompactSubject("nowhere"), nil); e == nil || e.Code != wire.CodeUnknownSpace {
		t.Errorf("a space that is not there: %v", e)
	}
}

// Copies are told apart by their workers: one that fails and one that is silent have their lines, and where nobody could
// the answer is an error.
func TestCompactAsksAllCopies(t *testing.T) {
	space := unique("compact-copies")
	conn := connect(t)
	remember(t, conn, space, circle(5)...)
	shard := event.ShardOf(space, shards)
	name := "engram-shard-" + map[int]string{0: "0", 1: "1"}[shard]
	// Two more copies: one that cannot, and one that does not answer.
	for worker, answer := range map[string]*api.CompactResponse{
		"broken": {Copies: []*api.CompactedCopy{{Worker: "broken", Error: wire.Errorf(wire.CodeUnavailable, "", "for a test").Proto()}}}, "silent": nil,
	} {
		svc, err := micro.AddService(conn.NC, micro.Config{Name: name, Version: "0.0.1", Metadata: map[string]string{"worker": worker}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := svc.Stop(); err != nil {
				t.Error(err)
			}
		})
		sub, err := conn.NC.Subscribe(bus.ShardSubject(shard, bus.VerbCompact), func(m *nats.Msg) {
			if b, err := proto.Marshal(answer); answer != nil && (err != nil || m.Respond(b) != nil) {
				t.Error("the copy could not answer")
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := sub.Unsubscribe(); err != nil {
				t.Error(err)
			}
		})
	}
	if err := conn.NC.Flush(); err != nil {
		t.Fatal(err)
	}
	resp, err := client.New(conn.NC).Compact(t.Context(), space, &api.CompactRequest{DeadlineMs: 2000})
	if err != nil || len(resp.GetCopies()) != 3 {
		t.Fatalf("%v, %v", resp, err)
	}
	codes := map[string]string{}
	for _, c := range resp.GetCopies() {
		codes[c.GetWorker()] = c.GetError().GetCode()
	}
	if codes["broken"] != "unavailable" || codes["silent"] != "deadline" || len(codes) != 3 {
		t.Errorf("%v", codes)
	}
}

// Where the one who asks for it stops, the answer does not speak of a deadline that has not passed.
func TestCompactThatIsGivenUp(t *testing.T) {
	srv, _ := withoutWorker(t)
	conn := srv.Connect()
	defs, err := registry.Open(t.Context(), conn.JS)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := defs.Close(); err != nil {
			t.Error(err)
		}
	}()
	r := recall.New(recall.Options{Conn: conn.NC, Topology: bus.Topology{Shards: shards}, Registry: defs, Logger: zerolog.Nop()})
	if _, err := client.New(conn.NC).Define(t.Context(), "demo", &api.DefineRequest{}); err != nil {
		t.Fatal(err)
	}
	shard := event.ShardOf("demo", shards)
	svc, err := micro.AddService(conn.NC, micro.Config{Name: "engram-shard-" + strconv.Itoa(shard), Version: "0.0.1", Metadata: map[string]string{"worker": "slow"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sub, err := conn.NC.Subscribe(bus.ShardSubject(shard, bus.VerbCompact), func(*nats.Msg) { cancel() })
	if err == nil {
		err = conn.NC.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	_, refused := r.Compact(ctx, "demo", &api.CompactRequest{})
	if refused == nil || refused.Code != wire.CodeUnavailable || !strings.Contains(refused.Message, "worker slow has not said that it is done") {
		t.Errorf("%v", refused)
	}
	if err := errors.Join(sub.Unsubscribe(), svc.Stop()); err != nil {
		t.Error(err)
	}
}

// A shard without a worker says so.
func TestCompactWithoutAWorker(t *testing.T) {
	srv, _ := withoutWorker(t)
	c := client.New(srv.Connect().NC)
	if _, err := c.Define(t.Context(), "demo", &api.DefineRequest{}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Compact(t.Context(), "demo", &api.CompactRequest{})
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != wire.CodeUnavailable {
		t.Errorf("%v", err)
	}
}
