package wire_test

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

func TestCursor(t *testing.T) {
	c := &wire.Cursor{
		Request: math.MaxUint64, Epoch: "e", AsOf: map[int]uint64{3: math.MaxUint64, 0: 1}, Given: 10, Now: -1,
		Score: math.Float32bits(float32(math.Inf(1))), Time: math.MinInt64, Sequence: math.MaxUint64, Space: "s",
	}
	token := c.Encode()
	got, err := wire.DecodeCursor(token, c.Request, "e")
	if err != nil || got.Encode() != token || got.Position(3) != "e.3:18446744073709551615" || got.Position(1) != "" {
		t.Fatalf("%+v, %v", got, err)
	}
	for name, refused := range map[string]struct {
		token   string
		request uint64
		epoch   string
	}{
		"empty":           {"", c.Request, "e"},
		"cut":             {token[:len(token)-1], c.Request, "e"},
		"changed":         {strings.Replace(token, token[5:6], "_", 1), c.Request, "e"},
		"another request": {token, 1, "e"},
		"another epoch":   {token, c.Request, "f"},
		"too long":        {strings.Repeat("A", 1<<20), c.Request, "e"},
	} {
		if got, err := wire.DecodeCursor(refused.token, refused.request, refused.epoch); err == nil || err.Code != wire.CodeInvalidCursor || err.Field != "cursor" || got != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Pages belong together whatever their size, and not where what is asked for differs.
func TestRequestOf(t *testing.T) {
	recall := func(change func(*api.RecallRequest)) uint64 {
		r := &api.RecallRequest{Id: "a", Filter: "true", K: proto.Uint32(3)}
		change(r)
		return wire.RequestOf("s", r)
	}
	same := recall(func(*api.RecallRequest) {})
	for name, change := range map[string]func(*api.RecallRequest){
		"k": func(r *api.RecallRequest) { r.K = nil }, "cursor": func(r *api.RecallRequest) { r.Cursor = "x" }, "include": func(r *api.RecallRequest) { r.Include = []string{"none"} },
		"deadline": func(r *api.RecallRequest) { r.DeadlineMs = 5 }, "paged": func(r *api.RecallRequest) { r.Paged = true }, "space": func(r *api.RecallRequest) { r.Space = "s" },
	} {
		if recall(change) != same {
			t.Errorf("another %s is another request", name)
		}
	}
	for name, change := range map[string]func(*api.RecallRequest){
		"id": func(r *api.RecallRequest) { r.Id = "b" }, "filter": func(r *api.RecallRequest) { r.Filter = "false" }, "half-life": func(r *api.RecallRequest) { r.HalfLifeMs = 1 },
		"min_score": func(r *api.RecallRequest) { r.MinScore = proto.Float32(0) }, "recall": func(r *api.RecallRequest) { r.Recall = api.RecallTarget_RECALL_TARGET_FAST },
	} {
		if recall(change) == same {
			t.Errorf("another %s is the same request", name)
		}
	}
	if wire.RequestOf("t", &api.RecallRequest{Id: "a", Filter: "true"}) == same {
		t.Error("another space is the same request")
	}
}

func FuzzCursor(f *testing.F) {
	f.Add((&wire.Cursor{Request: 7, Epoch: "e", AsOf: map[int]uint64{0: 5}, Given: 3, Score: 9}).Encode())
	f.Add("")
	f.Add("AAAAAAA")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := wire.DecodeCursor(token, 7, "e")
		if err != nil {
			if err.Code != wire.CodeInvalidCursor {
				t.Fatalf("%v", err)
			}
			return
		}
		again, err := wire.DecodeCursor(c.Encode(), 7, "e")
		if err != nil || again.Encode() != c.Encode() {
			t.Fatalf("%+v, %v", again, err)
		}
	})
}

// What is no cursor by its sum is one rarely: here the sum is right.
func FuzzCursorContents(f *testing.F) {
	f.Add(uint64(7), "e", 3, uint64(5), int64(1), uint32(0x7fc00000), "s")
	f.Fuzz(func(t *testing.T, request uint64, epoch string, given int, sequence uint64, now int64, score uint32, space string) {
		c := &wire.Cursor{Request: request, Epoch: epoch, AsOf: map[int]uint64{given: sequence}, Given: given, Now: now, Score: score, Sequence: sequence, Space: space}
		got, err := wire.DecodeCursor(c.Encode(), request, epoch)
		if err == nil && (got.Given < 0 || math.IsNaN(float64(math.Float32frombits(got.Score)))) {
			t.Fatalf("%+v is taken", got)
		}
	})
}
