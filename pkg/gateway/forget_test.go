package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/wire"
)

const searchable = api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE

// remember observes with an acknowledgement of searchable.
func remember(t *testing.T, c *client.Client, space string, all ...*api.Observation) []*api.ObserveResult {
	t.Helper()
	resp, err := c.Observe(t.Context(), space, &api.ObserveRequest{Observations: all, Acknowledgement: searchable})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resp.GetResults() {
		if r.GetError() != nil || !r.GetSearchable() {
			t.Fatalf("%v", r)
		}
	}
	return resp.GetResults()
}

func forget(t *testing.T, c *client.Client, space string, req *api.ForgetRequest) *api.ForgetResponse {
	t.Helper()
	req.Acknowledgement = searchable
	resp, err := c.Forget(t.Context(), space, req)
	if err != nil {
		t.Fatal(err)
	}
	if !resp.GetSearchable() || resp.GetPosition() == "" {
		t.Fatalf("%v", resp)
	}
	return resp
}

// ids lists the ids of a space, newest first.
func ids(t *testing.T, c *client.Client, space string) string {
	t.Helper()
	resp, err := c.List(t.Context(), space, &api.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, h := range resp.GetObservations() {
		all = append(all, h.GetId())
	}
	return strings.Join(all, " ")
}

func TestForgetAndObserveAgain(t *testing.T) {
	space := unique("forget")
	c := newClient(connect(t))
	remember(t, c, space, &api.Observation{Id: "a", Embedding: f32(1, 0)}, &api.Observation{Id: "b", Embedding: f32(0, 1)})
	forget(t, c, space, &api.ForgetRequest{Ids: []string{"a", "never was"}})
	if got := ids(t, c, space); got != "b" {
		t.Fatalf("after the forget: %q", got)
	}
	remember(t, c, space, &api.Observation{Id: "a", Text: "again", Embedding: f32(1, 1)})
	if got := ids(t, c, space); got != "a b" {
		t.Fatalf("after observing again: %q", got)
	}
	resp, err := c.Get(t.Context(), space, &api.GetRequest{Ids: []string{"a"}})
	if err != nil || len(resp.GetObservations()) != 1 || resp.GetObservations()[0].GetText() != "again" {
		t.Fatalf("%v, %v", resp, err)
	}
}

// A key that was used for an observation, or that looks like what the gateway writes itself, takes nothing from a forget.
func TestForgetHasWriteIDsOfItsOwn(t *testing.T) {
	space := unique("forget-keys")
	c := newClient(connect(t))
	for i, key := range []string{"k", "drop/1", "define/2", "forget/k"} {
		resp, err := c.Observe(t.Context(), space, &api.ObserveRequest{IdempotencyKey: key, Observations: []*api.Observation{{Embedding: f32(1, float32(i))}}})
		if err != nil || resp.GetResults()[0].GetDuplicate() {
			t.Fatalf("%q: %v, %v", key, resp, err)
		}
	}
	first := forget(t, c, space, &api.ForgetRequest{Ids: []string{"k"}, IdempotencyKey: "k"})
	if got := ids(t, c, space); got != "forget/k define/2 drop/1" {
		t.Fatalf("after the forget: %q", got)
	}
	if again := forget(t, c, space, &api.ForgetRequest{Ids: []string{"k"}, IdempotencyKey: "k"}); again.GetPosition() != first.GetPosition() {
		t.Errorf("a retry stands at %s, the first at %s", again.GetPosition(), first.GetPosition())
	}
	if end := forget(t, c, space, &api.ForgetRequest{All: true}); sequence(t, end.GetPosition()) <= sequence(t, first.GetPosition()) {
		t.Errorf("the end of the space stands at %s, before the forget at %s", end.GetPosition(), first.GetPosition())
	}
	remember(t, c, space, &api.Observation{Id: "new", Embedding: f32(1, 2, 3)})
	if got := ids(t, c, space); got != "new" {
		t.Fatalf("in the next generation: %q", got)
	}
}

// A dropped space is gone, and its name is free for another dimension.
func TestDropAndANewGeneration(t *testing.T) {
	space := unique("dropped")
	conn := connect(t)
	c := newClient(conn)
	for generation, dim := range []int{2, 5, 2} {
		remember(t, c, space, &api.Observation{Id: "a", Embedding: f32(make1(dim)...)})
		info, err := c.Spaces(t.Context(), space)
		if err != nil || len(info.GetSpaces()) != 1 {
			t.Fatalf("%v, %v", info, err)
		}
		s := info.GetSpaces()[0]
		if d := s.GetDefinition(); int(d.GetGeneration()) != generation+1 || int(d.GetDimension()) != dim || s.GetObservations() != 1 {
			t.Fatalf("generation %d: %v", generation+1, s)
		}
		forget(t, c, space, &api.ForgetRequest{All: true})
		var e *wire.Error
		if _, err := c.Recall(t.Context(), space, &api.RecallRequest{Id: "a"}); !errors.As(err, &e) || e.Code != wire.CodeUnknownSpace {
			t.Fatalf("recall of a dropped space: %v", err)
		}
		if _, err := c.Forget(t.Context(), space, &api.ForgetRequest{All: true}); !errors.As(err, &e) || e.Code != wire.CodeUnknownSpace {
			t.Fatalf("drop of a dropped space: %v", err)
		}
	}
}

// A gateway that died between the bucket and the log: the retry of the drop completes it.
func TestDropThatIsNotInTheLog(t *testing.T) {
	space := unique("half-dropped")
	conn := connect(t)
	c := newClient(conn)
	remember(t, c, space, &api.Observation{Id: "a", Embedding: f32(1, 0)})
	defs := openRegistry(t, conn.JS)
	if _, err := defs.Update(t.Context(), defs.Get(space), func(d *api.SpaceDefinition) { d.Dropped = true }); err != nil {
		t.Fatal(err)
	}
	var e *wire.Error
	eventually(t, "the gateway has heard of it", func() bool {
		_, err := c.Forget(t.Context(), space, &api.ForgetRequest{Ids: []string{"a"}})
		return errors.As(err, &e) && e.Code == wire.CodeUnknownSpace
	})
	forget(t, c, space, &api.ForgetRequest{All: true})
	if n := len(logged(t, conn.JS, space)); n != 3+forgets(t, conn, space) {
		t.Errorf("%d messages in the log", n)
	}
	if _, err := c.Forget(t.Context(), space, &api.ForgetRequest{All: true}); !errors.As(err, &e) || e.Code != wire.CodeUnknownSpace {
		t.Errorf("once it is in the log: %v", err)
	}
}

// forgets counts the forgets by id of a space in the log.
func forgets(t *testing.T, conn *bus.Conn, space string) (n int) {
	t.Helper()
	for _, m := range logged(t, conn.JS, space) {
		if strings.HasPrefix(m.Headers().Get(bus.HeaderMsgID), space+"#forget/") {
			n++
		}
	}
	return n
}

func TestBadForgets(t *testing.T) {
	space := unique("bad-forget")
	conn := connect(t)
	c := newClient(conn)
	define(t, conn, space, f32(1))
	before := lastSequences(t, conn.JS)
	for name, b := range map[string]struct {
		space string
		req   *api.ForgetRequest
		code  wire.Code
		field string
	}{
		"nothing":       {space, &api.ForgetRequest{}, wire.CodeInvalidArgument, "ids"},
		"both":          {space, &api.ForgetRequest{All: true, Ids: []string{"a"}}, wire.CodeInvalidArgument, "ids"},
		"too many":      {space, &api.ForgetRequest{Ids: make([]string, 1001)}, wire.CodeTooLarge, "ids"},
		"empty id":      {space, &api.ForgetRequest{Ids: []string{"a", ""}}, wire.CodeInvalidID, "ids[1]"},
		"long id":       {space, &api.ForgetRequest{Ids: []string{strings.Repeat("x", 257)}}, wire.CodeInvalidID, "ids[0]"},
		"another space": {space, &api.ForgetRequest{All: true, Space: "other"}, wire.CodeInvalidSpace, "space"},
		"unknown space": {"never-was", &api.ForgetRequest{All: true}, wire.CodeUnknownSpace, "space"},
		"level":         {space, &api.ForgetRequest{All: true, Acknowledgement: 9}, wire.CodeInvalidArgument, "acknowledgement"},
		"key":           {space, &api.ForgetRequest{All: true, IdempotencyKey: "a\nb"}, wire.CodeInvalidArgument, "idempotency_key"},
	} {
		var e *wire.Error
		if _, err := c.Forget(t.Context(), b.space, b.req); !errors.As(err, &e) || e.Code != b.code || e.Field != b.field {
			t.Errorf("%s: %v, want %s (%s)", name, err, b.code, b.field)
		}
	}
	m, err := conn.NC.Request(bus.ForgetSubject("Upper"), []byte(`{"all":true}`), requestTimeout)
	if err != nil {
		t.Fatal(err)
	}
	if e := wire.DecodeError(wire.JSON, m.Data); e.Code != wire.CodeInvalidSpace || !strings.Contains(e.Message, "Upper") {
		t.Errorf("%s", m.Data)
	}
	if after := lastSequences(t, conn.JS); !sameSequences(after, before) {
		t.Errorf("the streams went from %v to %v", before, after)
	}
}

func sameSequences(a, b map[string]uint64) bool {
	for name, n := range a {
		if b[name] != n {
			return false
		}
	}
	return len(a) == len(b)
}

// What is published without a reply subject is taken all the same.
func TestNoReply(t *testing.T) {
	space := unique("no-reply")
	conn := connect(t)
	c := newClient(conn)
	for _, m := range []*nats.Msg{
		{Subject: bus.ObserveSubject(space), Data: []byte(`{"id":"a","embedding":[1,0]}`)},
		{Subject: bus.ObserveSubject(space), Data: []byte(`{"id":"bad","embedding":[0,0]}`)},
		{Subject: bus.ObserveSubject(space), Data: []byte(`{`)},
		{Subject: bus.ObserveSubject(space), Data: []byte(`[{"id":"b","embedding":[1,1]}]`), Header: nats.Header{bus.HeaderContentType: {wire.TypeJSON}}},
	} {
		if err := conn.NC.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both are there", func() bool {
		resp, err := c.List(t.Context(), space, &api.ListRequest{})
		return err == nil && len(resp.GetObservations()) == 2
	})
	if err := conn.NC.Publish(bus.ForgetSubject(space), []byte(`{"ids":["a"]}`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one was forgotten", func() bool { return ids(t, c, space) == "b" })
}

// Searchable means that recall finds it, at once, over NATS and HTTP.
func TestSearchable(t *testing.T) {
	space := unique("searchable")
	c := newClient(connect(t))
	for i, id := range []string{"a", "b", "c", "d", "e"} {
		v := f32(1, float32(i))
		if i%2 == 0 {
			remember(t, c, space, &api.Observation{Id: id, Embedding: v})
		} else {
			body := `{"id":"` + id + `","embedding":[1,` + string(rune('0'+i)) + `]}`
			status, _, answer := post(t, shared.HTTPAddr(), "/v1/spaces/"+space+"/observations", "", body, wire.HeaderAck, "searchable")
			if status != http.StatusOK || !strings.Contains(answer, `"searchable":true`) {
				t.Fatalf("%d %s", status, answer)
			}
		}
		resp, err := c.Recall(t.Context(), space, &api.RecallRequest{Embedding: v})
		if err != nil || len(resp.GetHits()) != i+1 || resp.GetHits()[0].GetId() != id {
			t.Fatalf("%s: %v, %v", id, resp, err)
		}
	}
}

// A write that went down with its space is not taken for one that is there.
func TestWriteIDOfADroppedSpace(t *testing.T) {
	space := unique("dropped-id")
	c := newClient(connect(t))
	request := func() *api.ObserveRequest {
		return &api.ObserveRequest{IdempotencyKey: "k", Observations: []*api.Observation{{Embedding: f32(1, 0)}}}
	}
	if _, err := c.Observe(t.Context(), space, request()); err != nil {
		t.Fatal(err)
	}
	forget(t, c, space, &api.ForgetRequest{All: true})
	var e *wire.Error
	if resp, err := c.Observe(t.Context(), space, request()); !errors.As(err, &e) || e.Code != wire.CodeConflict || e.Field != "idempotency_key" {
		t.Errorf("%v, %v", resp, err)
	}
	remember(t, c, space, &api.Observation{Id: "k", Embedding: f32(1, 0)})
	if got := ids(t, c, space); got != "k" {
		t.Errorf("the space holds %q", got)
	}
}

// A forget stands in the log behind what the gateway had taken of its space before, whatever its priority.
func TestForgetStandsBehindWhatWasTaken(t *testing.T) {
	srv := bustest.Start(t)
	g := core(t, srv.Connect(), nil)
	must(t, observe(g, "notes", one(&api.Observation{Id: "first", Embedding: f32(1, 2)})))
	for n := range 100 {
		id := fmt.Sprint("n", n)
		// They take as long as they can: a batch of many.
		req := new(api.ObserveRequest)
		for range 50 {
			req.Observations = append(req.Observations, &api.Observation{Id: id, Embedding: f32(1, 2), Priority: api.Priority_PRIORITY_HIGH})
		}
		taken := observe(g, "notes", req)
		resp, refused := g.Forget(t.Context(), "notes", &api.ForgetRequest{Ids: []string{id}})
		if refused != nil {
			t.Fatal(refused)
		}
		results := must(t, taken)
		if last, forgot := sequence(t, results[len(results)-1].GetPosition()), sequence(t, resp.GetPosition()); forgot < last {
			t.Fatalf("round %d: the forget stands at %d, before the observation at %d that was taken before it", n, forgot, last)
		}
	}
}
