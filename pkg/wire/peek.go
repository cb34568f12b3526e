package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
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
