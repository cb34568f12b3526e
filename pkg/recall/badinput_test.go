package recall_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// Bad recalls, on every transport that can carry them: the same structured error.
func TestBadRecalls(t *testing.T) {
	space := unique("bad-recall")
	conn := connect(t)
	remember(t, conn, space, &api.Observation{Id: "a", Embedding: f32(1, 2, 3)})
	embedding := func(e *api.Embedding) []byte { return marshal(t, &api.RecallRequest{Embedding: e}) }
	for name, b := range map[string]struct {
		space    string
		json     string
		protobuf []byte
		code     wire.Code
		field    string
	}{
		"k is 0":           {"", `{"id":"a","k":0}`, marshal(t, &api.RecallRequest{Id: "a", K: proto.Uint32(0)}), wire.CodeInvalidArgument, "k"},
		"k is 1001":        {"", `{"id":"a","k":1001}`, marshal(t, &api.RecallRequest{Id: "a", K: proto.Uint32(1001)}), wire.CodeInvalidArgument, "k"},
		"k is -1":          {"", `{"id":"a","k":-1}`, nil, wire.CodeMalformed, "k"},
		"no query":         {"", `{}`, []byte{}, wire.CodeInvalidArgument, "embedding"},
		"two queries":      {"", `{"id":"a","text":"b"}`, marshal(t, &api.RecallRequest{Id: "a", Text: "b"}), wire.CodeInvalidArgument, "embedding"},
		"wrong dimension":  {"", `{"embedding":[1,2]}`, embedding(f32(1, 2)), wire.CodeWrongDimension, "embedding"},
		"empty":            {"", `{"embedding":[]}`, embedding(f32()), wire.CodeInvalidEmbedding, "embedding"},
		"zero vector":      {"", `{"embedding":[0,0,0]}`, embedding(f32(0, 0, 0)), wire.CodeInvalidEmbedding, "embedding"},
		"NaN":              {"", `{"embedding":"AADAfwAAwH8AAMB/"}`, embedding(&api.Embedding{Data: []byte("\x00\x00\xc0\x7f\x00\x00\xc0\x7f\x00\x00\xc0\x7f")}), wire.CodeInvalidEmbedding, "embedding"},
		"overflow":         {"", `{"embedding":[1e400,0,0]}`, nil, wire.CodeInvalidEmbedding, "embedding"},
		"unknown encoding": {"", "", embedding(&api.Embedding{Data: []byte("abc"), Encoding: 7}), wire.CodeUnknownEncoding, "embedding"},
		"odd bytes":        {"", `{"embedding":"AAAA"}`, embedding(&api.Embedding{Data: []byte("abc")}), wire.CodeInvalidEmbedding, "embedding"},
		"too long a text":  {"", `{"text":"` + strings.Repeat("x ", event.MaxText) + `"}`, marshal(t, &api.RecallRequest{Text: strings.Repeat("x ", event.MaxText)}), wire.CodeTooLarge, "text"},
		"too long an id":   {"", `{"id":"` + strings.Repeat("x", 257) + `"}`, marshal(t, &api.RecallRequest{Id: strings.Repeat("x", 257)}), wire.CodeInvalidID, "id"},
		"unknown id":       {"", `{"id":"b"}`, marshal(t, &api.RecallRequest{Id: "b"}), wire.CodeNotFound, "id"},
		"include":          {"", `{"id":"a","include":["vector"]}`, marshal(t, &api.RecallRequest{Id: "a", Include: []string{"vector"}}), wire.CodeInvalidArgument, "include"},
		"filter":           {"", `{"id":"a","filter":"x > 1"}`, marshal(t, &api.RecallRequest{Id: "a", Filter: "x > 1"}), wire.CodeFilterInvalid, "filter"},
		"another space":    {"", `{"id":"a","space":"other"}`, marshal(t, &api.RecallRequest{Id: "a", Space: "other"}), wire.CodeInvalidSpace, "space"},
		"illegal space":    {"Upper", `{"id":"a"}`, marshal(t, &api.RecallRequest{Id: "a"}), wire.CodeInvalidSpace, "space"},
		"unknown space":    {"never-was", `{"id":"a"}`, marshal(t, &api.RecallRequest{Id: "a"}), wire.CodeUnknownSpace, "space"},
		"malformed":        {"", `{"id":"a"`, []byte("\x0a"), wire.CodeMalformed, ""},
		"unknown field":    {"", `{"id":"a","top_k":3}`, nil, wire.CodeMalformed, "top_k"},
		"wrong type":       {"", `{"id":5}`, nil, wire.CodeMalformed, "id"},
	} {
		if b.space == "" {
			b.space = space
		}
		for f, body := range map[wire.Format][]byte{wire.JSON: []byte(b.json), wire.Protobuf: b.protobuf} {
			if f == wire.JSON && b.json == "" || f == wire.Protobuf && b.protobuf == nil {
				continue
			}
			_, e, status := request(t, conn.NC, f, bus.RecallSubject(b.space), body)
			if e == nil || e.Code != b.code || e.Field != b.field || status != wire.Codes()[b.code] || len(e.Message) < 10 {
				t.Errorf("%s over NATS as %s: %d %+v; want %s (%s)", name, f.ContentType(), status, e, b.code, b.field)
			}
			status, header, text := call(t, http.MethodPost, shared.HTTPAddr(), "/v1/spaces/"+b.space+"/recall", f.ContentType(), string(body))
			overHTTP := wire.DecodeError(f, []byte(text))
			if e != nil && *overHTTP != *e && !strings.Contains(e.Message, "position") || status != wire.Codes()[b.code] || header.Get("Content-Type") != f.ContentType() {
				t.Errorf("%s over HTTP as %s: %d %v %+v; over NATS %+v", name, f.ContentType(), status, header, overHTTP, e)
			}
		}
	}
	status, _, text := call(t, http.MethodPost, shared.HTTPAddr(), "/v1/spaces/"+space+"/recall", "", `{"text":"`+strings.Repeat("x", 1<<20)+`"}`)
	if e := wire.DecodeError(wire.JSON, []byte(text)); status != http.StatusRequestEntityTooLarge || e.Code != wire.CodeTooLarge {
		t.Errorf("a large body: %d %.200s", status, text)
	}
	status, _, text = call(t, http.MethodPost, shared.HTTPAddr(), "/v1/spaces/"+space+"/recall", "text/csv", `a,b`)
	if e := wire.DecodeError(wire.JSON, []byte(text)); status != http.StatusBadRequest || e.Field != "Content-Type" {
		t.Errorf("text/csv: %d %s", status, text)
	}
}

// A space that is not there is said so, and at once.
func TestUnknownSpace(t *testing.T) {
	conn := connect(t)
	c := client.New(conn.NC)
	start := time.Now()
	for name, ask := range map[string]func() error{
		"recall": func() error {
			_, err := c.Recall(t.Context(), "nowhere", &api.RecallRequest{Text: "a"})
			return err
		},
		"get": func() error {
			_, err := c.Get(t.Context(), "nowhere", &api.GetRequest{Ids: []string{"a"}})
			return err
		},
		"list": func() error {
			_, err := c.List(t.Context(), "nowhere", &api.ListRequest{})
			return err
		},
		"spaces": func() error {
			_, err := c.Spaces(t.Context(), "nowhere")
			return err
		},
		"forget": func() error {
			_, err := c.Forget(t.Context(), "nowhere", &api.ForgetRequest{Ids: []string{"a"}})
			return err
		},
	} {
		var e *wire.Error
		if err := ask(); !errors.As(err, &e) || e.Code != wire.CodeUnknownSpace || e.Field != "space" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, r := range []struct{ method, path, body string }{
		{http.MethodPost, "/v1/spaces/nowhere/recall", `{"text":"a"}`}, {http.MethodGet, "/v1/spaces/nowhere", ""},
		{http.MethodGet, "/v1/spaces/nowhere/observations", ""}, {http.MethodGet, "/v1/spaces/nowhere/observations/a", ""},
		{http.MethodDelete, "/v1/spaces/nowhere/observations/a", ""},
	} {
		status, header, text := call(t, r.method, shared.HTTPAddr(), r.path, "", r.body)
		if e := wire.DecodeError(wire.JSON, []byte(text)); status != http.StatusNotFound || e.Code != wire.CodeUnknownSpace || header.Get("Content-Type") != wire.TypeJSON {
			t.Errorf("%s %s: %d %s", r.method, r.path, status, text)
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A query parameter that means nothing is refused, and the refusal names it and those that there are.
func TestUnknownQueryParameters(t *testing.T) {
	space := unique("query")
	remember(t, connect(t), space, &api.Observation{Id: "a", Embedding: f32(1, 2)})
	at := "/v1/spaces/" + space
	for _, r := range []struct{ method, path, field, says string }{
		{http.MethodGet, "/v1/spaces?limit=3", "limit", "take none"},
		{http.MethodGet, at + "?x", "x", "take none"},
		{http.MethodPut, at + "?dimension=2", "dimension", "take none"},
		{http.MethodPost, at + "/recall?k=3", "k", "take none"},
		{http.MethodPost, at + "/compact?deadline_ms=1", "deadline_ms", "take none"},
		{http.MethodPost, at + "/observations?ack=searchable", "ack", "take none"},
		{http.MethodDelete, at + "/observations/a?yes=1", "yes", "take none"},
		{http.MethodGet, at + "/observations?limt=1", "limt", "limit, before, at_least, as_of, include"},
		{http.MethodGet, at + "/observations?limit=1&limit=2", "limit", "2 times"},
		{http.MethodGet, at + "/observations/a?limit=1", "limit", "at_least, as_of, include"},
		{http.MethodGet, at + "/observations?limit=%zz", "", "cannot be read"},
		{http.MethodGet, at + "/observations?limit=1;include=text", "", "cannot be read"},
	} {
		status, header, text := call(t, r.method, shared.HTTPAddr(), r.path, wire.TypeJSON, "{}")
		e := wire.DecodeError(wire.JSON, []byte(text))
		if status != http.StatusBadRequest || e.Code != wire.CodeMalformed || e.Field != r.field || !strings.Contains(e.Message, r.says) || header.Get("Content-Type") != wire.TypeJSON {
			t.Errorf("%s %s: %d %s", r.method, r.path, status, text)
		}
	}
	status, _, text := call(t, http.MethodPost, shared.HTTPAddr(), at+"/recall?k=3", wire.TypeProtobuf, "")
	if e := wire.DecodeError(wire.Protobuf, []byte(text)); status != http.StatusBadRequest || e.Field != "k" {
		t.Errorf("in protobuf: %d %q", status, text)
	}
	for _, path := range []string{at + "/observations?limit=1&include=text&include=embedding&before=&at_least=&as_of=", at + "/observations/a?include=text&include=metadata"} {
		if status, _, text := call(t, http.MethodGet, shared.HTTPAddr(), path, "", ""); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}

// Paths that are not there, and methods that they do not have.
func TestUnknownPaths(t *testing.T) {
	for _, r := range []struct {
		method, path string
		code         wire.Code
		allow        string
	}{
		{http.MethodGet, "/", wire.CodeNotFound, ""}, {http.MethodGet, "/v1", wire.CodeNotFound, ""},
		{http.MethodPost, "/v1/space/a/recall", wire.CodeNotFound, ""}, {http.MethodGet, "/v2/spaces", wire.CodeNotFound, ""},
		{http.MethodGet, "/v1/spaces/a/recall", wire.CodeMethod, "POST"}, {http.MethodPost, "/v1/spaces", wire.CodeMethod, "GET"},
		{http.MethodPut, "/v1/spaces/a/observations", wire.CodeMethod, "POST"}, {http.MethodDelete, "/v1/spaces/a", wire.CodeMethod, "GET"},
		{http.MethodPost, "/v1/spaces/a/observations/b", wire.CodeMethod, "DELETE"},
	} {
		status, header, text := call(t, r.method, shared.HTTPAddr(), r.path, "", "")
		e := wire.DecodeError(wire.JSON, []byte(text))
		if e.Code != r.code || status != wire.Codes()[r.code] || header.Get("Content-Type") != wire.TypeJSON || !strings.Contains(strings.Join(header.Values("Allow"), ", "), r.allow) {
			t.Errorf("%s %s: %d %v %s", r.method, r.path, status, header, text)
		}
	}
}

// A request that fits into a message without what goes on with it to the shard, and not with that, is too large, however often it is sent.
func TestRequestsThatFitBarely(t *testing.T) {
	space := unique("barely")
	conn := connect(t)
	remember(t, conn, space, &api.Observation{Id: "a", Text: "text"})
	padded := func(n int64) string {
		const body = `{"id":"a"}`
		return body + strings.Repeat(" ", int(n)-len(body))
	}
	most := conn.NC.MaxPayload()
	status, _, body := call(t, http.MethodPost, shared.HTTPAddr(), "/v1/spaces/"+space+"/recall", "application/json", padded(most))
	if e := wire.DecodeError(wire.JSON, []byte(body)); status != http.StatusRequestEntityTooLarge || e.Code != wire.CodeTooLarge {
		t.Errorf("over HTTP: %d %s", status, body)
	}
	own := int64(len("NATS/1.0\r\n" + bus.HeaderContentType + ": " + wire.TypeJSON + "\r\n\r\n"))
	if _, e, status := request(t, conn.NC, wire.JSON, bus.RecallSubject(space), []byte(padded(most-own))); e == nil || e.Code != wire.CodeTooLarge || status != http.StatusRequestEntityTooLarge {
		t.Errorf("over NATS: %d %v", status, e)
	}
}
