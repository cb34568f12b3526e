package wire

import (
	"encoding/json"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
)

type spacesJSON struct {
	Space string `json:"space,omitempty"`
}

// DecodeSpaces reads the body of a spaces request, which may be empty.
func DecodeSpaces(f Format, body []byte) (*api.SpacesRequest, *Error) {
	req := new(api.SpacesRequest)
	if len(body) == 0 {
		return req, nil
	}
	if f == Protobuf {
		return req, unmarshal(body, req)
	}
	var in spacesJSON
	if err := strictJSON(body, &in); err != nil {
		return nil, err
	}
	req.Space = in.Space
	return req, nil
}

type spaceJSON struct {
	definitionJSON
	Observations uint64  `json:"observations"`
	RowsInTail   uint64  `json:"rows_in_tail"`
	RowsInGraph  uint64  `json:"rows_in_graph"`
	RowsDead     uint64  `json:"rows_dead"`
	Applied      string  `json:"applied"`
	StalenessMS  float64 `json:"staleness_ms"`
}

type spacesAnswerJSON struct {
	Spaces []spaceJSON `json:"spaces"`
}

// EncodeSpaces writes the answer to a spaces request; one of them alone when single.
func EncodeSpaces(f Format, r *api.SpacesResponse, single bool) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(r)
	}
	all := make([]spaceJSON, 0, len(r.GetSpaces()))
	for _, s := range r.GetSpaces() {
		all = append(all, spaceJSON{
			definitionJSON: definition(s.GetDefinition(), s.GetShard()), Observations: s.GetObservations(),
			RowsInTail: s.GetRowsInTail(), RowsInGraph: s.GetRowsInGraph(), RowsDead: s.GetRowsDead(), Applied: s.GetApplied(),
			StalenessMS: s.GetStalenessMs(),
		})
	}
	if single && len(all) == 1 {
		return toJSON(all[0])
	}
	return toJSON(spacesAnswerJSON{all})
}

// EncodeError writes a refusal: {"error": {"code", "message", "field"}} or the protobuf Error.
func EncodeError(f Format, e *Error) []byte {
	if f == Protobuf {
		if b, err := marshal(e.Proto()); err == nil {
			return b
		}
	}
	b, err := toJSON(errorJSON{e.body()})
	if err != nil {
		return nil
	}
	return b
}

// DecodeError reads what EncodeError wrote; bytes that are not that become an internal error that says so.
func DecodeError(f Format, body []byte) *Error {
	if f == Protobuf {
		e := new(api.Error)
		if err := unmarshal(body, e); err == nil && e.GetCode() != "" {
			return FromProto(e)
		}
	} else {
		var e errorJSON
		if err := json.Unmarshal(body, &e); err == nil && e.Error.Code != "" {
			return &Error{
				Code: Code(e.Error.Code), Message: e.Error.Message, Field: e.Error.Field,
				RetryAfter: time.Duration(e.Error.RetryAfterMS) * time.Millisecond,
			}
		}
	}
	return Errorf(CodeInternal, "", "the other side failed, and did not say how in a way that this version reads")
}
