package importer

import (
	"bytes"
	"strconv"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

// jsonSource reads the JSON of one observation from each line that is not blank.
type jsonSource struct {
	lineFile
	prefix string
}

func (s *jsonSource) Records(emit func(Record) error) error {
	seen := map[string]struct{}{}
	return s.lines(func(n int64, line []byte, long bool) error {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			return nil
		}
		rec := Record{Number: n, Consumed: n}
		if long {
			rec.Refused = wire.Errorf(wire.CodeTooLarge, "", "the line is longer than %d bytes", maxLine)
		} else {
			rec.Observation, rec.Refused = s.observation(line, n)
		}
		if rec.Refused == nil {
			_, rec.Repeated = seen[rec.Observation.GetId()]
			seen[rec.Observation.GetId()] = struct{}{}
		}
		return emit(rec)
	})
}

// observation reads one line, which has passed what can be checked here when it returns no refusal.
func (s *jsonSource) observation(line []byte, n int64) (*api.Observation, *wire.Error) {
	req, single, err := wire.DecodeObserve(wire.JSON, line)
	if err != nil {
		return nil, err
	}
	if !single {
		return nil, wire.Errorf(wire.CodeMalformed, "", "the line is a request of several observations; write one observation to a line")
	}
	if req.GetAcknowledgement() != 0 || req.GetIdempotencyKey() != "" || req.GetDeadlineMs() != 0 {
		return nil, wire.Errorf(wire.CodeMalformed, "", "acknowledgement, idempotency_key and deadline_ms belong to a request, not to an observation")
	}
	o := req.GetObservations()[0]
	if err := wire.CheckObservation(o); err != nil {
		return nil, err
	}
	switch {
	case o.GetEmbedding() != nil:
		if _, err := wire.EmbeddingF32(o.GetEmbedding(), false); err != nil {
			return nil, err
		}
	case o.GetText() == "":
		return nil, wire.Errorf(wire.CodeInvalidEmbedding, "embedding", "the observation has neither an embedding nor a text to embed")
	}
	if o.GetId() == "" {
		if o.GetSession() != "" {
			o.Id = o.GetSession() + ":" + strconv.FormatUint(o.GetSequence(), 10) // as the gateway would
		} else {
			o.Id = s.prefix + strconv.FormatInt(n, 10)
		}
	}
	return o, nil
}
