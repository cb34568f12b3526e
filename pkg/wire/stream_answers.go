package wire

import (
	"encoding/json"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
)

type openedJSON struct {
	Session         string `json:"session"`
	Next            uint64 `json:"next"`
	Window          uint32 `json:"window"`
	WindowBytes     uint64 `json:"window_bytes"`
	MaxBatch        uint32 `json:"max_batch"`
	Acknowledgement string `json:"acknowledgement"`
	Resumed         bool   `json:"resumed,omitempty"`
	IdleTimeoutMS   uint32 `json:"idle_timeout_ms"`
}

type ackJSON struct {
	Sequence uint64              `json:"sequence"`
	Level    string              `json:"level"`
	At       timeJSON            `json:"at"`
	Results  []observeResultJSON `json:"results"`
}

type refusedJSON struct {
	Sequence uint64     `json:"sequence,omitempty"`
	Expected uint64     `json:"expected"`
	Error    *errorBody `json:"error"`
}

type statusJSON struct {
	State        string `json:"state"`
	RetryAfterMS uint32 `json:"retry_after_ms,omitempty"`
	Next         uint64 `json:"next"`
}

type recalledJSON struct {
	Tag      string          `json:"tag,omitempty"`
	Response json.RawMessage `json:"response,omitempty"`
	Error    *errorBody      `json:"error,omitempty"`
}

type closedJSON struct {
	Next      uint64     `json:"next"`
	Resumable bool       `json:"resumable"`
	Error     *errorBody `json:"error,omitempty"`
}

type pongJSON struct {
	Tag string   `json:"tag,omitempty"`
	At  timeJSON `json:"at"`
}

type answerFrameJSON struct {
	Opened   *openedJSON   `json:"opened,omitempty"`
	Ack      *ackJSON      `json:"ack,omitempty"`
	Refused  *refusedJSON  `json:"refused,omitempty"`
	Status   *statusJSON   `json:"status,omitempty"`
	Recalled *recalledJSON `json:"recalled,omitempty"`
	Closed   *closedJSON   `json:"closed,omitempty"`
	Pong     *pongJSON     `json:"pong,omitempty"`
}

var streamStates = names[api.StreamState]{"state", []string{"", "ready", "backpressure", "paused", "draining"}}

// EncodeFrame writes a frame to a client.
func EncodeFrame(f Format, in *api.ObserveStreamResponse) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(in)
	}
	var out answerFrameJSON
	switch f := in.GetFrame().(type) {
	case *api.ObserveStreamResponse_Opened:
		o := f.Opened
		out.Opened = &openedJSON{
			o.GetSession(), o.GetNext(), o.GetWindow(), o.GetWindowBytes(), o.GetMaxBatch(), acks.name(o.GetAcknowledgement()), o.GetResumed(), o.GetIdleTimeoutMs(),
		}
	case *api.ObserveStreamResponse_Ack:
		out.Ack = &ackJSON{Sequence: f.Ack.GetSequence(), Level: acks.name(f.Ack.GetLevel()), At: timeJSON(f.Ack.GetAt())}
		for _, r := range f.Ack.GetResults() {
			out.Ack.Results = append(out.Ack.Results, resultJSON(r))
		}
	case *api.ObserveStreamResponse_Refused:
		out.Refused = &refusedJSON{f.Refused.GetSequence(), f.Refused.GetExpected(), errorOf(f.Refused.GetError())}
	case *api.ObserveStreamResponse_Status:
		out.Status = &statusJSON{streamStates.name(f.Status.GetState()), f.Status.GetRetryAfterMs(), f.Status.GetNext()}
	case *api.ObserveStreamResponse_Recalled:
		out.Recalled = &recalledJSON{Tag: f.Recalled.GetTag(), Error: errorOf(f.Recalled.GetError())}
		if f.Recalled.GetResponse() != nil && f.Recalled.GetError() == nil {
			body, err := EncodeRecall(JSON, f.Recalled.GetResponse())
			if err != nil {
				return nil, err
			}
			out.Recalled.Response = body
		}
	case *api.ObserveStreamResponse_Closed:
		out.Closed = &closedJSON{f.Closed.GetNext(), f.Closed.GetResumable(), errorOf(f.Closed.GetError())}
	case *api.ObserveStreamResponse_Pong:
		out.Pong = &pongJSON{f.Pong.GetTag(), timeJSON(f.Pong.GetAt())}
	default:
		return nil, Errorf(CodeInternal, "", "the frame is empty")
	}
	return toJSON(out)
}

func errorOf(e *api.Error) *errorBody {
	if e == nil {
		return nil
	}
	b := FromProto(e).body()
	return &b
}

func (b *errorBody) proto() *api.Error {
	if b == nil {
		return nil
	}
	return &api.Error{Code: b.Code, Message: b.Message, Field: b.Field, RetryAfterMs: uint32(b.RetryAfterMS)}
}

// DecodeFrameResponse is what a client reads frames with. Fields that it does not know are left out, and the hits of a
// recall have what JSON tells of them.
func DecodeFrameResponse(f Format, body []byte) (*api.ObserveStreamResponse, *Error) {
	out := new(api.ObserveStreamResponse)
	if f == Protobuf {
		if err := unmarshal(body, out); err != nil {
			return nil, err
		}
		return out, nil
	}
	var in answerFrameJSON
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, jsonError(err)
	}
	switch {
	case in.Opened != nil:
		ack, err := acks.parse(in.Opened.Acknowledgement)
		if err != nil {
			return nil, err
		}
		o := in.Opened
		out.Frame = &api.ObserveStreamResponse_Opened{Opened: &api.StreamOpened{
			Session: o.Session, Next: o.Next, Window: o.Window, WindowBytes: o.WindowBytes, MaxBatch: o.MaxBatch, Acknowledgement: ack, Resumed: o.Resumed, IdleTimeoutMs: o.IdleTimeoutMS,
		}}
	case in.Ack != nil:
		level, err := acks.parse(in.Ack.Level)
		if err != nil {
			return nil, err
		}
		a := &api.StreamAck{Sequence: in.Ack.Sequence, Level: level, At: int64(in.Ack.At)}
		for _, r := range in.Ack.Results {
			a.Results = append(a.Results, &api.ObserveResult{Id: r.ID, Position: r.Position, Duplicate: r.Duplicate, Searchable: r.Searchable, Error: r.Error.proto()})
		}
		out.Frame = &api.ObserveStreamResponse_Ack{Ack: a}
	case in.Refused != nil:
		out.Frame = &api.ObserveStreamResponse_Refused{Refused: &api.StreamRefused{Sequence: in.Refused.Sequence, Expected: in.Refused.Expected, Error: in.Refused.Error.proto()}}
	case in.Status != nil:
		state, err := streamStates.parse(in.Status.State)
		if err != nil {
			return nil, err
		}
		out.Frame = &api.ObserveStreamResponse_Status{Status: &api.StreamStatus{State: state, RetryAfterMs: in.Status.RetryAfterMS, Next: in.Status.Next}}
	case in.Recalled != nil:
		resp, err := decodeRecalled(in.Recalled.Response)
		if err != nil {
			return nil, err
		}
		out.Frame = &api.ObserveStreamResponse_Recalled{Recalled: &api.StreamRecalled{Tag: in.Recalled.Tag, Response: resp, Error: in.Recalled.Error.proto()}}
	case in.Closed != nil:
		out.Frame = &api.ObserveStreamResponse_Closed{Closed: &api.StreamClosed{Next: in.Closed.Next, Resumable: in.Closed.Resumable, Error: in.Closed.Error.proto()}}
	case in.Pong != nil:
		out.Frame = &api.ObserveStreamResponse_Pong{Pong: &api.StreamPong{Tag: in.Pong.Tag, At: int64(in.Pong.At)}}
	default:
		return nil, Errorf(CodeMalformed, "", "the frame is none that this version knows")
	}
	return out, nil
}

func decodeRecalled(body []byte) (*api.RecallResponse, *Error) {
	if len(body) == 0 {
		return nil, nil
	}
	var in recallAnswerJSON
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, jsonError(err)
	}
	out := &api.RecallResponse{Applied: in.Applied, StalenessMs: in.StalenessMS, Searched: in.Searched, Exact: in.Exact, TookUs: in.TookUS, Next: in.Next}
	for _, a := range in.Spaces {
		out.Spaces = append(out.Spaces, &api.SpaceAnswer{
			Space: a.Space, Applied: a.Applied, StalenessMs: a.StalenessMS, Searched: a.Searched, Exact: a.Exact, Error: a.Error.proto(),
		})
	}
	for _, h := range in.Hits {
		priority, err := priorities.parse(h.Priority)
		if err != nil {
			return nil, err
		}
		hit := &api.Hit{
			Id: h.ID, ObservedAt: int64(h.ObservedAt), Position: h.Position, Text: h.Text, Metadata: h.Metadata, Embedding: h.Embedding.embedding(),
			Priority: priority, Importance: h.Importance, ExpiresAt: int64(h.ExpiresAt), Session: h.Session, Sequence: h.Sequence,
			Space: h.Space, Similarity: h.Similarity,
		}
		if h.Score != nil {
			hit.Score = *h.Score
		}
		out.Hits = append(out.Hits, hit)
	}
	return out, nil
}
