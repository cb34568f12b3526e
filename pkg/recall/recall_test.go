package recall_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/registry"
	"github.com/engram-memory/engram/pkg/wire"
)

// circle has n observations at equal angles of a half circle: the nearest of each are its neighbours.
func circle(n int) []*api.Observation {
	all := make([]*api.Observation, n)
	for i := range all {
		a := math.Pi * float64(i) / float64(n)
		all[i] = &api.Observation{
			Id: fmt.Sprint(i), Text: fmt.Sprint("text ", i), Embedding: f32(float32(math.Cos(a)), float32(math.Sin(a))),
			Metadata:   map[string]*api.Value{"n": {Kind: &api.Value_Number{Number: float64(i)}}},
			Importance: 0.5, Priority: api.Priority_PRIORITY_HIGH, ObservedAt: int64(i + 1), Session: "s", Sequence: uint64(i + 1),
		}
	}
	return all
}

func TestRecallByEmbeddingAndID(t *testing.T) {
	const n = 40
	space := unique("circle")
	conn := connect(t)
	c := client.New(conn.NC)
	all := circle(n)
	positions := remember(t, conn, space, all...)
	for _, q := range []*api.RecallRequest{{Embedding: all[0].GetEmbedding()}, {Id: "0"}} {
		resp, err := c.Recall(t.Context(), space, q)
		if err != nil {
			t.Fatal(err)
		}
		want := "0 1 2 3 4 5 6 7 8 9" // the default is 10
		searched := uint64(n)
		if q.GetId() != "" {
			searched--
			want = "1 2 3 4 5 6 7 8 9 10" // without itself
		}
		if got := hitIDs(resp.GetHits()); got != want || !resp.GetExact() || resp.GetSearched() != searched || resp.GetApplied() == "" {
			t.Errorf("%v: %q, %v", q, got, resp)
		}
		last := float32(math.Inf(1))
		for _, h := range resp.GetHits() {
			i := int(h.GetMetadata()["n"].GetNumber())
			o := all[i]
			if h.GetText() != o.GetText() || h.GetPosition() != positions[i] || h.GetImportance() != 0.5 || h.GetPriority() != o.GetPriority() ||
				h.GetObservedAt() != o.GetObservedAt() || h.GetSession() != "s" || h.GetSequence() != o.GetSequence() || h.GetEmbedding() != nil {
				t.Errorf("hit %v of %v", h, o)
			}
			if want := math.Cos(math.Pi * float64(i) / n); math.Abs(float64(h.GetScore())-want) > 1e-5 || h.GetScore() > last {
				t.Errorf("%s has the score %v, want %v, and the one before %v", h.GetId(), h.GetScore(), want, last)
			}
			last = h.GetScore()
		}
	}
	for name, c2 := range map[string]struct {
		q    *api.RecallRequest
		want string
	}{
		"k":             {&api.RecallRequest{Id: "39", K: proto.Uint32(1)}, "38"},
		"k beyond":      {&api.RecallRequest{Embedding: all[0].GetEmbedding(), K: proto.Uint32(1000), MinScore: proto.Float32(0.99)}, "0 1"},
		"nothing":       {&api.RecallRequest{Embedding: all[0].GetEmbedding(), MinScore: proto.Float32(1.5)}, ""},
		"unnormalised":  {&api.RecallRequest{Embedding: f32(100, 0), K: proto.Uint32(1)}, "0"},
		"space in body": {&api.RecallRequest{Space: space, Id: "0", K: proto.Uint32(1)}, "1"},
	} {
		resp, err := c.Recall(t.Context(), space, c2.q)
		if err != nil || hitIDs(resp.GetHits()) != c2.want {
			t.Errorf("%s: %q, %v; want %q", name, hitIDs(resp.GetHits()), err, c2.want)
		}
	}
	resp, err := c.Recall(t.Context(), space, &api.RecallRequest{Embedding: all[0].GetEmbedding(), K: proto.Uint32(n)})
	if err != nil || len(resp.GetHits()) != n {
		t.Errorf("all of them: %d, %v", len(resp.GetHits()), err)
	}
}

func TestRecallByText(t *testing.T) {
	space := unique("texts")
	conn := connect(t)
	remember(t, conn, space,
		&api.Observation{Id: "cache", Text: "the cache is cold after a deploy"},
		&api.Observation{Id: "disk", Text: "the disk of the database is nearly full"},
		&api.Observation{Id: "cert", Text: "the certificate expires on Sunday"},
	)
	c := client.New(conn.NC)
	for text, want := range map[string]string{"full disks": "disk", "deploys and cold caches": "cache", "When does the certificate expire?": "cert"} {
		resp, err := c.Recall(t.Context(), space, &api.RecallRequest{Text: text, K: proto.Uint32(1)})
		if err != nil || hitIDs(resp.GetHits()) != want {
			t.Errorf("%q: %v, %v", text, resp, err)
		}
		status, _, body := call(t, http.MethodPost, shared.HTTPAddr(), "/v1/spaces/"+space+"/recall", "", `{"k":1,"text":"`+text+`"}`)
		if status != http.StatusOK || !strings.Contains(body, `"id":"`+want+`"`) {
			t.Errorf("%q over HTTP: %d %s", text, status, body)
		}
	}
	var e *wire.Error
	if _, err := c.Recall(t.Context(), space, &api.RecallRequest{Text: "…"}); !errors.As(err, &e) || e.Code != wire.CodeInvalidEmbedding || e.Field != "text" {
		t.Errorf("a text without words: %v", err)
	}

	// A space whose embedder this process does not have.
	defs, err := registry.Open(t.Context(), conn.JS)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := defs.Close(); err != nil {
			t.Error(err)
		}
	}()
	none := unique("texts-none")
	if _, err := defs.Create(t.Context(), &api.SpaceDefinition{
		Name: none, Dimension: 2, Metric: api.Metric_METRIC_COSINE, Embedder: "none", Engine: "exact",
	}); err != nil {
		t.Fatal(err)
	}
	remember(t, conn, none, &api.Observation{Embedding: f32(1, 0)})
	if _, err := c.Recall(t.Context(), none, &api.RecallRequest{Text: "a"}); !errors.As(err, &e) || e.Code != wire.CodeInvalidEmbedding || e.Field != "text" {
		t.Errorf("a text without an embedder: %v", err)
	}
}

func TestInclude(t *testing.T) {
	space := unique("include")
	conn := connect(t)
	remember(t, conn, space, circle(2)...)
	for include, want := range map[string]string{
		"": "text metadata", "none": "", "embedding": "embedding", "text embedding metadata": "text metadata embedding", "metadata": "metadata",
	} {
		req, err := json.Marshal(map[string]any{"embedding": []float64{1, 0}, "k": 1, "include": strings.Fields(include)})
		if err != nil {
			t.Fatal(err)
		}
		status, _, body := call(t, http.MethodPost, shared.HTTPAddr(), "/v1/spaces/"+space+"/recall", wire.TypeJSON, string(req))
		var resp struct {
			Hits []map[string]any `json:"hits"`
		}
		if err := json.Unmarshal([]byte(body), &resp); err != nil || status != http.StatusOK || len(resp.Hits) != 1 {
			t.Fatalf("%d %s", status, body)
		}
		for _, field := range []string{"text", "metadata", "embedding"} {
			if _, has := resp.Hits[0][field]; has != strings.Contains(want, field) {
				t.Errorf("include %q: %s", include, body)
			}
		}
		if e, ok := resp.Hits[0]["embedding"].([]any); ok && fmt.Sprint(e) != "[1 0]" {
			t.Errorf("the embedding is %v", e)
		}
	}
}

// The same question by every transport has the same answer.
func TestTransportsAgree(t *testing.T) {
	space := unique("agree")
	conn := connect(t)
	remember(t, conn, space, circle(12)...)
	q := &api.RecallRequest{Embedding: f32(1, 0.1), K: proto.Uint32(4), Include: []string{"embedding", "text", "metadata"}}
	asJSON, refusal := wire.EncodeRecallRequest(wire.JSON, q)
	if refusal != nil {
		t.Fatal(refusal)
	}
	path := "/v1/spaces/" + space + "/recall"
	answers := map[string][]byte{}
	for f, body := range map[wire.Format][]byte{wire.JSON: asJSON, wire.Protobuf: marshal(t, q)} {
		b, refusal, _ := request(t, conn.NC, f, bus.RecallSubject(space), body)
		if refusal != nil {
			t.Fatal(refusal)
		}
		answers["NATS "+f.ContentType()] = b
		status, header, text := call(t, http.MethodPost, shared.HTTPAddr(), path, f.ContentType(), string(body))
		if status != http.StatusOK || header.Get("Content-Type") != f.ContentType() {
			t.Fatalf("%d %v %s", status, header, text)
		}
		answers["HTTP "+f.ContentType()] = []byte(text)
	}
	_, _, text := call(t, http.MethodPost, shared.HTTPAddr(), path, "application/x-www-form-urlencoded", string(asJSON))
	answers["curl -d"] = []byte(text)
	var first string
	for name, b := range answers {
		if strings.HasSuffix(name, wire.TypeProtobuf) {
			resp := new(api.RecallResponse)
			if err := proto.Unmarshal(b, resp); err != nil {
				t.Fatal(err)
			}
			var refusal *wire.Error
			if b, refusal = wire.EncodeRecall(wire.JSON, resp); refusal != nil {
				t.Fatal(refusal)
			}
		}
		hits, _, ok := strings.Cut(string(b), `,"applied"`)
		if !ok || strings.Count(hits, `"id"`) != 4 {
			t.Errorf("%s: %s", name, b)
		}
		if first == "" {
			first = hits
		}
		if hits != first {
			t.Errorf("%s answers\n%s\nwhere another one answers\n%s", name, hits, first)
		}
	}
}

func TestAtLeast(t *testing.T) {
	space := unique("at-least")
	conn := connect(t)
	c := client.New(conn.NC)
	position := remember(t, conn, space, &api.Observation{Id: "a", Embedding: f32(1, 0)})[0]
	now, err := event.ParsePosition(position)
	if err != nil {
		t.Fatal(err)
	}
	at := func(change func(*event.Position)) string {
		p := now
		change(&p)
		return p.String()
	}
	// Its own write is there.
	resp, err := c.Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(1, 0), AtLeast: position})
	if err != nil || hitIDs(resp.GetHits()) != "a" {
		t.Fatalf("%v, %v", resp, err)
	}
	// One that is to come is waited for.
	next := at(func(p *event.Position) { p.Sequence++ })
	answered := make(chan error, 1)
	go func() {
		resp, err := c.Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(0, 1), AtLeast: next, DeadlineMs: 8000, K: proto.Uint32(1)})
		if err == nil && hitIDs(resp.GetHits()) != "b" {
			err = fmt.Errorf("it found %v", resp)
		}
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("answered before there was anything: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	remember(t, conn, space, &api.Observation{Id: "b", Embedding: f32(0, 1)})
	if err := <-answered; err != nil {
		t.Fatal(err)
	}

	// One that does not come ends with the deadline; those of others are refused at once.
	never := at(func(p *event.Position) { p.Sequence += 1000 })
	for name, w := range map[string]struct {
		atLeast string
		code    wire.Code
	}{
		"deadline":      {never, wire.CodeDeadline},
		"another epoch": {at(func(p *event.Position) { p.Epoch = "another" }), wire.CodeInvalidPosition},
		"another shard": {at(func(p *event.Position) { p.Shard = 1 - p.Shard }), wire.CodeInvalidPosition},
		"no position":   {"17", wire.CodeInvalidPosition},
	} {
		start := time.Now()
		body := fmt.Sprintf(`{"embedding":[1,0],"at_least":%q,"deadline_ms":60}`, w.atLeast)
		_, e, status := request(t, conn.NC, wire.JSON, bus.RecallSubject(space), []byte(body))
		if e == nil || e.Code != w.code || e.Field != "at_least" || status != wire.Codes()[w.code] {
			t.Errorf("%s: %d %v", name, status, e)
		}
		status, _, text := call(t, http.MethodPost, shared.HTTPAddr(), "/v1/spaces/"+space+"/recall", "", body)
		if e := wire.DecodeError(wire.JSON, []byte(text)); e.Code != w.code || status != wire.Codes()[w.code] {
			t.Errorf("%s over HTTP: %d %s", name, status, text)
		}
		for verb, ask := range map[string]func() error{
			"get": func() error {
				_, err := c.Get(t.Context(), space, &api.GetRequest{Ids: []string{"a"}, AtLeast: w.atLeast, DeadlineMs: 60})
				return err
			},
			"list": func() error {
				_, err := c.List(t.Context(), space, &api.ListRequest{AtLeast: w.atLeast, DeadlineMs: 60})
				return err
			},
		} {
			var e *wire.Error
			if err := ask(); !errors.As(err, &e) || e.Code != w.code {
				t.Errorf("%s of %s: %v", verb, name, err)
			}
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}
