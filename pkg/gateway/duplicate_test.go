package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/wire"
)

// A retry is answered with the position of the first try, whatever it says otherwise.
func TestDuplicates(t *testing.T) {
	space := unique("duplicates")
	conn := connect(t)
	g := core(t, conn, nil)
	for name, request := range map[string]func(text string) *api.ObserveRequest{
		"key": func(text string) *api.ObserveRequest {
			return &api.ObserveRequest{IdempotencyKey: "k", Observations: []*api.Observation{{Text: text}}}
		},
		"key of several": func(text string) *api.ObserveRequest {
			return &api.ObserveRequest{IdempotencyKey: "several", Observations: []*api.Observation{{Text: text}, {Text: text}}}
		},
		"session": func(text string) *api.ObserveRequest {
			return one(&api.Observation{Text: text, Session: "s", Sequence: 7})
		},
		"session before key": func(text string) *api.ObserveRequest {
			return &api.ObserveRequest{IdempotencyKey: text, Observations: []*api.Observation{{Text: text, Session: "t", Sequence: 1}}}
		},
		"key that a header would change": func(text string) *api.ObserveRequest {
			return &api.ObserveRequest{IdempotencyKey: "ä: b  c", Observations: []*api.Observation{{Text: text}}}
		},
	} {
		first := must(t, observe(g, space, request("one")))
		again := must(t, observe(g, space, request("two")))
		for i := range first {
			if first[i].GetDuplicate() || !again[i].GetDuplicate() || again[i].GetPosition() != first[i].GetPosition() || again[i].GetId() != first[i].GetId() {
				t.Errorf("%s: first %v, then %v", name, first[i], again[i])
			}
		}
	}
	// The same write id in another space is another write.
	if r := must(t, observe(g, space+"-2", &api.ObserveRequest{IdempotencyKey: "k", Observations: []*api.Observation{{Text: "a"}}})); r[0].GetDuplicate() {
		t.Errorf("a key of another space: %v", r[0])
	}
	// An id is an identity, and no write id.
	first := must(t, observe(g, space, one(&api.Observation{Id: "same", Text: "a"})))
	second := must(t, observe(g, space, one(&api.Observation{Id: "same", Text: "b"})))
	if second[0].GetDuplicate() || sequence(t, second[0].GetPosition()) <= sequence(t, first[0].GetPosition()) {
		t.Errorf("an id twice: %v, then %v", first[0], second[0])
	}
}

// Duplicates among many others, which the server refuses as a whole batch: they get their first positions, the others are
// written once each.
func TestDuplicatesInTheMiddleOfABatch(t *testing.T) {
	const n = 300
	space := unique("duplicates-middle")
	conn := connect(t)
	g := core(t, conn, nil)
	earlier := map[int]*api.ObserveResult{}
	for _, i := range []int{7, 150, 151, n - 1} {
		earlier[i] = must(t, observe(g, space, one(&api.Observation{Embedding: f32(1, 2), Session: "s", Sequence: uint64(i + 1)})))[0]
	}
	before := len(logged(t, conn.JS, space))
	req := new(api.ObserveRequest)
	for i := range n {
		req.Observations = append(req.Observations, &api.Observation{Embedding: f32(1, float32(i)), Session: "s", Sequence: uint64(i + 1)})
	}
	// Twice in one request.
	req.Observations = append(req.Observations, &api.Observation{Embedding: f32(3, 3), Session: "s", Sequence: 100})
	results := must(t, observe(g, space, req))
	seen, last := map[string]bool{}, uint64(0)
	for i, r := range results[:n] {
		if first, ok := earlier[i]; ok {
			if !r.GetDuplicate() || r.GetPosition() != first.GetPosition() {
				t.Errorf("observation %d: %v, and first %v", i, r, first)
			}
			continue
		}
		if r.GetDuplicate() || seen[r.GetPosition()] || sequence(t, r.GetPosition()) <= last {
			t.Fatalf("observation %d: %v, behind %d", i, r, last)
		}
		seen[r.GetPosition()], last = true, sequence(t, r.GetPosition())
	}
	if r := results[n]; !r.GetDuplicate() || r.GetPosition() != results[99].GetPosition() {
		t.Errorf("the second one of a request: %v, and the first %v", r, results[99])
	}
	all := logged(t, conn.JS, space)
	if got, want := len(all)-before, n-len(earlier); got != want {
		t.Errorf("%d messages were added, want %d", got, want)
	}
	ids := map[string]bool{}
	for _, m := range all {
		id := m.Headers().Get(bus.HeaderMsgID)
		if id == "" || ids[id] {
			t.Errorf("the write id %q is in the log twice", id)
		}
		ids[id] = true
	}
}

// The whole of a large request again, as after a lost acknowledgement.
func TestWholeRequestAgain(t *testing.T) {
	conn := connect(t)
	g := core(t, conn, nil)
	space := unique("whole-again")
	request := func() *api.ObserveRequest {
		req := &api.ObserveRequest{IdempotencyKey: "whole"}
		for i := range 64 {
			req.Observations = append(req.Observations, &api.Observation{Embedding: f32(1, float32(i))})
		}
		return req
	}
	first := must(t, observe(g, space, request()))
	before := lastSequences(t, conn.JS)
	for i, r := range must(t, observe(g, space, request())) {
		if !r.GetDuplicate() || r.GetPosition() != first[i].GetPosition() {
			t.Errorf("observation %d: %v, then %v", i, first[i], r)
		}
	}
	if after := lastSequences(t, conn.JS); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the streams went from %v to %v", before, after)
	}
}

// Over HTTP: a header's key, and NDJSON sent again under its key.
func TestDuplicatesOverHTTP(t *testing.T) {
	path := "/v1/spaces/" + unique("duplicates-http") + "/observations"
	for range 2 {
		status, _, body := post(t, shared.HTTPAddr(), path, "", `{"text":"once"}`, wire.HeaderIdempotencyKey, "h", wire.HeaderAck, "searchable")
		if status != http.StatusOK || !strings.Contains(body, `"id":"h"`) || !strings.Contains(body, `"searchable":true`) {
			t.Fatalf("%d %s", status, body)
		}
	}
	var text strings.Builder
	for i := range 450 {
		fmt.Fprintf(&text, "{\"text\":\"line %d\"}\n", i)
	}
	var first []lineResult
	for try := range 2 {
		status, _, body := post(t, shared.HTTPAddr(), path, wire.TypeNDJSON, text.String(), wire.HeaderIdempotencyKey, "lines")
		all := decodeLines(t, body)
		if status != http.StatusOK || len(all) != 450 {
			t.Fatalf("%d, %d lines", status, len(all))
		}
		for i, l := range all {
			if l.Line != i+1 || l.Position == "" || l.Duplicate != (try == 1) || try == 1 && (l.Position != first[i].Position || l.ID != first[i].ID) {
				t.Fatalf("try %d, line %d: %+v", try, i+1, l)
			}
		}
		first = all
	}
}
