package openapi

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

const refPrefix = "#/components/schemas/"

// The schemas of types of pkg/wire that write themselves.
type (
	timeSchema      struct{}
	embeddingSchema struct{}
	metadataSchema  struct{}
)

func (timeSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Description: "RFC 3339 with up to nanoseconds, years 1678 to 2261."}
}

func (embeddingSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{
		{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeNumber}, MaxItems: pointer(event.MaxDimension)},
		{Type: huma.TypeString, ContentEncoding: "base64", Description: "Packed little-endian f32."},
	}}
}

func (metadataSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeObject, MaxProperties: pointer(event.MaxMetadataKeys),
		AdditionalProperties: &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeString}, {Type: huma.TypeNumber}, {Type: huma.TypeBoolean}}},
	}
}

func pointer[T any](v T) *T { return &v }

// ownSchemas are those above, by the names that wire.Shapes has for their types.
func ownSchemas() map[string]reflect.Type {
	return map[string]reflect.Type{
		"Time": reflect.TypeFor[timeSchema](), "Embedding": reflect.TypeFor[embeddingSchema](), "Metadata": reflect.TypeFor[metadataSchema](),
	}
}

// schemas makes the schemas of a document, and only those that it needs.
type schemas struct {
	prefix   string // of references
	registry huma.Registry
	shapes   map[string]reflect.Type
	words    map[string]word
	used     map[string]bool // words that were said
}

func newSchemas(prefix string) *schemas {
	s := &schemas{prefix: prefix, shapes: map[string]reflect.Type{}, words: words(), used: map[string]bool{}}
	names, flats := map[reflect.Type]string{}, map[reflect.Type]reflect.Type{}
	for _, shape := range wire.Shapes() {
		t := shape.Type
		if own, ok := ownSchemas()[shape.Name]; ok {
			flats[t] = own
		} else if flat := flatten(t); flat != t {
			flats[t], names[flat] = flat, shape.Name
		} else {
			names[t] = shape.Name
		}
		s.shapes[shape.Name] = t
	}
	s.registry = huma.NewMapRegistry(prefix, func(t reflect.Type, hint string) string {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if name, ok := names[t]; ok {
			return name
		}
		return huma.DefaultSchemaNamer(t, hint)
	})
	for t, flat := range flats {
		s.registry.RegisterTypeAlias(t, flat)
	}
	return s
}

// flatten returns a struct with the fields that encoding/json sees of one that embeds another, else the type itself: huma
// does not look into embedded types that are not exported.
func flatten(t reflect.Type) reflect.Type {
	if t.Kind() != reflect.Struct {
		return t
	}
	embeds, fields := false, []reflect.StructField{}
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			embeds = true
			continue
		}
		fields = append(fields, reflect.StructField{Name: f.Name, Type: f.Type, Tag: f.Tag})
	}
	if !embeds {
		return t
	}
	return reflect.StructOf(fields)
}

// of returns a reference to the schema of a shape.
func (s *schemas) of(name string) (*huma.Schema, error) {
	t, ok := s.shapes[name]
	if !ok {
		return nil, fmt.Errorf("there is no shape %q in pkg/wire", name)
	}
	return s.registry.Schema(t, true, name), nil
}

// either returns the schema of one of two shapes, of which the second may be empty.
func (s *schemas) either(name, other string) (*huma.Schema, error) {
	one, err := s.of(name)
	if err != nil || other == "" {
		return one, err
	}
	two, err := s.of(other)
	return &huma.Schema{AnyOf: []*huma.Schema{one, two}}, err
}

// body returns the schema of the body of a request. That of an observe is one of three, which one type decodes.
func (s *schemas) body(name string) (*huma.Schema, error) {
	ref, err := s.of(name)
	if err != nil || name != wire.ShapeObserve {
		return ref, err
	}
	all := s.registry.Map()
	both := all[name]
	if both == nil {
		return nil, fmt.Errorf("the shape %s made no schema", name)
	}
	one, err := s.of(wire.ShapeObservation)
	if err != nil {
		return nil, err
	}
	single, several := *both, *both
	single.Properties, several.Properties = maps.Clone(both.Properties), map[string]*huma.Schema{}
	delete(single.Properties, "observations")
	for field := range both.Properties {
		if _, of := all[wire.ShapeObservation].Properties[field]; !of {
			several.Properties[field] = both.Properties[field]
		}
	}
	several.Required = []string{"observations"}
	delete(all, name)
	all["ObserveOne"], all["ObserveSeveral"] = &single, &several
	return &huma.Schema{AnyOf: []*huma.Schema{
		{Ref: s.prefix + "ObserveOne"},
		{Type: huma.TypeArray, Items: one, MinItems: pointer(1), MaxItems: pointer(event.MaxBatch)},
		{Ref: s.prefix + "ObserveSeveral"},
	}}, nil
}

// describe gives every field its word.
func (s *schemas) describe() {
	for name, schema := range s.registry.Map() {
		for field, p := range schema.Properties {
			key := name + "." + field
			if _, own := s.words[key]; !own {
				key = field
			}
			said := *p
			s.say(key, &said)
			schema.Properties[field] = &said
		}
	}
}

// say adds to a schema what is said of a field.
func (s *schemas) say(key string, p *huma.Schema) {
	w, ok := s.words[key]
	if !ok {
		return
	}
	s.used[key] = true
	p.Description = w.text
	p.Default = w.otherwise
	target := p
	if p.Type == huma.TypeArray {
		p.Nullable = false
		if w.most > 0 {
			p.MaxItems = pointer(w.most)
		}
		target = p.Items
	}
	if target.Type == huma.TypeInteger {
		target.Format = "" // huma's are those of signed numbers
	}
	if w.min != 0 || w.max != 0 {
		target.Minimum, target.Maximum = pointer(w.min), pointer(w.max)
	}
	if w.longest > 0 && target.Type == huma.TypeString {
		target.MaxLength = pointer(w.longest)
	}
	if len(w.values) > 0 && target.Type == huma.TypeString {
		target.Enum = valuesOf(w.values)
	}
}

// open lets answers have fields that this version does not know, as the contract says: all schemas but those that requests
// are made of, which are read strictly.
func (s *schemas) open(requests ...*huma.Schema) {
	strict := map[string]bool{}
	var visit func(*huma.Schema)
	visit = func(p *huma.Schema) {
		if p == nil {
			return
		}
		if p.Ref != "" {
			if name := p.Ref[len(s.prefix):]; !strict[name] {
				strict[name] = true
				visit(s.registry.Map()[name])
			}
		}
		visit(p.Items)
		for _, sub := range slices.Concat(p.AnyOf, p.OneOf, slices.Collect(maps.Values(p.Properties))) {
			visit(sub)
		}
	}
	for _, r := range requests {
		visit(r)
	}
	for name, schema := range s.registry.Map() {
		if closed, ok := schema.AdditionalProperties.(bool); ok && !closed && !strict[name] {
			schema.AdditionalProperties = nil
		}
	}
}
