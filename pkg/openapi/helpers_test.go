package openapi_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/openapi"
	"github.com/engram-memory/engram/pkg/recall"
	"github.com/engram-memory/engram/pkg/rpc"
)

// faces are the routes of the daemons, whose handlers are not called here.
func faces() map[string][]openapi.Route {
	writes := append(new(gateway.Gateway).Routes(), rpc.StreamRoute(nil))
	reads := new(recall.Router).Routes()
	return map[string][]openapi.Route{"ingest-gateway": writes, "recall-api": reads, "node": slices.Concat(writes, reads)}
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	return w
}

func serve(t *testing.T, routes []openapi.Route) http.Handler {
	t.Helper()
	mux, err := openapi.New("1.2.3", routes...)
	if err != nil {
		t.Fatal(err)
	}
	return mux
}

// parsed is a document as its readers have it.
type parsed struct {
	t     *testing.T
	whole map[string]any
	// strict refuses in answers what the document does not name, too.
	strict *jsonschema.Compiler
}

const documentURL = "http://engram.test/openapi.json"

func parse(t *testing.T, text []byte) *parsed {
	t.Helper()
	p := &parsed{t: t, strict: jsonschema.NewCompiler()}
	p.strict.DefaultDraft(jsonschema.Draft2020)
	p.strict.AssertFormat()
	if err := json.Unmarshal(text, &p.whole); err != nil {
		t.Fatal(err)
	}
	var closed map[string]any
	if err := json.Unmarshal(text, &closed); err != nil {
		t.Fatal(err)
	}
	for _, s := range object(object(closed["components"])["schemas"]) {
		if schema := object(s); schema["properties"] != nil {
			schema["additionalProperties"] = false
		}
	}
	if err := p.strict.AddResource(documentURL, closed); err != nil {
		t.Fatal(err)
	}
	return p
}

func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// at returns what a JSON pointer leads to, through references.
func (p *parsed) at(keys ...string) map[string]any {
	v := p.whole
	for _, k := range keys {
		v = object(v[k])
		if ref, ok := v["$ref"].(string); ok {
			v = p.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
	}
	return v
}

// schemaAt compiles the schema that a JSON pointer leads to.
func (p *parsed) schemaAt(keys ...string) *jsonschema.Schema {
	p.t.Helper()
	for i, k := range keys {
		keys[i] = strings.NewReplacer("~", "~0", "/", "~1").Replace(k)
	}
	pointer := strings.NewReplacer("{", "%7B", "}", "%7D").Replace("#/" + strings.Join(keys, "/"))
	s, err := p.strict.Compile(documentURL + pointer)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// operation is one of the document.
type operation struct {
	method, path string
	says         map[string]any
}

func (p *parsed) operations() (all []operation) {
	for path, item := range object(p.whole["paths"]) {
		for method, says := range object(item) {
			all = append(all, operation{strings.ToUpper(method), path, object(says)})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return all
}

func value(t *testing.T, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}
