package wire

import (
	"strconv"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
)

// Headers that a request may carry beside its body, on NATS and on HTTP; a body that says the same goes first.
const (
	HeaderAck            = "Engram-Ack"
	HeaderDeadline       = "Engram-Deadline-Ms"
	HeaderIdempotencyKey = "Idempotency-Key"
)

// ObserveHeaders fills in from the headers what the body of an observe request left open.
func ObserveHeaders(req *api.ObserveRequest, get func(string) string) *Error {
	if v := get(HeaderAck); v != "" && req.GetAcknowledgement() == api.Acknowledgement_ACKNOWLEDGEMENT_UNSPECIFIED {
		ack, err := ParseAck(v)
		if err != nil {
			err.Field = HeaderAck
			return err
		}
		req.Acknowledgement = ack
	}
	if v := get(HeaderDeadline); v != "" && req.GetDeadlineMs() == 0 {
		ms, err := strconv.ParseUint(v, 10, 32)
		if err != nil {
			return Errorf(CodeInvalidArgument, HeaderDeadline, "%q is not a number of milliseconds", v)
		}
		req.DeadlineMs = uint32(ms)
	}
	if v := get(HeaderIdempotencyKey); v != "" && req.GetIdempotencyKey() == "" {
		req.IdempotencyKey = v
	}
	return nil
}
