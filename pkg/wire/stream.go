package wire

import (
	"encoding/json"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
)

// The frames of a stream. In JSON a frame is an object with one member, whose name says what it is.

type initJSON struct {
	Session         string `json:"session,omitempty"`
	Acknowledgement string `json:"acknowledgement,omitempty"`
	Window          uint32 `json:"window,omitempty"`
	Space           string `json:"space,omitempty"`
	Acknowledged    uint64 `json:"acknowledged,omitempty"`
}

type streamObserveJSON struct {
	Sequence     uint64            `json:"sequence,omitempty"`
	Observations []observationJSON `json:"observations,omitempty"`
	Space        string            `json:"space,omitempty"`
	DeadlineMS   uint32            `json:"deadline_ms,omitempty"`
}

type streamRecallJSON struct {
	Tag     string          `json:"tag,omitempty"`
	Request json.RawMessage `json:"request"`
}

type tagJSON struct {
	Tag string `json:"tag,omitempty"`
}

type frameJSON struct {
	Init    *initJSON          `json:"init,omitempty"`
	Observe *streamObserveJSON `json:"observe,omitempty"`
	Recall  *streamRecallJSON  `json:"recall,omitempty"`
	Pause   *struct{}          `json:"pause,omitempty"`
	Resume  *struct{}          `json:"resume,omitempty"`
	Close   *struct{}          `json:"close,omitempty"`
	Ping    *tagJSON           `json:"ping,omitempty"`
}

// DecodeFrame reads a frame from a client.
func DecodeFrame(f Format, body []byte) (*api.ObserveStreamRequest, *Error) {
	out := new(api.ObserveStreamRequest)
	if f == Protobuf {
		if err := unmarshal(body, out); err != nil {
			return nil, err
		}
		return out, nil
	}
	var in frameJSON
	if err := strictJSON(body, &in); err != nil {
		return nil, locateInFrame(body, err)
	}
	frames := 0
	set := func(is bool) bool {
		if is {
			frames++
		}
		return is
	}
	if set(in.Init != nil) {
		ack, err := acks.parse(in.Init.Acknowledgement)
		if err != nil {
			return nil, err
		}
		out.Frame = &api.ObserveStreamRequest_Init{Init: &api.StreamInit{
			Session: in.Init.Session, Acknowledgement: ack, Window: in.Init.Window, Space: in.Init.Space, Acknowledged: in.Init.Acknowledged,
		}}
	}
	if set(in.Observe != nil) {
		o := &api.StreamObserve{Sequence: in.Observe.Sequence, Space: in.Observe.Space, DeadlineMs: in.Observe.DeadlineMS}
		for i := range in.Observe.Observations {
			one, err := in.Observe.Observations[i].proto()
			if err != nil {
				return nil, atObservation(err, i, len(in.Observe.Observations))
			}
			o.Observations = append(o.Observations, one)
		}
		out.Frame = &api.ObserveStreamRequest_Observe{Observe: o}
	}
	if set(in.Recall != nil) {
		req, err := DecodeRecall(JSON, in.Recall.Request)
		if err != nil {
			return nil, err
		}
		out.Frame = &api.ObserveStreamRequest_Recall{Recall: &api.StreamRecall{Tag: in.Recall.Tag, Request: req}}
	}
	if set(in.Pause != nil) {
		out.Frame = &api.ObserveStreamRequest_Pause{Pause: &api.StreamPause{}}
	}
	if set(in.Resume != nil) {
		out.Frame = &api.ObserveStreamRequest_Resume{Resume: &api.StreamResume{}}
	}
	if set(in.Close != nil) {
		out.Frame = &api.ObserveStreamRequest_Close{Close: &api.StreamClose{}}
	}
	if set(in.Ping != nil) {
		out.Frame = &api.ObserveStreamRequest_Ping{Ping: &api.StreamPing{Tag: in.Ping.Tag}}
	}
	if frames != 1 {
		return nil, Errorf(CodeMalformed, "", "the frame has %d of init, observe, recall, pause, resume, close and ping; it has to have one", frames)
	}
	return out, nil
}

// locateInFrame says which observation of a frame an error of the decoder is about.
func locateInFrame(body []byte, err *Error) *Error {
	var in struct {
		Observe struct {
			Observations []json.RawMessage `json:"observations"`
		} `json:"observe"`
	}
	_ = json.Unmarshal(body, &in) // where this fails too, there is nothing to add to err
	all := in.Observe.Observations
	for i, o := range all {
		if found := strictJSON(o, new(observationJSON)); found != nil {
			return atObservation(found, i, len(all))
		}
	}
	return err
}

// EncodeFrameRequest writes a frame as DecodeFrame reads it; embeddings of its observations must be packed f32.
func EncodeFrameRequest(f Format, in *api.ObserveStreamRequest) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(in)
	}
	var out frameJSON
	switch f := in.GetFrame().(type) {
	case *api.ObserveStreamRequest_Init:
		out.Init = &initJSON{
			Session: f.Init.GetSession(), Acknowledgement: acks.name(f.Init.GetAcknowledgement()), Window: f.Init.GetWindow(),
			Space: f.Init.GetSpace(), Acknowledged: f.Init.GetAcknowledged(),
		}
	case *api.ObserveStreamRequest_Observe:
		o := &streamObserveJSON{Sequence: f.Observe.GetSequence(), Space: f.Observe.GetSpace(), DeadlineMS: f.Observe.GetDeadlineMs()}
		for _, one := range f.Observe.GetObservations() {
			o.Observations = append(o.Observations, observationOf(one))
		}
		out.Observe = o
	case *api.ObserveStreamRequest_Recall:
		req, err := EncodeRecallRequest(JSON, f.Recall.GetRequest())
		if err != nil {
			return nil, err
		}
		out.Recall = &streamRecallJSON{Tag: f.Recall.GetTag(), Request: req}
	case *api.ObserveStreamRequest_Pause:
		out.Pause = &struct{}{}
	case *api.ObserveStreamRequest_Resume:
		out.Resume = &struct{}{}
	case *api.ObserveStreamRequest_Close:
		out.Close = &struct{}{}
	case *api.ObserveStreamRequest_Ping:
		out.Ping = &tagJSON{Tag: f.Ping.GetTag()}
	}
	return toJSON(out)
}
