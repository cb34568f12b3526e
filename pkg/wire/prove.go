package wire

import (
	"cmp"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
)

type proveJSON struct {
	Space      string   `json:"space,omitempty"`
	IDs        []string `json:"ids,omitempty"`
	All        bool     `json:"all,omitempty"`
	Position   string   `json:"position,omitempty"`
	Traces     [][]byte `json:"traces,omitempty"`
	LookOnly   bool     `json:"look_only,omitempty"`
	DeadlineMS uint32   `json:"deadline_ms,omitempty"`
}

// DecodeProve reads the body of a prove request, and refuses what says nothing to look for.
func DecodeProve(f Format, body []byte) (*api.ProveRequest, *Error) {
	req := new(api.ProveRequest)
	if f == Protobuf {
		if err := unmarshal(body, req); err != nil {
			return nil, err
		}
	} else {
		var in proveJSON
		if err := strictJSON(body, &in); err != nil {
			return nil, err
		}
		req = &api.ProveRequest{
			Space: in.Space, Ids: in.IDs, All: in.All, Position: in.Position, Traces: in.Traces, LookOnly: in.LookOnly, DeadlineMs: in.DeadlineMS,
		}
	}
	switch {
	case req.GetAll() == (len(req.GetIds()) > 0):
		return nil, Errorf(CodeInvalidArgument, "ids", "a prove has either ids or all")
	case len(req.GetIds()) > event.MaxPaged:
		return nil, Errorf(CodeTooLarge, "ids", "ids has %d entries; it can have up to %d", len(req.GetIds()), event.MaxPaged)
	}
	for _, t := range req.GetTraces() {
		if len(t) < minTrace {
			return nil, Errorf(CodeInvalidArgument, "traces", "a trace has %d bytes, which are found by chance; it has at least %d", len(t), minTrace)
		}
	}
	return req, nil
}

// minTrace is the least number of bytes to look for.
const minTrace = 8

// ProveLimit returns how long a prove may take: messages younger than the duplicate window of the log are waited for.
func ProveLimit(r *api.ProveRequest) time.Duration {
	return cmp.Or(time.Duration(r.GetDeadlineMs())*time.Millisecond, DefaultCompactLimit)
}

type lookedJSON struct {
	Place  string     `json:"place"`
	Holder string     `json:"holder"`
	Items  uint64     `json:"items"`
	Bytes  uint64     `json:"bytes"`
	Found  uint64     `json:"found"`
	Note   string     `json:"note,omitempty"`
	Error  *errorBody `json:"error,omitempty"`
}

type proveAnswerJSON struct {
	Proven bool         `json:"proven"`
	Erased uint64       `json:"erased"`
	Looked []lookedJSON `json:"looked"`
}

// EncodeProve writes the answer to a prove request.
func EncodeProve(f Format, r *api.ProveResponse) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(r)
	}
	all := make([]lookedJSON, 0, len(r.GetLooked()))
	for _, l := range r.GetLooked() {
		j := lookedJSON{Place: l.GetPlace(), Holder: l.GetHolder(), Items: l.GetItems(), Bytes: l.GetBytes(), Found: l.GetFound(), Note: l.GetNote()}
		if l.GetError() != nil {
			b := FromProto(l.GetError()).body()
			j.Error = &b
		}
		all = append(all, j)
	}
	return toJSON(proveAnswerJSON{r.GetProven(), r.GetErased(), all})
}
