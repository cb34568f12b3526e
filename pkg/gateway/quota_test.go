package gateway_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/wire"
)

// A rate is refused beyond a second's worth, over each transport the same way, and the other producers hear of it.
func TestQuotaOfRates(t *testing.T) {
	conn := connect(t)
	space := unique("quota-rate")
	told, err := conn.NC.SubscribeSync(bus.PressureSubject(space))
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(conn)
	// So slow that nothing comes back while the test runs.
	def, err := c.Define(t.Context(), space, &api.DefineRequest{Dimension: proto.Uint32(1), Quota: &api.Quota{ObservationsPerSecond: proto.Float64(.001)}})
	if err != nil || def.GetDefinition().GetQuota().GetObservationsPerSecond() != .001 {
		t.Fatalf("%v, %v", def, err)
	}
	if _, err := c.Observe(t.Context(), space, one(&api.Observation{Embedding: f32(1)})); err != nil {
		t.Fatal(err)
	}
	_, err = c.Observe(t.Context(), space, one(&api.Observation{Embedding: f32(1)}))
	if e := wire.AsError(err); err == nil || e.Code != wire.CodeQuota || e.RetryAfter < time.Second {
		t.Errorf("over NATS: %v", err)
	}
	status, header, answer := post(t, shared.HTTPAddr(), "/v1/spaces/"+space+"/observations", "", `{"embedding":[1]}`)
	if e := wire.DecodeError(wire.JSON, []byte(answer)); status != http.StatusTooManyRequests || e.Code != wire.CodeQuota || header.Get("Retry-After") == "" {
		t.Errorf("over HTTP: %d %v %s", status, header, answer)
	}
	m, err := told.NextMsg(10 * time.Second)
	p := new(api.Pressure)
	if err != nil || proto.Unmarshal(m.Data, p) != nil || p.GetRetryAfterMs() == 0 || p.GetHighRetryAfterMs() != 0 || p.GetReason() != string(wire.CodeQuota) {
		t.Errorf("told %v, %v", p, err)
	}
	// Bytes are bounded as well, and what is not given stays.
	if _, err = c.Define(t.Context(), space, &api.DefineRequest{Quota: &api.Quota{ObservationsPerSecond: proto.Float64(0), BytesPerSecond: proto.Float64(.001)}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the gateway has the other quota", func() bool {
		_, err := c.Observe(t.Context(), space, one(&api.Observation{Embedding: f32(1)}))
		return err == nil || strings.Contains(err.Error(), "bytes")
	})
	_, err = c.Observe(t.Context(), space, one(&api.Observation{Embedding: f32(1)}))
	if e := wire.AsError(err); err == nil || e.Code != wire.CodeQuota || !strings.Contains(e.Message, "bytes") {
		t.Errorf("beyond the bytes: %v", err)
	}
}

// What a space stores is bounded, and a forget makes room.
func TestQuotaOfStored(t *testing.T) {
	conn := connect(t)
	space := unique("quota-stored")
	c := newClient(conn)
	if _, err := c.Define(t.Context(), space, &api.DefineRequest{Dimension: proto.Uint32(1), Quota: &api.Quota{StoredObservations: proto.Uint64(3)}}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b", "c"} {
		if _, err := c.Observe(t.Context(), space, &api.ObserveRequest{Acknowledgement: searchable, Observations: []*api.Observation{{Id: id, Embedding: f32(1)}}}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Observe(t.Context(), space, one(&api.Observation{Id: "d", Embedding: f32(1)}))
	if e := wire.AsError(err); err == nil || e.Code != wire.CodeSpaceFull || e.Status() != http.StatusInsufficientStorage {
		t.Errorf("a fourth: %v", err)
	}
	if _, err := c.Forget(t.Context(), space, &api.ForgetRequest{Ids: []string{"a"}, Acknowledgement: searchable}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is room again", func() bool {
		_, err := c.Observe(t.Context(), space, one(&api.Observation{Id: "d", Embedding: f32(1)}))
		return err == nil
	})
	eventually(t, "and it is full again", func() bool {
		_, err := c.Observe(t.Context(), space, one(&api.Observation{Id: "d", Embedding: f32(1)}))
		return err != nil && wire.AsError(err).Code == wire.CodeSpaceFull
	})
}

// A quota is changed by compare-and-set, what is fixed stays fixed, and the space shows it.
func TestQuotaChanges(t *testing.T) {
	conn := connect(t)
	space := unique("quota-change")
	c := newClient(conn)
	first, err := c.Define(t.Context(), space, &api.DefineRequest{Dimension: proto.Uint32(2)})
	if err != nil || first.GetDefinition().GetQuota() != nil {
		t.Fatalf("%v, %v", first, err)
	}
	change := &api.DefineRequest{Quota: &api.Quota{StoredObservations: proto.Uint64(7)}, IfRevision: proto.Uint64(first.GetRevision())}
	second, err := c.Define(t.Context(), space, change)
	if err != nil || second.GetRevision() <= first.GetRevision() || second.GetCreated() || second.GetDefinition().GetDimension() != 2 {
		t.Fatalf("%v, %v", second, err)
	}
	_, err = c.Define(t.Context(), space, change)
	if e := wire.AsError(err); err == nil || e.Code != wire.CodeConflict || e.Field != "if_revision" {
		t.Errorf("at another revision: %v", err)
	}
	_, err = c.Define(t.Context(), space, &api.DefineRequest{Dimension: proto.Uint32(3), Quota: &api.Quota{StoredObservations: proto.Uint64(9)}})
	if e := wire.AsError(err); err == nil || e.Code != wire.CodeConflict || e.Field != "dimension" {
		t.Errorf("with another dimension: %v", err)
	}
	for field, q := range map[string]*api.Quota{"quota.observations_per_second": {ObservationsPerSecond: proto.Float64(-1)}, "quota.bytes_per_second": {BytesPerSecond: proto.Float64(-1)}} {
		_, err = c.Define(t.Context(), space, &api.DefineRequest{Quota: q})
		if e := wire.AsError(err); err == nil || e.Code != wire.CodeInvalidArgument || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	eventually(t, "the space shows its quota", func() bool {
		resp, err := c.Spaces(t.Context(), space)
		return err == nil && resp.GetSpaces()[0].GetDefinition().GetQuota().GetStoredObservations() == 7
	})
	// The log has nothing of it.
	for _, m := range logged(t, conn.JS, space) {
		ev := new(api.LogEvent)
		if err := proto.Unmarshal(m.Data(), ev); err != nil || ev.GetDefine().GetQuota() != nil {
			t.Errorf("the log has %v, %v", ev, err)
		}
	}
}
