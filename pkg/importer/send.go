package importer

import (
	"context"
	"slices"
	"strconv"
	"strings"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

// absent returns the records whose ids are not in the space.
func (r *run) absent(ctx context.Context, batch []Record) ([]Record, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	req := &api.GetRequest{Include: []string{"none"}, Ids: make([]string, len(batch))}
	for i, rec := range batch {
		req.Ids[i] = rec.Observation.GetId()
	}
	resp, err := patiently(ctx, r.cfg.Patience, func(ctx context.Context) (*api.GetResponse, error) {
		return r.client.Get(ctx, r.cfg.Space, req)
	})
	if err != nil {
		if wire.AsError(err).Code == wire.CodeUnknownSpace {
			return batch, nil
		}
		return nil, err
	}
	there := make(map[string]bool, len(resp.GetObservations()))
	for _, h := range resp.GetObservations() {
		there[h.GetId()] = true
	}
	rest := slices.DeleteFunc(batch, func(rec Record) bool { return there[rec.Observation.GetId()] })
	r.count(func(res *Result) { res.Present += int64(len(req.Ids) - len(rest)) })
	return rest, nil
}

// send sends records until each is accepted or refused. The refusal of a request means that nothing of it was published;
// it names the record that it is about, or else the halves of the request are sent alone, down to one record.
func (r *run) send(ctx context.Context, records []Record) error {
	for len(records) > 0 {
		err := r.observe(ctx, records)
		if err == nil {
			return nil
		}
		e := wire.AsError(err)
		if !ofRecord(e.Code) {
			return err
		}
		if i, field, ok := indexOf(e.Field); ok && i < len(records) {
			own := *e
			own.Field = field
			r.refuse(records[i], &own)
			records = slices.Delete(records, i, i+1)
			continue
		}
		if len(records) == 1 {
			r.refuse(records[0], e)
			return nil
		}
		half := len(records) / 2
		if err := r.send(ctx, slices.Clone(records[:half])); err != nil {
			return err
		}
		records = records[half:]
	}
	return nil
}

// ofRecord is true for the codes by which a record is refused; the others are about the space or the service.
func ofRecord(c wire.Code) bool {
	switch c {
	case wire.CodeMalformed, wire.CodeInvalidArgument, wire.CodeInvalidID, wire.CodeInvalidEmbedding, wire.CodeUnknownEncoding,
		wire.CodeWrongDimension, wire.CodeTooLarge:
		return true
	}
	return false
}

// indexOf reads "observations[3].embedding".
func indexOf(field string) (i int, rest string, ok bool) {
	tail, ok := strings.CutPrefix(field, "observations[")
	if !ok {
		return 0, "", false
	}
	number, rest, ok := strings.Cut(tail, "]")
	i, err := strconv.Atoi(number)
	if !ok || err != nil || i < 0 {
		return 0, "", false
	}
	return i, strings.TrimPrefix(rest, "."), true
}

// observe sends one request until every record of it has an outcome. A try of which only a part got into the log is
// repeated whole, under the same key: the log knows the rest by its write ids.
func (r *run) observe(ctx context.Context, records []Record) error {
	req := &api.ObserveRequest{Observations: make([]*api.Observation, len(records))}
	for i, rec := range records {
		req.Observations[i] = rec.Observation
	}
	p := newPatience(ctx, r.cfg.Patience)
	defer p.stop()
	for {
		resp, err := r.client.ObserveRetrying(p.ctx, r.cfg.Space, req, func(e *wire.Error) {
			p.heard(e)
			if e.Code == wire.CodeBackpressure {
				r.count(func(res *Result) { res.Backpressure++ })
			}
		})
		if err != nil {
			return p.reason(err)
		}
		if len(resp.GetResults()) != len(records) {
			return wire.Errorf(wire.CodeInternal, "", "%d observations were sent, and the answer has %d results", len(records), len(resp.GetResults()))
		}
		if again := firstTransient(resp); again != nil {
			p.heard(again)
			if !p.wait(again.RetryAfter) {
				return p.reason(again)
			}
			continue
		}
		for i, result := range resp.GetResults() {
			if e := wire.FromProto(result.GetError()); e != nil {
				r.refuse(records[i], e)
			} else if err := r.accepted(result); err != nil {
				return err
			}
		}
		return nil
	}
}

func firstTransient(resp *api.ObserveResponse) *wire.Error {
	for _, result := range resp.GetResults() {
		if e := wire.FromProto(result.GetError()); e != nil && transient(e.Code) {
			return e
		}
	}
	return nil
}

// transient is true for what may pass when it is tried again.
func transient(c wire.Code) bool {
	switch c {
	case wire.CodeBackpressure, wire.CodeUnavailable, wire.CodeStorageFull, wire.CodeDeadline:
		return true
	}
	return false
}
