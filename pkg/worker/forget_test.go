package worker

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/wire"
)

func forgetMatching(space, filter string) *api.LogEvent {
	return &api.LogEvent{Event: &api.LogEvent_ForgetMatching{ForgetMatching: &api.ForgetMatchingEvent{Space: space, Filter: filter}}}
}

// version is an observation as the model has it.
type version struct {
	n        int
	sequence uint64
}

// everything lists the space as id:n, in the order of positions.
func (w *world) everything() string {
	w.t.Helper()
	resp := new(api.ListResponse)
	if code := w.ask(bus.VerbList, &api.ListRequest{Space: "a", Order: api.ListOrder_LIST_ORDER_OLDEST, Limit: proto.Uint32(1000)}, resp); code != "" {
		w.t.Fatalf("list: %s", code)
	}
	var all []string
	for _, h := range resp.GetObservations() {
		all = append(all, fmt.Sprint(h.GetId(), ":", h.GetMetadata()["n"].GetNumber()))
	}
	return strings.Join(all, " ")
}

// What forgets by filter leave is what the log says in its order, whatever overtakes what: while it is followed, after a
// restart, in a copy that begins with nothing, and when the log has lost what was forgotten.
func TestForgetByFilterInOrder(t *testing.T) {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(1, 2))
	model := map[string]version{}
	var dead []uint64
	sequence := w.publish(define("a", 3))
	kill := func(id string) {
		dead = append(dead, model[id].sequence)
		delete(model, id)
	}
	c := w.start(nil)
	for range 60 {
		var events []*api.LogEvent
		for range 20 {
			id, n := fmt.Sprint("id", rng.IntN(60)), rng.IntN(100)
			sequence++
			switch rng.IntN(12) {
			case 0: // all with a number from low to low + 20
				low := rng.IntN(80)
				events = append(events, forgetMatching("a", fmt.Sprintf("metadata.n >= %d && metadata.n < %d", low, low+20)))
				for id, v := range model {
					if v.n >= low && v.n < low+20 {
						kill(id)
					}
				}
			case 1:
				events = append(events, &api.LogEvent{Event: &api.LogEvent_Forget{Forget: &api.ForgetEvent{Space: "a", Ids: []string{id}}}})
				if _, ok := model[id]; ok {
					kill(id)
				}
			default:
				e := observe("a", id, direction(n)...)
				e.GetObserve().Metadata = map[string]*api.Value{"n": {Kind: &api.Value_Number{Number: float64(n)}}}
				if rng.IntN(2) == 0 {
					e.GetObserve().Priority = api.Priority_PRIORITY_HIGH
				}
				if _, ok := model[id]; ok {
					kill(id)
				}
				model[id] = version{n, sequence}
				events = append(events, e)
			}
		}
		if last := w.publish(events...); last != sequence {
			t.Fatalf("the log is at %d, and the model at %d", last, sequence)
		}
	}
	var want []string
	ids := make([]string, 0, len(model))
	for id := range model {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return int(model[a].sequence) - int(model[b].sequence) })
	for _, id := range ids {
		want = append(want, fmt.Sprint(id, ":", model[id].n))
	}
	check := func(when string) {
		t.Helper()
		if got := w.everything(); got != strings.Join(want, " ") {
			t.Fatalf("%s:\n%s, want\n%s", when, got, strings.Join(want, " "))
		}
	}
	c.reach(t, sequence)
	check("while it is followed")
	c.close(t)
	c = w.start(nil)
	c.reach(t, sequence)
	check("after a restart")
	c.close(t)
	for _, when := range []string{"in a new copy", "when the log has lost what was forgotten"} {
		if err := os.RemoveAll(w.dir); err != nil {
			t.Fatal(err)
		}
		c = w.start(nil)
		c.reach(t, sequence)
		check(when)
		c.close(t)
		w.delete(dead...)
		dead = nil
	}
	if n := len(w.quarantine()); n > 0 {
		t.Errorf("%d events stand in the quarantine", n)
	}
}

// What cannot be decided stands in the quarantine with its reason, and forgets nothing.
func TestForgetsThatCannotBeDecided(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	w.publish(define("a", 3))
	e := observe("a", "x", 1, 0, 0)
	e.GetObserve().Metadata = map[string]*api.Value{}
	for i := range 128 {
		e.GetObserve().Metadata[fmt.Sprint("key ", i)] = &api.Value{Kind: &api.Value_Bool{Bool: true}}
	}
	w.publish(e)
	last := w.publish(
		forgetMatching("a", "nobody > 1"), forgetMatching("a", `metadata.all(a, metadata.all(b, metadata.all(c, a + b + c != "")))`), observe("a", "y", 0, 1, 0),
		forgetMatching("b", "true"), forgetMatching("a", ""),
	)
	c.reach(t, last)
	if n := w.count("a"); n != 2 {
		t.Errorf("%d observations, want 2", n)
	}
	var reasons []string
	for _, p := range w.quarantine() {
		reasons = append(reasons, p.GetReason())
	}
	if got, want := strings.Join(reasons, " "), fmt.Sprint(wire.CodeFilterInvalid, " ", wire.CodeFilterCostly, " ", wire.CodeUnknownSpace, " ", wire.CodeMalformed); got != want {
		t.Errorf("the quarantine has %q, want %q", got, want)
	}
	if code := w.ask(bus.VerbRecall, &api.RecallRequest{Space: "a", Embedding: embedding(1, 0, 0), Filter: `metadata.all(a, metadata.all(b, metadata.all(c, a + b + c != "")))`}, nil); code != string(wire.CodeFilterCostly) {
		t.Errorf("a recall with it: %q", code)
	}
}

// A wait that ends says how far the copy had got, for recall, get and list.
func TestDeadlinesSayHowFar(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	last := w.publish(define("a", 3), observe("a", "x", 1, 0, 0))
	c.reach(t, last)
	far := w.position(last + 5)
	for verb, req := range map[string]proto.Message{
		bus.VerbRecall: &api.RecallRequest{Space: "a", Embedding: embedding(1, 0, 0), AtLeast: far, DeadlineMs: 50},
		bus.VerbGet:    &api.GetRequest{Space: "a", Ids: []string{"x"}, AtLeast: far, DeadlineMs: 50},
		bus.VerbList:   &api.ListRequest{Space: "a", AtLeast: far, DeadlineMs: 50},
	} {
		body, err := proto.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := w.conn.NC.Request(bus.ShardSubject(0, verb), body, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if e := wire.DecodeError(wire.Protobuf, msg.Data); e.Code != wire.CodeDeadline || e.Status() != 504 || !strings.Contains(e.Message, w.position(last)) {
			t.Errorf("%s: %v", verb, e)
		}
	}
}
