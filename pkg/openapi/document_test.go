package openapi_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/pb33f/libopenapi/datamodel"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/openapi"
)

// The document of each daemon is one of OpenAPI 3.1, by the schema that the specification has for it, and its schemas are
// JSON Schema.
func TestDocumentIsValid(t *testing.T) {
	c := jsonschema.NewCompiler()
	if err := c.AddResource("http://engram.test/oas31.json", value(t, []byte(datamodel.OpenAPI31SchemaData))); err != nil {
		t.Fatal(err)
	}
	meta, err := c.Compile("http://engram.test/oas31.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, routes := range faces() {
		h := serve(t, routes)
		body := get(t, h, openapi.JSONPath).Body.Bytes()
		if err := meta.Validate(value(t, body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		p := parse(t, body)
		for schema := range p.at("components", "schemas") {
			p.schemaAt("components", "schemas", schema)
		}
		if info := p.at("info"); info["version"] != "1.2.3" {
			t.Errorf("%s: %v", name, info)
		}
		var fromYAML any
		if err := yaml.Unmarshal(get(t, h, openapi.YAMLPath).Body.Bytes(), &fromYAML); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		asJSON, err := json.Marshal(fromYAML)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p.whole, object(decoded(t, asJSON))); diff != "" {
			t.Errorf("%s: the YAML is another document: %s", name, diff)
		}
	}
	// And it is not everything that is valid.
	if meta.Validate(value(t, []byte(`{"openapi": "3.1.0", "info": {"title": "x"}, "paths": {}}`))) == nil {
		t.Error("a document without a version is valid")
	}
}

func decoded(t *testing.T, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// What routes say and the document has is the same, both ways, whatever daemon serves it; and the node has all of them.
func TestRoutesAreTheDocument(t *testing.T) {
	for name, routes := range faces() {
		var want, got []string
		for _, r := range routes {
			want = append(want, r.Method+" "+strings.ReplaceAll(r.Path, "...", ""))
		}
		for _, path := range []string{openapi.JSONPath, openapi.YAMLPath, openapi.PagePath} {
			want = append(want, "GET "+path)
		}
		for _, op := range parse(t, get(t, serve(t, routes), openapi.JSONPath).Body.Bytes()).operations() {
			got = append(got, op.method+" "+op.path)
			if id, _ := op.says["operationId"].(string); id == "" || op.says["summary"] == "" {
				t.Errorf("%s: %s %s has no operationId or summary", name, op.method, op.path)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Nobody serves a pattern of a mux of his own beside the routes; what the port for metrics has is no part of the contract.
func TestNoOtherPatterns(t *testing.T) {
	pattern := regexp.MustCompile(`^((GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) )?/v[0-9]+/.*`)
	looked := 0
	for _, pkg := range []string{"auth", "daemon", "gateway", "node", "recall", "rpc", "session"} {
		files, err := filepath.Glob("../" + pkg + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			looked++
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				selector, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || selector.Sel.Name != "Handle" && selector.Sel.Name != "HandleFunc" {
					return true
				}
				for _, arg := range call.Args {
					ast.Inspect(arg, func(n ast.Node) bool {
						if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
							if s, err := strconv.Unquote(lit.Value); err == nil && (pattern.MatchString(s) || strings.HasSuffix(s, " ")) {
								t.Errorf("%s serves %q beside the routes; make it an openapi.Route", fset.Position(lit.Pos()), s)
							}
						}
						return true
					})
				}
				return true
			})
		}
	}
	if looked < 20 {
		t.Fatalf("only %d files were looked at", looked)
	}
}

// docs/wire.md has a row for each operation of the contract, and no other, with its query parameters.
func TestWireTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	section := strings.SplitN(strings.SplitN(string(text), "\n## Over HTTP\n", 2)[1], "\n## ", 2)[0]
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^`]*)` \\|(.*)$").FindAllStringSubmatch(section, -1) {
		rows[m[1]] = m[2]
	}
	p := parse(t, get(t, serve(t, faces()["node"]), openapi.JSONPath).Body.Bytes())
	var documented []string
	for _, op := range p.operations() {
		key := op.method + " " + op.path
		documented = append(documented, key)
		row, ok := rows[key]
		if !ok {
			t.Errorf("docs/wire.md has no row of %s", key)
		}
		for _, v := range list(op.says["parameters"]) {
			if param := object(v); param["in"] == "query" && !strings.Contains(row, "`"+param["name"].(string)+"`") {
				t.Errorf("the row of %s in docs/wire.md does not name %s", key, param["name"])
			}
		}
		for status := range object(op.says["responses"]) {
			if status < "300" && !strings.Contains(row, status) {
				t.Errorf("the row of %s in docs/wire.md does not say %s", key, status)
			}
		}
	}
	for key := range rows {
		if !slices.Contains(documented, key) {
			t.Errorf("docs/wire.md has a row of %s, which nobody serves", key)
		}
	}
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// Every field and parameter has a word, and every word has one.
func TestEverythingIsSaid(t *testing.T) {
	p := parse(t, get(t, serve(t, faces()["node"]), openapi.JSONPath).Body.Bytes())
	for name, schema := range p.at("components", "schemas") {
		for field, says := range object(object(schema)["properties"]) {
			if d, _ := object(says)["description"].(string); len(d) < 5 {
				t.Errorf("nothing is said of %s.%s", name, field)
			}
		}
	}
	for _, op := range p.operations() {
		for _, param := range list(op.says["parameters"]) {
			if d, _ := object(param)["description"].(string); len(d) < 5 {
				t.Errorf("nothing is said of the parameter %v of %s %s", object(param)["name"], op.method, op.path)
			}
		}
	}
	unused, err := openapi.UnusedWords([]string{"Get", "GetAnswer", "List", "Spaces"}, faces()["node"]...)
	if err != nil || len(unused) > 0 {
		t.Errorf("said of nothing: %q, %v", unused, err)
	}
}

// The bounds are those of the code.
func TestLimitsInTheDocument(t *testing.T) {
	p := parse(t, get(t, serve(t, faces()["node"]), openapi.JSONPath).Body.Bytes())
	for _, tc := range []struct {
		schema, field, bound string
		want                 float64
	}{
		{"Recall", "k", "maximum", event.MaxK}, {"Recall", "k", "default", event.DefaultK}, {"Recall", "ef", "maximum", event.MaxEf},
		{"Recall", "text", "maxLength", event.MaxText}, {"Recall", "filter", "maxLength", event.MaxFilter}, {"Recall", "spaces", "maxItems", event.MaxSpaces},
		{"Observation", "id", "maxLength", event.MaxID}, {"Observation", "session", "maxLength", event.MaxSession},
		{"ObserveSeveral", "observations", "maxItems", event.MaxBatch}, {"ObserveOne", "idempotency_key", "maxLength", event.MaxWriteID},
		{"Define", "dimension", "maximum", event.MaxDimension}, {"Forget", "ids", "maxItems", event.MaxList},
	} {
		if got := p.at("components", "schemas", tc.schema, "properties", tc.field)[tc.bound]; got != tc.want {
			t.Errorf("%s.%s has %s %v; want %v", tc.schema, tc.field, tc.bound, got, tc.want)
		}
	}
}

// What cannot be is an error that says what: the name of a type, an example, a status.
func TestRoutesThatCannotBe(t *testing.T) {
	good := openapi.Route{Method: http.MethodPost, Path: "/v1/x", ID: "x", Tag: openapi.TagSpaces, Summary: "x", Handler: func(http.ResponseWriter, *http.Request) {}}
	for name, change := range map[string]func(*openapi.Route){
		`no shape "Nothing"`: func(r *openapi.Route) { r.Body = &openapi.Body{Schema: "Nothing"} },
		"shape \"None\"":     func(r *openapi.Route) { r.Answers = []openapi.Answer{{Status: 200, Schema: "None"}} },
		"is not JSON": func(r *openapi.Route) {
			r.Body = &openapi.Body{Schema: "Recall", Examples: []openapi.Example{{Name: "e", Text: "{"}}}
		},
		"status 418": func(r *openapi.Route) { r.Refusals = []int{http.StatusTeapot} },
	} {
		r := good
		change(&r)
		if _, err := openapi.New("1", r); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "POST /v1/x") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := openapi.New("1", good); err != nil {
		t.Error(err)
	}
}

// The page needs nothing but itself: no script, nothing from elsewhere, and a policy that lets its own style in, and only that.
func TestPage(t *testing.T) {
	w := get(t, serve(t, faces()["node"]), openapi.PagePath)
	page := w.Body.String()
	if got := w.Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Error(got)
	}
	for _, never := range []string{"<script", "<iframe", "<img", "<object", "<form", "javascript:", "@import", "url(", " style=", " onclick", "http://", "https://", "//cdn", "ZgotmplZ"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q", never)
		}
	}
	styles := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindAllStringSubmatch(page, -1)
	if len(styles) != 1 {
		t.Fatalf("%d styles", len(styles))
	}
	sum := sha256.Sum256([]byte(styles[0][1]))
	policy := w.Header().Get("Content-Security-Policy")
	if want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q; want %s", policy, want)
	}
	for _, part := range []string{"prefers-color-scheme: dark", "color-scheme: light dark", ":focus-visible", `lang="en"`, `class="skip"`, `name="viewport"`} {
		if !strings.Contains(page, part) {
			t.Errorf("the page has no %s", part)
		}
	}
	ids := map[string]int{}
	for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]]++; ids[m[1]] > 1 {
			t.Errorf("the id %s is there twice", m[1])
		}
	}
	for _, m := range regexp.MustCompile(` (?:href|src)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		switch anchor, in := strings.CutPrefix(m[1], "#"); {
		case in && ids[anchor] == 1, m[1] == openapi.JSONPath, m[1] == openapi.YAMLPath, m[1] == "data:,":
		default:
			t.Errorf("the page leads to %q", m[1])
		}
	}
	p := parse(t, get(t, serve(t, faces()["node"]), openapi.JSONPath).Body.Bytes())
	for _, op := range p.operations() {
		if ids[op.says["operationId"].(string)] != 1 || !strings.Contains(page, "</span> "+op.path+"</code>") {
			t.Errorf("the page does not show %s %s", op.method, op.path)
		}
	}
	for name := range p.at("components", "schemas") {
		if ids["schema-"+name] != 1 {
			t.Errorf("the page does not show the schema %s", name)
		}
	}
	// Elements are closed where they should be: as many of each.
	for _, tag := range []string{"details", "summary", "table", "tbody", "tr", "td", "th", "p", "pre", "code", "ul", "li", "a", "h2", "h3", "h4", "nav", "main", "div", "span"} {
		opened := len(regexp.MustCompile("<"+tag+"[ >]").FindAllString(page, -1))
		if closed := strings.Count(page, "</"+tag+">"); opened != closed || opened == 0 {
			t.Errorf("%s is opened %d times and closed %d times", tag, opened, closed)
		}
	}
}

// What a description says is text, whatever is in it.
func TestPageEscapes(t *testing.T) {
	const evil = `<script>alert(1)</script>"onload='x'`
	h := serve(t, []openapi.Route{{
		Method: http.MethodGet, Path: "/v1/x", ID: "x", Tag: openapi.TagSpaces, Summary: evil, Text: evil, Handler: func(http.ResponseWriter, *http.Request) {},
	}})
	if page := get(t, h, openapi.PagePath).Body.Bytes(); bytes.Contains(page, []byte("<script")) || !bytes.Contains(page, []byte("&lt;script&gt;")) {
		t.Errorf("%s", page)
	}
}

// The order of things does not change from start to start.
func TestDocumentIsStable(t *testing.T) {
	routes := faces()["node"]
	first := get(t, serve(t, routes), openapi.JSONPath).Body.String()
	for range 3 {
		if again := get(t, serve(t, routes), openapi.JSONPath).Body.String(); again != first {
			t.Fatal("the document differs from start to start")
		}
	}
	if n := len(slices.Collect(maps.Keys(object(parse(t, []byte(first)).whole["paths"])))); n < 8 {
		t.Errorf("only %d paths", n)
	}
}
