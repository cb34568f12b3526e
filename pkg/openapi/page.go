package openapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// page is the document as HTML. It has no scripts, and refers to nothing but to itself and the document.
type page struct {
	html []byte
	hash string // of its style
}

// policy lets the page have its own style, and nothing else.
func (p *page) policy() string {
	return "default-src 'none'; img-src data:; style-src 'sha256-" + p.hash + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

type (
	pageData struct {
		Title, Version, Text string
		CSS                  template.CSS
		Groups               []pageGroup
		Schemas              []pageSchema
		Security             []pageSecurity
	}
	pageGroup struct {
		Name, Anchor string
		Operations   []pageOperation
	}
	pageSecurity  struct{ Name, Text string }
	pageOperation struct {
		ID, Method, Path, Summary, Text string
		Parameters                      []pageField
		Required                        bool
		Bodies                          []pageBody
		Answers                         []pageAnswer
	}
	pageBody struct {
		Media    string
		Types    []pageType
		Examples []pageExample
	}
	pageExample struct{ Summary, Text string }
	pageAnswer  struct {
		Status, Text string
		Bodies       []pageBody
	}
	// pageType is a type, with a link where it is a schema of its own.
	pageType  struct{ Before, Name, After string }
	pageField struct {
		Name, In, Text, Limits string
		Required               bool
		Types                  []pageType
	}
	pageSchema struct {
		Name   string
		Fields []pageField
	}
)

func newPage(doc *huma.OpenAPI) (*page, error) {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return nil, fmt.Errorf("the template of the page: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, dataOf(doc)); err != nil {
		return nil, fmt.Errorf("writing the page: %w", err)
	}
	sum := sha256.Sum256([]byte(pageCSS))
	return &page{html: out.Bytes(), hash: base64.StdEncoding.EncodeToString(sum[:])}, nil
}

func dataOf(doc *huma.OpenAPI) pageData {
	d := pageData{Title: doc.Info.Title, Version: doc.Info.Version, Text: doc.Info.Description, CSS: template.CSS(pageCSS)} // pageCSS is this package's own
	groups := map[string][]pageOperation{}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, op := range operations(doc.Paths[path]) {
			groups[op.Tags[0]] = append(groups[op.Tags[0]], operationOf(doc, op))
		}
	}
	for _, tag := range []string{TagObserve, TagRecall, TagForget, TagSpaces, TagDocument} {
		if groups[tag] != nil {
			d.Groups = append(d.Groups, pageGroup{tag, strings.ReplaceAll(tag, " ", "-"), groups[tag]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas.Map())) {
		d.Schemas = append(d.Schemas, pageSchema{name, fieldsOf(doc.Components.Schemas.Map()[name])})
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Components.SecuritySchemes)) {
		d.Security = append(d.Security, pageSecurity{name, doc.Components.SecuritySchemes[name].Description})
	}
	return d
}

func operationOf(doc *huma.OpenAPI, op *huma.Operation) pageOperation {
	o := pageOperation{ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary, Text: op.Description}
	for _, p := range op.Parameters {
		o.Parameters = append(o.Parameters, pageField{Name: p.Name, In: p.In, Text: p.Description, Required: p.Required, Types: typesOf(p.Schema), Limits: limitsOf(p.Schema)})
	}
	if op.RequestBody != nil {
		o.Required, o.Bodies = op.RequestBody.Required, bodiesOf(op.RequestBody.Content)
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		r := op.Responses[status]
		if r.Ref != "" {
			r = doc.Components.Responses[r.Ref[strings.LastIndex(r.Ref, "/")+1:]]
		}
		a := pageAnswer{Status: status, Text: r.Description}
		if status < "300" {
			a.Bodies = bodiesOf(r.Content)
		}
		o.Answers = append(o.Answers, a)
	}
	return o
}

func bodiesOf(content map[string]*huma.MediaType) (all []pageBody) {
	for _, media := range slices.Sorted(maps.Keys(content)) {
		m := content[media]
		b := pageBody{Media: media}
		if line, ok := m.Extensions["x-line-schema"].(*huma.Schema); ok {
			b.Types = typesOf(line)
			b.Types[0].Before = "lines of "
		} else if name, ok := m.Extensions["x-protobuf-message"].(string); ok {
			b.Types = []pageType{{Before: name}}
		} else {
			b.Types = typesOf(m.Schema)
		}
		for _, name := range slices.Sorted(maps.Keys(m.Examples)) {
			b.Examples = append(b.Examples, pageExample{m.Examples[name].Summary, exampleText(m.Examples[name].Value)})
		}
		all = append(all, b)
	}
	return all
}

func exampleText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return http.StatusText(http.StatusInternalServerError) // it was written into the document before
	}
	return string(b)
}

func fieldsOf(s *huma.Schema) (all []pageField) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		all = append(all, pageField{Name: name, Text: p.Description, Required: slices.Contains(s.Required, name), Types: typesOf(p), Limits: limitsOf(p)})
	}
	return all
}

// typesOf says in words what a schema is: one of these.
func typesOf(s *huma.Schema) []pageType {
	switch {
	case s == nil:
		return nil
	case s.Ref != "":
		return []pageType{{Name: s.Ref[len(refPrefix):]}}
	case len(s.OneOf)+len(s.AnyOf) > 0:
		var all []pageType
		for _, sub := range slices.Concat(s.OneOf, s.AnyOf) {
			all = append(all, typesOf(sub)...)
		}
		return all
	case s.Type == huma.TypeArray:
		items := typesOf(s.Items)
		if len(items) > 0 {
			items[0].Before = "array of " + items[0].Before
		}
		return items
	case s.Format != "":
		return []pageType{{Before: s.Type + ", " + s.Format}}
	case s.ContentEncoding != "":
		return []pageType{{Before: s.Type + ", " + s.ContentEncoding}}
	}
	return []pageType{{Before: s.Type}}
}

func limitsOf(s *huma.Schema) string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	target := s
	if s.Type == huma.TypeArray {
		target = s.Items
	}
	if len(target.Enum) > 0 {
		add("one of %s", strings.Trim(fmt.Sprint(target.Enum), "[]"))
	}
	switch {
	case target.Minimum != nil && target.Maximum != nil:
		add("%v to %v", *target.Minimum, *target.Maximum)
	case target.Minimum != nil && *target.Minimum != 0:
		add("at least %v", *target.Minimum)
	}
	if target.MaxLength != nil {
		add("up to %d bytes", *target.MaxLength)
	}
	if s.MaxItems != nil {
		add("up to %d entries", *s.MaxItems)
	}
	if target.Pattern != "" {
		add("matches %s", target.Pattern)
	}
	if s.Default != nil {
		add("%v by default", s.Default)
	}
	return strings.Join(all, "; ")
}
