package wire_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

func f32(v ...float32) *api.Embedding {
	return &api.Embedding{Data: event.AppendF32(nil, v), Encoding: api.Encoding_ENCODING_F32}
}

func text(s string) *api.Value {
	return &api.Value{Kind: &api.Value_String_{String_: s}}
}

func number(x float64) *api.Value {
	return &api.Value{Kind: &api.Value_Number{Number: x}}
}

func boolean(b bool) *api.Value {
	return &api.Value{Kind: &api.Value_Bool{Bool: b}}
}

// whole is an observation with every field set.
func whole() *api.Observation {
	return &api.Observation{
		Id: "ä/42", Space: "demo", ObservedAt: 1_767_366_245_000_000_001, Text: "line\n\"two\" <é>", Embedding: f32(0.25, -1, 3e-38),
		Metadata: map[string]*api.Value{"s": text(""), "n": number(-1.5e300), "b": boolean(false), "": boolean(true)},
		Priority: api.Priority_PRIORITY_HIGH, Importance: 0.1, ExpiresAt: 1_900_000_000_000_000_000, Session: "pod-7", Sequence: 1<<64 - 1,
	}
}

func equal(t *testing.T, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// refused checks that an error has a code and a field, and says something.
func refused(t *testing.T, err *wire.Error, code wire.Code, field string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("taken, want %s (%s)", code, field)
	case err.Code != code || err.Field != field || len(err.Message) < 10 || strings.Contains(err.Message, "%!"):
		t.Errorf("refused with %q, %q: %q; want %s (%s)", err.Code, err.Field, err.Message, code, field)
	}
}
