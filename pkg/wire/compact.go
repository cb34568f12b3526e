package wire

import (
	"cmp"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
)

type compactJSON struct {
	Space      string `json:"space,omitempty"`
	DeadlineMS uint32 `json:"deadline_ms,omitempty"`
	Erase      bool   `json:"erase,omitempty"`
	AtLeast    string `json:"at_least,omitempty"`
}

// DecodeCompact reads the body of a compact request, which may be empty.
func DecodeCompact(f Format, body []byte) (*api.CompactRequest, *Error) {
	req := new(api.CompactRequest)
	if len(body) == 0 {
		return req, nil
	}
	if f == Protobuf {
		return req, unmarshal(body, req)
	}
	var in compactJSON
	if err := strictJSON(body, &in); err != nil {
		return nil, err
	}
	req.Space, req.DeadlineMs, req.Erase, req.AtLeast = in.Space, in.DeadlineMS, in.Erase, in.AtLeast
	return req, nil
}

// DefaultCompactLimit is how long compacting a space may take where the request does not say.
const DefaultCompactLimit = 10 * time.Minute

// CompactLimit returns how long the copies of a space may take.
func CompactLimit(r *api.CompactRequest) time.Duration {
	return cmp.Or(time.Duration(r.GetDeadlineMs())*time.Millisecond, DefaultCompactLimit)
}

type compactedJSON struct {
	Worker         string     `json:"worker"`
	RowsBefore     uint64     `json:"rows_before"`
	RowsAfter      uint64     `json:"rows_after"`
	RowsReclaimed  uint64     `json:"rows_reclaimed"`
	LogBytesBefore uint64     `json:"log_bytes_before"`
	LogBytesAfter  uint64     `json:"log_bytes_after"`
	TookMS         float64    `json:"took_ms"`
	Error          *errorBody `json:"error,omitempty"`
}

type compactAnswerJSON struct {
	Copies []compactedJSON `json:"copies"`
}

// EncodeCompact writes the answer to a compact request.
func EncodeCompact(f Format, r *api.CompactResponse) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(r)
	}
	copies := make([]compactedJSON, 0, len(r.GetCopies()))
	for _, c := range r.GetCopies() {
		j := compactedJSON{
			Worker: c.GetWorker(), RowsBefore: c.GetRowsBefore(), RowsAfter: c.GetRowsAfter(), RowsReclaimed: c.GetRowsReclaimed(),
			LogBytesBefore: c.GetLogBytesBefore(), LogBytesAfter: c.GetLogBytesAfter(), TookMS: c.GetTookMs(),
		}
		if c.GetError() != nil {
			b := FromProto(c.GetError()).body()
			j.Error = &b
		}
		copies = append(copies, j)
	}
	return toJSON(compactAnswerJSON{copies})
}
