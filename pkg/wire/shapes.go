package wire

import "reflect"

// The names of the shapes that others speak of.
const (
	ShapeObservation = "Observation"
	ShapeObserve     = "Observe"
	ShapeError       = "Error"
)

// Shape is a type that a body in JSON is decoded into or encoded from: what can be said of the contract in a schema
// follows from it.
type Shape struct {
	Name string
	Type reflect.Type
}

// Shapes returns those of the bodies that go over HTTP and NATS, and of what they are made of. The first three write themselves.
func Shapes() []Shape {
	return []Shape{
		{"Time", reflect.TypeFor[timeJSON]()},
		{"Embedding", reflect.TypeFor[vectorJSON]()},
		{"Metadata", reflect.TypeFor[metadataJSON]()},

		{ShapeObservation, reflect.TypeFor[observationJSON]()},
		{ShapeObserve, reflect.TypeFor[observeJSON]()},
		{"ObserveResult", reflect.TypeFor[observeResultJSON]()},
		{"ObserveAnswer", reflect.TypeFor[observeAnswerJSON]()},
		{"LineAnswer", reflect.TypeFor[lineJSON]()},

		{"Quota", reflect.TypeFor[quotaJSON]()},
		{"Define", reflect.TypeFor[defineJSON]()},
		{"DefineAnswer", reflect.TypeFor[defineAnswerJSON]()},
		{"Space", reflect.TypeFor[spaceJSON]()},
		{"Spaces", reflect.TypeFor[spacesJSON]()},
		{"SpacesAnswer", reflect.TypeFor[spacesAnswerJSON]()},

		{"Recall", reflect.TypeFor[recallJSON]()},
		{"RecallAnswer", reflect.TypeFor[recallAnswerJSON]()},
		{"SpaceAnswer", reflect.TypeFor[spaceAnswerJSON]()},
		{"Hit", reflect.TypeFor[hitJSON]()},
		{"Get", reflect.TypeFor[getJSON]()},
		{"GetAnswer", reflect.TypeFor[getAnswerJSON]()},
		{"List", reflect.TypeFor[listJSON]()},
		{"ListAnswer", reflect.TypeFor[listAnswerJSON]()},

		{"Forget", reflect.TypeFor[forgetJSON]()},
		{"ForgetAnswer", reflect.TypeFor[forgetAnswerJSON]()},
		{"Prove", reflect.TypeFor[proveJSON]()},
		{"ProveAnswer", reflect.TypeFor[proveAnswerJSON]()},
		{"Looked", reflect.TypeFor[lookedJSON]()},
		{"Compact", reflect.TypeFor[compactJSON]()},
		{"CompactAnswer", reflect.TypeFor[compactAnswerJSON]()},
		{"Compacted", reflect.TypeFor[compactedJSON]()},

		{ShapeError, reflect.TypeFor[errorJSON]()},
		{"ErrorBody", reflect.TypeFor[errorBody]()},
	}
}
