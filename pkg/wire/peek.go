package wire

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
)

// The fields that PeekObserve looks at.
const (
	fieldObservations = 1 // of ObserveRequest
	fieldPriority     = 7 // of Observation
)

// PeekObserve tells how many observations the protobuf of an ObserveRequest has, and whether all of them have high priority,
// without decoding it: what is refused anyway is to cost little. ok is false for what is not the protobuf of one.
func PeekObserve(body []byte) (n int, high, ok bool) {
	high = true
	for len(body) > 0 {
		number, kind, size := protowire.ConsumeTag(body)
		if size < 0 {
			return 0, false, false
		}
		body = body[size:]
		if number != fieldObservations || kind != protowire.BytesType {
			if size = protowire.ConsumeFieldValue(number, kind, body); size < 0 {
				return 0, false, false
			}
			body = body[size:]
			continue
		}
		one, size := protowire.ConsumeBytes(body)
		if size < 0 {
			return 0, false, false
		}
		body = body[size:]
		priority, ok := peekPriority(one)
		if !ok {
			return 0, false, false
		}
		high = high && priority == uint64(api.Priority_PRIORITY_HIGH)
		n++
	}
	return n, high && n > 0, n > 0
}

func peekPriority(observation []byte) (priority uint64, ok bool) {
	for len(observation) > 0 {
		number, kind, size := protowire.ConsumeTag(observation)
		if size < 0 {
			return 0, false
		}
		observation = observation[size:]
		if number == fieldPriority && kind == protowire.VarintType {
			if priority, size = protowire.ConsumeVarint(observation); size < 0 {
				return 0, false
			}
		} else if size = protowire.ConsumeFieldValue(number, kind, observation); size < 0 {
			return 0, false
		}
		observation = observation[size:]
	}
	return priority, true
}

// The fields that CheckCount looks at, with those above.
const (
	fieldObserve       = 2 // of ObserveStreamRequest
	fieldOfObservation = 2 // of StreamObserve
)

// CheckCount refuses the protobuf of an ObserveRequest or an ObserveStreamRequest that has more observations than one can
// have, before it is decoded: one that is empty takes two bytes there, and hundreds in memory. It is silent about others.
func CheckCount(body []byte, m proto.Message) *Error {
	n := 0
	switch m.(type) {
	case *api.ObserveRequest:
		eachField(body, fieldObservations, func([]byte) { n++ })
	case *api.ObserveStreamRequest:
		eachField(body, fieldObserve, func(observe []byte) {
			eachField(observe, fieldOfObservation, func([]byte) { n++ })
		})
	}
	if n > event.MaxBatch {
		return Errorf(CodeTooLarge, "observations", "the request has %d observations; it can have up to %d", n, event.MaxBatch)
	}
	return nil
}

// maxObjects is how many objects the JSON of a request can have: an observation has few, but for its metadata, whose values are
// objects in protobuf's JSON.
const maxObjects = event.MaxBatch * (event.MaxMetadataKeys + 8)

// CheckObjects refuses JSON that holds more objects than observations could, before it is decoded: an empty one takes a
// hundred times its two bytes.
func CheckObjects(body []byte) *Error {
	n, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case c == '{' && !quoted:
			n++
		}
	}
	if n > maxObjects {
		return Errorf(CodeTooLarge, "observations", "the request has %d JSON objects; one of %d observations has fewer", n, event.MaxBatch)
	}
	return nil
}

// eachField calls f with the bytes of each field of a number, up to where the body is no protobuf.
func eachField(body []byte, field protowire.Number, f func([]byte)) {
	for len(body) > 0 {
		number, kind, size := protowire.ConsumeTag(body)
		if size < 0 {
			return
		}
		body = body[size:]
		if size = protowire.ConsumeFieldValue(number, kind, body); size < 0 {
			return
		}
		if number == field && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(body)
			f(value)
		}
		body = body[size:]
	}
}
