package wire

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
)

// fieldError carries an Error out of a json.Unmarshaler.
type fieldError struct{ err *Error }

func (e *fieldError) Error() string { return e.err.Error() }

// vectorJSON is an embedding: an array of numbers, or base64 of packed little-endian f32. It is written as an array.
type vectorJSON []byte

func (v *vectorJSON) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	switch {
	case len(b) > 0 && b[0] == '[':
	case len(b) > 0 && b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		packed, err := base64.StdEncoding.DecodeString(s)
		if err != nil || len(packed)%4 != 0 {
			return &fieldError{Errorf(CodeInvalidEmbedding, "embedding", "embedding is not base64 of packed little-endian f32")}
		}
		*v = packed
		return nil
	default:
		return &fieldError{Errorf(CodeInvalidEmbedding, "embedding", "embedding is neither an array of numbers nor base64 of packed little-endian f32")}
	}
	packed := make([]byte, 0, len(b)/2)
	for i := 1; i < len(b)-1; {
		start := i
		for i < len(b)-1 && b[i] != ',' {
			i++
		}
		text := trimSpace(b[start:i])
		i++
		if len(text) == 0 && len(packed) == 0 && i >= len(b)-1 {
			break // []
		}
		x, err := strconv.ParseFloat(string(text), 32)
		if err != nil {
			return &fieldError{Errorf(CodeInvalidEmbedding, "embedding",
				"component %d of embedding is not a number that f32 can hold", len(packed)/4)}
		}
		packed = event.AppendF32(packed, []float32{float32(x)})
	}
	*v = packed
	return nil
}

func (v vectorJSON) MarshalJSON() ([]byte, error) {
	out := append(make([]byte, 0, len(v)*3), '[')
	for i, x := range event.DecodeF32(nil, v) {
		if i > 0 {
			out = append(out, ',')
		}
		if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("component %d of an embedding is %v, which JSON cannot hold", i, x)
		}
		out = strconv.AppendFloat(out, float64(x), 'g', -1, 32)
	}
	return append(out, ']'), nil
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\n' || b[0] == '\t' || b[0] == '\r') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\n' || b[len(b)-1] == '\t' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}

// embedding returns the message of a JSON embedding, nil for none. An empty array is an embedding that is refused later.
func (v vectorJSON) embedding() *api.Embedding {
	if v == nil {
		return nil
	}
	return &api.Embedding{Data: v, Encoding: api.Encoding_ENCODING_F32}
}

// metadataJSON is an object of strings, numbers and booleans.
type metadataJSON map[string]*api.Value

func (m *metadataJSON) UnmarshalJSON(b []byte) error {
	var raw map[string]any
	if err := json.Unmarshal(b, &raw); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && strings.HasPrefix(wrong.Value, "number ") {
			return &fieldError{Errorf(CodeInvalidArgument, "metadata", "metadata holds the %s, which is more than a double can", wrong.Value)}
		}
		return &fieldError{Errorf(CodeMalformed, "metadata", "metadata is not a JSON object")}
	}
	out, err := MetadataFrom(raw)
	if err != nil {
		return &fieldError{err}
	}
	*m = out
	return nil
}

func (m metadataJSON) MarshalJSON() ([]byte, error) { return json.Marshal(MetadataTo(m)) }

// MetadataFrom turns Go values (string, float64, int, int64, bool) into metadata.
func MetadataFrom(raw map[string]any) (map[string]*api.Value, *Error) {
	if len(raw) == 0 {
		return nil, nil
	}
	out := make(map[string]*api.Value, len(raw))
	for key, v := range raw {
		switch v := v.(type) {
		case string:
			out[key] = &api.Value{Kind: &api.Value_String_{String_: v}}
		case float64:
			out[key] = &api.Value{Kind: &api.Value_Number{Number: v}}
		case int:
			out[key] = &api.Value{Kind: &api.Value_Number{Number: float64(v)}}
		case int64:
			out[key] = &api.Value{Kind: &api.Value_Number{Number: float64(v)}}
		case bool:
			out[key] = &api.Value{Kind: &api.Value_Bool{Bool: v}}
		default:
			return nil, Errorf(CodeInvalidArgument, "metadata", "metadata[%q] is neither a string nor a number nor a boolean", key)
		}
	}
	return out, nil
}

// MetadataTo is the inverse of MetadataFrom: string, float64 and bool.
func MetadataTo(m map[string]*api.Value) map[string]any {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]any, len(m))
	for key, v := range m {
		switch k := v.GetKind().(type) {
		case *api.Value_String_:
			out[key] = k.String_
		case *api.Value_Number:
			out[key] = k.Number
		case *api.Value_Bool:
			out[key] = k.Bool
		}
	}
	return out
}

// timeJSON is RFC 3339, with up to nanoseconds.
type timeJSON int64

func (t *timeJSON) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return notTime(string(b))
	}
	if s == "" {
		*t = 0
		return nil
	}
	parsed, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || parsed.Year() < 1678 || parsed.Year() > 2261 {
		return notTime("string " + strconv.Quote(s))
	}
	*t = timeJSON(parsed.UnixNano())
	return nil
}

// notTime is an error that the decoder completes with the name of the field.
func notTime(found string) error {
	return &json.UnmarshalTypeError{Value: found + ", and not a time of 1678 to 2261 as in 2026-01-02T15:04:05Z", Type: reflect.TypeFor[timeJSON]()}
}

func (t timeJSON) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Unix(0, int64(t)).UTC().Format(time.RFC3339Nano))
}

// The JSON names of the enumerations.
var (
	priorities = names[api.Priority]{"priority", []string{"", "normal", "high"}}
	acks       = names[api.Acknowledgement]{"acknowledgement", []string{"", "accepted", "searchable"}}
	metrics    = names[api.Metric]{"metric", []string{"", "cosine", "dot", "l2"}}
	vectors    = names[api.Vectors]{"vectors", []string{"", "f32", "f16", "none"}}
	targets    = names[api.RecallTarget]{"recall", []string{"", "fast", "balanced", "exact"}}
	orders     = names[api.ListOrder]{"order", []string{"", "newest", "oldest", "latest", "earliest"}}
)

type names[T ~int32] struct {
	field string
	names []string
}

func (n names[T]) parse(s string) (T, *Error) {
	if i := slices.Index(n.names, s); i >= 0 {
		return T(i), nil
	}
	return 0, Errorf(CodeInvalidArgument, n.field, "%s is %q; it can be one of %q", n.field, s, n.names[1:])
}

// knows tells whether a number stands for one of the names, or for none.
func (n names[T]) knows(v T) bool { return v >= 0 && int(v) < len(n.names) }

func (n names[T]) name(v T) string {
	if !n.knows(v) {
		return strconv.Itoa(int(v))
	}
	return n.names[v]
}

// ParseAck reads "accepted" or "searchable"; the empty string is accepted.
func ParseAck(s string) (api.Acknowledgement, *Error) { return acks.parse(s) }

// ParsePriority reads "normal" or "high"; the empty string is normal.
func ParsePriority(s string) (api.Priority, *Error) { return priorities.parse(s) }

// ParseMetric reads "cosine", "dot" or "l2"; the empty string is cosine.
func ParseMetric(s string) (api.Metric, *Error) { return metrics.parse(s) }

// MetricName is the inverse of ParseMetric.
func MetricName(m api.Metric) string { return metrics.name(m) }

// ParseVectors reads "f32", "f16" or "none"; the empty string is unset, which is f32.
func ParseVectors(s string) (api.Vectors, *Error) { return vectors.parse(s) }

// VectorsName is the inverse of ParseVectors; unset is "f32".
func VectorsName(v api.Vectors) string {
	if v == api.Vectors_VECTORS_UNSPECIFIED {
		v = api.Vectors_VECTORS_F32
	}
	return vectors.name(v)
}

// DefaultEngine is the index engine that an empty name means.
const DefaultEngine = "hnsw"

// Engines returns the names of the index engines that a space can be defined with.
func Engines() []string { return []string{DefaultEngine, "exact", "coder"} }

// EngineName returns the name of a definition's engine.
func EngineName(engine string) string { return cmp.Or(engine, DefaultEngine) }

// ParseRecallTarget reads "fast", "balanced" or "exact"; the empty string is unset, which is balanced.
func ParseRecallTarget(s string) (api.RecallTarget, *Error) { return targets.parse(s) }

// ParseListOrder reads "newest", "oldest", "latest" or "earliest"; the empty string is unset, which is newest.
func ParseListOrder(s string) (api.ListOrder, *Error) { return orders.parse(s) }

// errorJSON is the body of every refusal.
type errorJSON struct {
	Error errorBody `json:"error"`
}

type errorBody struct {
	Code         string `json:"code"`
	Message      string `json:"message"`
	Field        string `json:"field,omitempty"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
}

func (e *Error) body() errorBody {
	return errorBody{Code: string(e.Code), Message: e.Message, Field: e.Field, RetryAfterMS: e.RetryAfter.Milliseconds()}
}
