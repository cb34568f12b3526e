package filter

import (
	"math"
	"reflect"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"google.golang.org/protobuf/encoding/protowire"
)

// The fields of api.Observation and of what is in it; a test compares them with the message.
const (
	fieldObservedAt = 3
	fieldMetadata   = 6
	fieldPriority   = 7
	fieldImportance = 8
	fieldSession    = 10
	fieldSequence   = 11

	fieldKey   = 1 // of an entry of metadata
	fieldValue = 2

	fieldString = 1 // of a Value
	fieldNumber = 2
	fieldBool   = 3

	priorityHigh = 2
)

// row resolves the names of an expression by looking into the bytes of an observation.
type row struct {
	id   string
	body []byte
}

func (r *row) Parent() cel.Activation { return nil }

func (r *row) ResolveName(name string) (any, bool) {
	switch name {
	case "metadata":
		return metadata(r.body), true
	case "id":
		return types.String(r.id), true
	case "time", "observed_at":
		v, _ := field(r.body, fieldObservedAt)
		return types.Timestamp{Time: time.Unix(0, int64(v.number)).UTC()}, true
	case "importance":
		v, _ := field(r.body, fieldImportance)
		return types.Double(math.Float32frombits(uint32(v.number))), true
	case "priority":
		if v, _ := field(r.body, fieldPriority); v.number == priorityHigh {
			return types.String("high"), true
		}
		return types.String("normal"), true
	case "session":
		v, _ := field(r.body, fieldSession)
		return types.String(v.bytes), true
	case "sequence":
		v, _ := field(r.body, fieldSequence)
		return types.Int(v.number), true
	}
	return nil, false
}

// ObservedAt returns when an observation was observed, Unix time in nanoseconds, from the bytes that Match takes.
func ObservedAt(body []byte) int64 {
	v, _ := field(body, fieldObservedAt)
	return int64(v.number)
}

// value is that of a field: a number, or bytes that are part of the message.
type value struct {
	number uint64
	bytes  []byte
}

// next reads the first field of a message and returns what is behind it; false where there is none, or it is damaged.
func next(b []byte) (num protowire.Number, v value, rest []byte, ok bool) {
	num, kind, n := protowire.ConsumeTag(b)
	if n < 0 {
		return 0, v, nil, false
	}
	b = b[n:]
	switch kind {
	case protowire.VarintType:
		v.number, n = protowire.ConsumeVarint(b)
	case protowire.Fixed32Type:
		var x uint32
		x, n = protowire.ConsumeFixed32(b)
		v.number = uint64(x)
	case protowire.Fixed64Type:
		v.number, n = protowire.ConsumeFixed64(b)
	case protowire.BytesType:
		v.bytes, n = protowire.ConsumeBytes(b)
	default:
		n = protowire.ConsumeFieldValue(num, kind, b)
	}
	if n < 0 {
		return 0, v, nil, false
	}
	return num, v, b[n:], true
}

// field returns the last field of a number.
func field(b []byte, number protowire.Number) (found value, ok bool) {
	for len(b) > 0 {
		num, v, rest, read := next(b)
		if !read {
			return found, ok
		}
		if num == number {
			found, ok = v, true
		}
		b = rest
	}
	return found, ok
}

// metadata is the map of an observation, in the bytes of the whole of it.
type metadata []byte

// each goes through the entries until one is not wanted any more.
func (m metadata) each(visit func(key, value []byte) (more bool)) {
	for b := []byte(m); len(b) > 0; {
		num, v, rest, ok := next(b)
		if !ok {
			return
		}
		if b = rest; num != fieldMetadata {
			continue
		}
		key, _ := field(v.bytes, fieldKey)
		val, _ := field(v.bytes, fieldValue)
		if !visit(key.bytes, val.bytes) {
			return
		}
	}
}

// Find returns the value of a key.
func (m metadata) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	var found ref.Val
	m.each(func(key, value []byte) bool {
		if string(key) == string(name) {
			found = valueOf(value)
		}
		return found == nil
	})
	return found, found != nil
}

// valueOf returns an api.Value, nil where it has none.
func valueOf(b []byte) (out ref.Val) {
	for len(b) > 0 {
		num, v, rest, ok := next(b)
		if !ok {
			return out
		}
		switch num {
		case fieldString:
			out = types.String(v.bytes)
		case fieldNumber:
			out = types.Double(math.Float64frombits(v.number))
		case fieldBool:
			out = types.Bool(v.number != 0)
		}
		b = rest
	}
	return out
}

// whole is the map as CEL makes it of one of Go's, for what is not asked for often.
func (m metadata) whole() traits.Mapper {
	all := map[string]any{}
	m.each(func(key, value []byte) bool {
		if v := valueOf(value); v != nil {
			all[string(key)] = v
		}
		return true
	})
	return types.NewStringInterfaceMap(types.DefaultTypeAdapter, all)
}

func (m metadata) Get(key ref.Val) ref.Val {
	if v, ok := m.Find(key); ok {
		return v
	}
	return m.whole().Get(key) // an error that names it
}

func (m metadata) Contains(key ref.Val) ref.Val {
	if _, ok := key.(types.String); !ok {
		return m.whole().Contains(key)
	}
	_, ok := m.Find(key)
	return types.Bool(ok)
}

func (m metadata) Iterator() traits.Iterator                    { return m.whole().Iterator() }
func (m metadata) Size() ref.Val                                { return m.whole().Size() }
func (m metadata) Equal(other ref.Val) ref.Val                  { return m.whole().Equal(same(other)) }
func (m metadata) ConvertToNative(to reflect.Type) (any, error) { return m.whole().ConvertToNative(to) }
func (m metadata) ConvertToType(to ref.Type) ref.Val            { return m.whole().ConvertToType(to) }
func (m metadata) Type() ref.Type                               { return types.MapType }
func (m metadata) Value() any                                   { return m.whole().Value() }

func same(v ref.Val) ref.Val {
	if m, ok := v.(metadata); ok {
		return m.whole()
	}
	return v
}
