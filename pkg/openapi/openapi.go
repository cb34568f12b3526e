package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/engram-memory/engram/pkg/wire"
)

// Where the document is.
const (
	JSONPath = "/openapi.json"
	YAMLPath = "/openapi.yaml"
	PagePath = "/docs"
)

// The content types of the document.
const (
	typeJSON = "application/openapi+json"
	typeYAML = "application/openapi+yaml"
	typeHTML = "text/html"
)

// What every operation can answer.
func commonRefusals() []int {
	return []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests}
}

// New returns a mux of the routes, of the document that describes them, and of the page that shows it. What routes says
// that cannot be is an error.
func New(version string, routes ...Route) (*http.ServeMux, error) {
	b, err := build(version, routes)
	if err != nil {
		return nil, err
	}
	return b.mux, nil
}

func build(version string, routes []Route) (*builder, error) {
	b := &builder{schemas: newSchemas(refPrefix), mux: http.NewServeMux()}
	b.api = humago.New(b.mux, huma.Config{OpenAPI: &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "Engram", Version: version,
			Description: "A streaming vector memory. Requests are read strictly: an unknown field or parameter is refused. Answers may get new fields in any version. " +
				"The same port speaks gRPC, gRPC-Web and Connect, whose reflection describes them, and WebSocket at /v1/stream.",
			License: &huma.License{Name: "Apache License 2.0", Identifier: "Apache-2.0"},
		},
		Components: &huma.Components{
			Schemas: b.schemas.registry, Responses: map[string]*huma.Response{},
			SecuritySchemes: map[string]*huma.SecurityScheme{"bearer": {
				Type: "http", Scheme: "bearer", Description: "A token of the server's file of principals, or a JSON web token. A server on loopback may want none.",
			}},
		},
		// Either of the two: the empty one is a server without authentication, or a client with a certificate.
		Security: []map[string][]string{{"bearer": {}}, {}},
		Servers:  []*huma.Server{{URL: "/"}},
	}})
	for _, r := range append(slices.Clone(routes), b.own()...) {
		if err := b.add(r); err != nil {
			return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
		}
	}
	return b, b.finish()
}

type builder struct {
	schemas  *schemas
	mux      *http.ServeMux
	api      huma.API
	requests []*huma.Schema
	page     *page
	json     []byte
	yaml     []byte
	html     []byte
}

// own are the routes of the document itself.
func (b *builder) own() []Route {
	serve := func(media string, body *[]byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", media)
			w.Header().Set("X-Content-Type-Options", "nosniff")
			if media == typeHTML {
				w.Header().Set("Content-Type", typeHTML+"; charset=utf-8")
				w.Header().Set("Content-Security-Policy", b.page.policy())
				w.Header().Set("Referrer-Policy", "no-referrer")
			}
			_, _ = w.Write(*body) // a client that is gone does not need it
		}
	}
	return []Route{
		{Method: http.MethodGet, Path: JSONPath, ID: "openapiJSON", Tag: TagDocument, Summary: "This document, as JSON", Handler: serve(typeJSON, &b.json),
			Answers: []Answer{{Status: http.StatusOK, Text: "OpenAPI 3.1.", Media: typeJSON}}},
		{Method: http.MethodGet, Path: YAMLPath, ID: "openapiYAML", Tag: TagDocument, Summary: "This document, as YAML", Handler: serve(typeYAML, &b.yaml),
			Answers: []Answer{{Status: http.StatusOK, Text: "OpenAPI 3.1.", Media: typeYAML}}},
		{Method: http.MethodGet, Path: PagePath, ID: "docs", Tag: TagDocument, Summary: "This document, as a page", Handler: serve(typeHTML, &b.html),
			Answers: []Answer{{Status: http.StatusOK, Text: "A page that needs nothing else.", Media: typeHTML}}},
	}
}

// add registers a route with huma: its handler on the mux, and its operation in the document.
func (b *builder) add(r Route) error {
	op := &huma.Operation{
		Method: r.Method, Path: strings.ReplaceAll(r.Path, "...}", "}"), OperationID: r.ID, Tags: []string{r.Tag},
		Summary: r.Summary, Description: r.Text, Responses: map[string]*huma.Response{},
	}
	if r.Role != "" {
		op.Description = strings.TrimSpace(op.Description + " Needs the role " + r.Role + ".")
	}
	b.parameters(op, r)
	if err := b.body(op, r.Body); err != nil {
		return err
	}
	if err := b.answers(op, r); err != nil {
		return err
	}
	onMux := *op
	onMux.Path = r.Path
	handler := r.Handler
	if !r.AnyQuery {
		handler = wire.OnlyQuery(handler, r.Query...)
	}
	b.api.Adapter().Handle(&onMux, func(ctx huma.Context) {
		req, w := humago.Unwrap(ctx)
		handler(w, req)
	})
	b.api.OpenAPI().AddOperation(op)
	return nil
}

// parameters documents those of the path, the address and the headers.
func (b *builder) parameters(op *huma.Operation, r Route) {
	for _, part := range strings.Split(op.Path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			p := b.parameter("path."+strings.TrimSuffix(name, "}"), &huma.Param{Name: strings.TrimSuffix(name, "}"), In: "path", Required: true})
			if p.Name == "space" {
				p.Schema.Pattern = pattern
			}
			op.Parameters = append(op.Parameters, p)
		}
	}
	for _, name := range r.Query {
		op.Parameters = append(op.Parameters, b.parameter(name, &huma.Param{Name: name, In: "query"}))
	}
	for _, name := range r.Headers {
		op.Parameters = append(op.Parameters, b.parameter("header."+name, &huma.Param{Name: name, In: "header"}))
	}
}

func (b *builder) parameter(key string, p *huma.Param) *huma.Param {
	p.Schema = &huma.Schema{Type: huma.TypeString}
	switch p.Name {
	case "limit", wire.HeaderDeadline:
		p.Schema = &huma.Schema{Type: huma.TypeInteger, Minimum: pointer(0.0)}
	case "include":
		p.Schema = &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}}
		p.Explode = pointer(true)
	case "from", "to":
		p.Schema.Format = "date-time"
	}
	b.schemas.say(key, p.Schema)
	p.Description, p.Schema.Description = p.Schema.Description, ""
	switch key {
	case "path.space":
		p.Example = "notes"
	case "path.id":
		p.Example = "n1"
	}
	return p
}

func (b *builder) body(op *huma.Operation, body *Body) error {
	if body == nil {
		return nil
	}
	schema, err := b.schemas.body(body.Schema)
	if err != nil {
		return err
	}
	b.requests = append(b.requests, schema)
	asJSON := &huma.MediaType{Schema: schema, Examples: map[string]*huma.Example{}}
	content := map[string]*huma.MediaType{wire.TypeJSON: asJSON, wire.TypeProtobuf: message(body.Message)}
	if body.Line != "" {
		if content[wire.TypeNDJSON], err = b.lines(body.Line); err != nil {
			return err
		}
	}
	for _, e := range body.Examples {
		if e.Lines {
			content[wire.TypeNDJSON].Examples[e.Name] = &huma.Example{Summary: e.Summary, Value: e.Text}
			continue
		}
		if !json.Valid([]byte(e.Text)) {
			return fmt.Errorf("the example %s is not JSON", e.Name)
		}
		asJSON.Examples[e.Name] = &huma.Example{Summary: e.Summary, Value: json.RawMessage(e.Text)}
	}
	op.RequestBody = &huma.RequestBody{Required: !body.Optional, Content: content}
	return nil
}

// message is a body in protobuf, of which OpenAPI knows no more than that it is bytes.
func message(name string) *huma.MediaType {
	return &huma.MediaType{Extensions: map[string]any{"x-protobuf-message": name}}
}

// lines is a body of NDJSON, which is text to OpenAPI 3.1; the extension has the schema of a line.
func (b *builder) lines(of string) (*huma.MediaType, error) {
	line, err := b.schemas.of(of)
	return &huma.MediaType{
		Schema:     &huma.Schema{Type: huma.TypeString, Description: "Lines of JSON, each of the schema " + of + "."},
		Examples:   map[string]*huma.Example{},
		Extensions: map[string]any{"x-line-schema": line},
	}, err
}

func (b *builder) answers(op *huma.Operation, r Route) error {
	for _, a := range r.Answers {
		resp := &huma.Response{Description: a.Text, Content: map[string]*huma.MediaType{}}
		if a.Schema != "" {
			schema, err := b.schemas.either(a.Schema, a.OrSchema)
			if err != nil {
				return err
			}
			resp.Content[wire.TypeJSON] = &huma.MediaType{Schema: schema}
		}
		if a.Message != "" {
			resp.Content[wire.TypeProtobuf] = message(a.Message)
		}
		if a.Line != "" {
			line, err := b.lines(a.Line)
			if err != nil {
				return err
			}
			resp.Content[wire.TypeNDJSON] = line
		}
		if a.Media != "" {
			resp.Content[a.Media] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
			if a.Media == typeJSON {
				resp.Content[a.Media].Schema.Type = huma.TypeObject
			}
		}
		op.Responses[strconv.Itoa(a.Status)] = resp
	}
	for _, status := range append(commonRefusals(), r.Refusals...) {
		name, err := b.refusal(status)
		if err != nil {
			return err
		}
		op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/" + name}
		if r.Partial == "" || status == http.StatusUnauthorized {
			continue
		}
		either, err := b.schemas.either(wire.ShapeError, r.Partial)
		if err != nil {
			return err
		}
		own := *b.api.OpenAPI().Components.Responses[name]
		own.Content = maps.Clone(own.Content)
		own.Content[wire.TypeJSON] = &huma.MediaType{Schema: either}
		op.Responses[strconv.Itoa(status)] = &own
	}
	return nil
}

// refusal returns the name of the response with a status, which has the codes of the contract.
func (b *builder) refusal(status int) (string, error) {
	name, all := "Refused"+strconv.Itoa(status), b.api.OpenAPI().Components.Responses
	if all[name] != nil {
		return name, nil
	}
	var codes []string
	for code, s := range wire.Codes() {
		if s == status {
			codes = append(codes, string(code))
		}
	}
	if codes == nil {
		return "", fmt.Errorf("no error of the contract has status %d", status)
	}
	slices.Sort(codes)
	schema, err := b.schemas.of(wire.ShapeError)
	if err != nil {
		return "", err
	}
	resp := &huma.Response{
		Description: http.StatusText(status) + ": " + strings.Join(codes, ", ") + ".",
		Content:     map[string]*huma.MediaType{wire.TypeJSON: {Schema: schema}, wire.TypeProtobuf: message("engram.v1.Error")},
		Headers:     map[string]*huma.Param{},
	}
	switch status {
	case http.StatusTooManyRequests, http.StatusInsufficientStorage:
		resp.Headers["Retry-After"] = &huma.Param{Description: "Seconds after which to send it again.", Schema: &huma.Schema{Type: huma.TypeInteger, Minimum: pointer(0.0)}}
	case http.StatusUnauthorized:
		resp.Headers["WWW-Authenticate"] = &huma.Param{Description: "Bearer.", Schema: &huma.Schema{Type: huma.TypeString}}
	}
	all[name] = resp
	return name, nil
}

// finish writes the document, once all that it describes is there.
func (b *builder) finish() error {
	doc := b.api.OpenAPI()
	b.schemas.describe()
	b.schemas.open(b.requests...)
	for _, tag := range slices.Sorted(maps.Keys(tagsOf(doc))) {
		doc.Tags = append(doc.Tags, &huma.Tag{Name: tag})
	}
	compact, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("writing the document: %w", err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, compact, "", "  "); err != nil {
		return fmt.Errorf("writing the document: %w", err)
	}
	b.json = append(indented.Bytes(), '\n')
	if b.yaml, err = doc.YAML(); err != nil {
		return fmt.Errorf("writing the document as YAML: %w", err)
	}
	if b.page, err = newPage(doc); err != nil {
		return err
	}
	b.html = b.page.html
	return nil
}

func tagsOf(doc *huma.OpenAPI) map[string]bool {
	tags := map[string]bool{}
	for _, item := range doc.Paths {
		for _, op := range operations(item) {
			tags[op.Tags[0]] = true
		}
	}
	return tags
}

// operations returns those of a path, in the order of reading.
func operations(item *huma.PathItem) (all []*huma.Operation) {
	for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
		if op != nil {
			all = append(all, op)
		}
	}
	return all
}
