package openapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/node"
	"github.com/engram-memory/engram/pkg/openapi"
	"github.com/engram-memory/engram/pkg/wire"
)

// live is a node, and the document that it serves.
type live struct {
	t    *testing.T
	addr string
	doc  *parsed
}

// startNode starts a node of two shards.
func startNode(t *testing.T) *node.Node {
	t.Helper()
	cfg := node.DefaultConfig(t.TempDir())
	cfg.NATS, cfg.HTTP, cfg.Metrics, cfg.Topology.Shards = "", "127.0.0.1:0", "", 2
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n, err := node.Start(ctx, cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func start(t *testing.T) *live {
	t.Helper()
	l := &live{t: t, addr: startNode(t).HTTPAddr()}
	_, _, body := l.send(http.MethodGet, openapi.JSONPath, "", nil)
	l.doc = parse(t, body)
	return l
}

func (l *live) send(method, path, contentType string, body []byte) (int, http.Header, []byte) {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), method, "http://"+l.addr+path, bytes.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, answer
}

// operation returns one of the document, by its id.
func (l *live) operation(id string) operation {
	l.t.Helper()
	all := l.doc.operations()
	i := slices.IndexFunc(all, func(op operation) bool { return op.says["operationId"] == id })
	if i < 0 {
		l.t.Fatalf("the document has no operation %q", id)
	}
	return all[i]
}

// at is the path of an operation with the examples of its parameters, but for those that are given.
func (op operation) at(values map[string]string) string {
	path := op.path
	for _, v := range list(op.says["parameters"]) {
		param := object(v)
		if param["in"] != "path" {
			continue
		}
		name, _ := param["name"].(string)
		with, ok := values[name]
		if !ok {
			with, _ = param["example"].(string)
		}
		path = strings.ReplaceAll(path, "{"+name+"}", with)
	}
	return path
}

// call sends a request and holds the answer against what the document says of it: its status, its content type, its
// headers, its body.
func (l *live) call(op operation, path, contentType string, body []byte) (int, []byte) {
	l.t.Helper()
	status, header, answer := l.send(op.method, path, contentType, body)
	where := fmt.Sprintf("%s %s %.120s: %d %.300s", op.method, path, body, status, answer)
	responses := object(op.says["responses"])
	says := object(responses[strconv.Itoa(status)])
	pointer := []string{"paths", op.path, strings.ToLower(op.method), "responses", strconv.Itoa(status)}
	if ref, ok := says["$ref"].(string); ok {
		pointer = strings.Split(strings.TrimPrefix(ref, "#/"), "/")
		says = l.doc.at(pointer...)
	}
	if len(says) == 0 {
		l.t.Errorf("%s: the document has no such status", where)
		return status, answer
	}
	for name, h := range object(says["headers"]) {
		if header.Get(name) == "" {
			l.t.Errorf("%s: there is no header %s: %v", where, name, h)
		}
	}
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	content := object(says["content"])
	switch {
	case len(content) == 0:
		if len(answer) > 0 {
			l.t.Errorf("%s: the document says that there is no body", where)
		}
		return status, answer
	case err != nil || content[media] == nil:
		l.t.Errorf("%s: the document has no content type %q", where, header.Get("Content-Type"))
		return status, answer
	}
	pointer = append(pointer, "content", media)
	switch media {
	case wire.TypeNDJSON:
		schema := l.doc.schemaAt(append(pointer, "x-line-schema")...)
		for line := range bytes.Lines(answer) {
			if err := schema.Validate(value(l.t, line)); err != nil {
				l.t.Errorf("%s: %v", where, err)
			}
		}
	case wire.TypeJSON, "application/openapi+json":
		if err := l.doc.schemaAt(append(pointer, "schema")...).Validate(value(l.t, answer)); err != nil {
			l.t.Errorf("%s: %v", where, err)
		}
	}
	return status, answer
}

// Every example of the document is taken by the handler that it is an example for, and is of the schema that it stands
// beside; what is answered is of its schema, too. The operations run in an order in which each finds what it needs.
func TestExamples(t *testing.T) {
	l := start(t)
	order := []string{
		"defineSpace", "observe", "recall", "recallSeveral", "list", "get", "space", "spaces", "forget", "forgetOne", "prove", "compact",
		"openapiJSON", "openapiYAML", "docs",
	}
	for _, op := range l.doc.operations() {
		if id := op.says["operationId"].(string); id != "stream" && !slices.Contains(order, id) {
			t.Errorf("the test does not know when %s comes", id)
		}
	}
	for _, id := range order {
		op := l.operation(id)
		path := op.at(nil)
		content := l.doc.at("paths", op.path, strings.ToLower(op.method), "requestBody", "content")
		sent := 0
		for media, says := range content {
			pointer := []string{"paths", op.path, strings.ToLower(op.method), "requestBody", "content", media}
			for name, e := range object(object(says)["examples"]) {
				sent++
				example := object(e)["value"]
				body, err := json.Marshal(example)
				if err != nil {
					t.Fatal(err)
				}
				if text, ok := example.(string); ok {
					body = []byte(text)
					lines := l.doc.schemaAt(append(pointer, "x-line-schema")...)
					for line := range bytes.Lines(body) {
						if err := lines.Validate(value(t, line)); err != nil {
							t.Errorf("%s %s: %v", id, name, err)
						}
					}
				} else if err := l.doc.schemaAt(append(pointer, "schema")...).Validate(value(t, body)); err != nil {
					t.Errorf("%s %s: %v", id, name, err)
				}
				if status, answer := l.call(op, path, media, body); status >= 300 || bytes.Contains(answer, []byte(`"error"`)) {
					t.Errorf("the example %s of %s is refused: %d %s", name, id, status, answer)
				}
			}
		}
		if content != nil && sent == 0 {
			t.Errorf("%s has no example", id)
		}
		if required, _ := object(op.says["requestBody"])["required"].(bool); !required {
			if status, answer := l.call(op, path, "", nil); status >= 300 {
				t.Errorf("%s without a body: %d %s", id, status, answer)
			}
		}
	}
}

// What is refused is refused as the document says: with a status that the operation has, and an error of its schema.
func TestRefusals(t *testing.T) {
	l := start(t)
	if status, answer := l.call(l.operation("observe"), "/v1/spaces/notes/observations", "", []byte(`[{"id": "n1", "embedding": [1, 0], "metadata": {"a": "b", "n": 1, "t": true},
		"importance": 0.5, "priority": "high", "session": "s", "sequence": 1, "expires_at": "2200-01-01T00:00:00Z"}]`)); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	space := map[string]string{}
	elsewhere := map[string]string{"space": "nowhere"}
	wrong := map[string]string{"space": "Not-a-space"}
	for _, tc := range []struct {
		id      string
		at      map[string]string
		query   string
		media   string
		body    string
		status  int
		offends bool // the body is not of the schema either
	}{
		{"observe", space, "", "", `{`, 400, false},
		{"observe", space, "", "", `{"id": "x", "embedding": [1, 0], "colour": "red"}`, 400, true},
		{"observe", space, "", "", `{"embedding": [1]}`, 400, false},
		{"observe", space, "", "", `{"embedding": [1, 0], "importance": 2}`, 400, true},
		{"observe", space, "", "", `{"embedding": [1, 0], "priority": "low"}`, 400, true},
		{"observe", space, "", "", `{"embedding": [1, 0], "id": "` + strings.Repeat("x", 257) + `"}`, 400, true},
		{"observe", space, "", "", `{"embedding": {"x": 1}}`, 400, true},
		{"observe", space, "", "", `{"embedding": [1, 0], "metadata": {"x": [1]}}`, 400, true},
		{"observe", space, "", "", `[]`, 400, true},
		{"observe", space, "", "text/csv", `a,b`, 400, false},
		{"observe", space, "?limit=3", "", `{"embedding": [1, 0]}`, 400, false},
		{"observe", wrong, "", "", `{"embedding": [1, 0]}`, 400, false},
		{"observe", space, "", "", `{"text": "` + strings.Repeat("x", 1<<17) + `"}`, 413, true},
		{"observe", space, "", wire.TypeNDJSON, `{"embedding": [1]}` + "\n{\n" + `{"embedding": [1, 0]}`, 200, false},
		{"defineSpace", space, "", "", `{"dimension": 3}`, 409, false},
		{"defineSpace", space, "", "", `{"dimension": 0}`, 400, true},
		{"defineSpace", space, "", "", `{"metric": "hamming"}`, 400, true},
		{"recall", space, "", "", `{}`, 400, false},
		{"recall", space, "", "", `{"id": "n1", "k": 1001}`, 400, true},
		{"recall", space, "", "", `{"id": "n1", "recall": "slowly"}`, 400, true},
		{"recall", space, "", "", `{"id": "n1", "include": ["vector"]}`, 400, true},
		{"recall", space, "", "", `{"id": "n1", "filter": "x +"}`, 400, false},
		{"recall", space, "", "", `{"id": "n1", "at_least": "x"}`, 400, false},
		{"recall", space, "", "", `{"id": "missing"}`, 404, false},
		{"recall", elsewhere, "", "", `{"id": "n1"}`, 404, false},
		{"recallSeveral", space, "", "", `{"text": "x"}`, 400, false},
		{"list", space, "?limit=0", "", "", 400, false},
		{"list", space, "?limit=many", "", "", 400, false},
		{"list", space, "?order=random", "", "", 400, false},
		{"list", space, "?colour=red", "", "", 400, false},
		{"list", elsewhere, "", "", "", 404, false},
		{"get", map[string]string{"id": "missing"}, "", "", "", 404, false},
		{"get", space, "?as_of=x", "", "", 400, false},
		{"space", elsewhere, "", "", "", 404, false},
		{"forget", space, "", "", `{}`, 400, false},
		{"forget", elsewhere, "", "", `{"ids": ["x"]}`, 404, false},
		{"forgetOne", elsewhere, "", "", "", 404, false},
		{"prove", space, "", "", `{}`, 400, false},
		{"prove", space, "", "", `{"all": true, "ids": ["x"]}`, 400, false},
		{"compact", elsewhere, "", "", "", 404, false},
		{"compact", space, "", "", `{"now": true}`, 400, true},
		{"docs", space, "?theme=dark", "", "", 400, false},
		{"openapiJSON", space, "?pretty", "", "", 400, false},
	} {
		op := l.operation(tc.id)
		status, answer := l.call(op, op.at(tc.at)+tc.query, tc.media, []byte(tc.body))
		if status != tc.status {
			t.Errorf("%s %s %.80s: %d %s; want %d", tc.id, tc.query, tc.body, status, answer, tc.status)
		}
		if tc.offends {
			schema := l.doc.schemaAt("paths", op.path, strings.ToLower(op.method), "requestBody", "content", wire.TypeJSON, "schema")
			if schema.Validate(value(t, []byte(tc.body))) == nil {
				t.Errorf("%s takes %.80s by its schema, and refuses it: %s", tc.id, tc.body, answer)
			}
		}
	}
	// And what carries everything that there is.
	for _, ask := range []struct{ id, query, body string }{
		{"recall", "", `{"embedding": [1, 0], "include": ["embedding", "metadata", "text"], "half_life_ms": 1000, "paged": true, "k": 1}`},
		{"recallSeveral", "", `{"spaces": ["notes", "nowhere"], "embedding": [1, 0]}`},
		{"list", "?include=embedding&include=metadata&limit=1&order=latest&from=2020-01-01T00:00:00Z", ""},
		{"get", "?include=embedding", ""},
	} {
		op := l.operation(ask.id)
		if status, answer := l.call(op, op.at(nil)+ask.query, "", []byte(ask.body)); status != http.StatusOK {
			t.Errorf("%s: %d %s", ask.id, status, answer)
		}
	}
}

// The node has each path with the methods that the document has for it, and with no other.
func TestServedAsDocumented(t *testing.T) {
	l := start(t)
	documented := map[string][]string{}
	for _, op := range l.doc.operations() {
		path := op.at(map[string]string{"space": "probe", "id": "x"})
		documented[path] = append(documented[path], op.method)
	}
	// The mux leads this one to the path with an empty id, which is refused as that.
	documented["/v1/spaces/probe/observations"] = append(documented["/v1/spaces/probe/observations"], http.MethodDelete)
	for path, methods := range documented {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			status, _, answer := l.send(method, path, "", nil)
			served := status != http.StatusMethodNotAllowed && !bytes.Contains(answer, []byte("there is nothing at"))
			if want := slices.Contains(methods, method); served != want {
				t.Errorf("%s %s: %d %.200s; the document says %t", method, path, status, answer, want)
			}
		}
	}
	for _, path := range []string{"/", "/openapi", "/openapi.yml", "/docs/", "/docs/x", "/schemas/Error.json", "/v1", "/openapi-3.0.json", "/v2/spaces"} {
		if status, _, answer := l.send(http.MethodGet, path, "", nil); status != http.StatusNotFound {
			t.Errorf("%s: %d %.100s", path, status, answer)
		} else if e := wire.DecodeError(wire.JSON, answer); e.Code != wire.CodeNotFound {
			t.Errorf("%s: %v", path, e)
		}
	}
	status, header, page := l.send(http.MethodGet, openapi.PagePath, "", nil)
	if status != http.StatusOK || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") || !bytes.Contains(page, []byte("/v1/spaces/{space}/recall")) {
		t.Errorf("the page: %d %v", status, header)
	}
}
