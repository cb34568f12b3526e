package openapi

import (
	"encoding/json"
	"fmt"

	"github.com/danielgtaylor/huma/v2"
	"google.golang.org/protobuf/proto"
)

// The keys of the metadata that an endpoint of a micro service has.
const (
	RequestSchema   = "request_schema"
	RequestMessage  = "request_message"
	ResponseSchema  = "response_schema"
	ResponseMessage = "response_message"
)

const (
	// dialect is what OpenAPI 3.1 has its schemas in, too.
	dialect    = "https://json-schema.org/draft/2020-12/schema"
	defsPrefix = "#/$defs/"
)

// Exchange is a request over NATS and what answers it.
type Exchange struct {
	// Request, Answer and OrAnswer are names of wire.Shapes. OrAnswer is that of another answer, which the request decides on; it
	// may be empty.
	Request, Answer, OrAnswer string
	// In and Out are the same in protobuf; of them only the types count.
	In, Out proto.Message
}

// Metadata returns what the INFO of a micro service says of an endpoint: a schema of the request and of the answer in JSON,
// each of which refers to nothing outside of it, and the names of the messages in protobuf.
func (e Exchange) Metadata() (map[string]string, error) {
	request, err := standalone(func(s *schemas) (*huma.Schema, []*huma.Schema, error) {
		root, err := s.body(e.Request)
		return root, []*huma.Schema{root}, err
	})
	if err != nil {
		return nil, fmt.Errorf("making the schema of %s: %w", e.Request, err)
	}
	answer, err := standalone(func(s *schemas) (*huma.Schema, []*huma.Schema, error) {
		root, err := s.either(e.Answer, e.OrAnswer)
		return root, nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("making the schema of %s: %w", e.Answer, err)
	}
	return map[string]string{
		RequestSchema: request, RequestMessage: string(proto.MessageName(e.In)),
		ResponseSchema: answer, ResponseMessage: string(proto.MessageName(e.Out)),
	}, nil
}

// standalone writes a schema with the definitions of all that it refers to. What root returns as read strictly allows no field
// that it does not name.
func standalone(root func(*schemas) (whole *huma.Schema, strict []*huma.Schema, err error)) (string, error) {
	s := newSchemas(defsPrefix)
	schema, strict, err := root(s)
	if err != nil {
		return "", err
	}
	s.describe()
	s.open(strict...)
	whole := *schema
	whole.Extensions = map[string]any{"$schema": dialect, "$defs": s.registry.Map()}
	text, err := json.Marshal(&whole)
	if err != nil {
		return "", fmt.Errorf("writing it: %w", err)
	}
	return string(text), nil
}
