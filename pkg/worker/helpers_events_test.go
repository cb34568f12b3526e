package worker

import (
	"fmt"
	"math"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vecstore"
)

func spaceIn(e *api.LogEvent) string {
	switch k := e.GetEvent().(type) {
	case *api.LogEvent_Observe:
		return k.Observe.GetSpace()
	case *api.LogEvent_Define:
		return k.Define.GetName()
	case *api.LogEvent_Forget:
		return k.Forget.GetSpace()
	case *api.LogEvent_ForgetMatching:
		return k.ForgetMatching.GetSpace()
	case *api.LogEvent_Drop:
		return k.Drop.GetSpace()
	}
	return "a"
}

func define(space string, dim uint32) *api.LogEvent {
	return &api.LogEvent{Event: &api.LogEvent_Define{Define: &api.SpaceDefinition{
		Name: space, Dimension: dim, Metric: api.Metric_METRIC_COSINE, Generation: 1, Engine: "exact",
	}}}
}

func observe(space, id string, v ...float32) *api.LogEvent {
	return &api.LogEvent{Event: &api.LogEvent_Observe{Observe: &api.Observation{Space: space, Id: id, Text: "text of " + id, Embedding: embedding(v...)}}}
}

func embedding(v ...float32) *api.Embedding {
	return &api.Embedding{Data: event.AppendF32(nil, v), Encoding: api.Encoding_ENCODING_F32}
}

// several are observations of space "a", of which the i-th is the nearest one to direction(i).
func several(from, to int) []*api.LogEvent {
	var events []*api.LogEvent
	for i := from; i < to; i++ {
		events = append(events, observe("a", fmt.Sprint(i), direction(i)...))
	}
	return events
}

// direction goes round a circle, up to i = 300.
func direction(i int) []float32 {
	sin, cos := math.Sincos(float64(i) / 50)
	return []float32{float32(sin), float32(cos), 0.5}
}

func definition(space string) vecstore.Event {
	return vecstore.Event{Kind: vecstore.KindDefine, Space: space, Definition: &vecstore.Definition{
		Name: space, Dimension: 1, Metric: vecstore.Dot, Generation: 1,
	}}
}

func row(space, id string, v float32) vecstore.Event {
	return vecstore.Event{Kind: vecstore.KindObserve, Space: space, ID: id, Vector: event.AppendF32(nil, []float32{v})}
}
