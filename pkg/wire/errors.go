package wire

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
)

// Code is the machine-readable part of an error; docs/wire.md lists them.
type Code string

// The codes, with the HTTP status that Status gives each, which is also the code of a NATS service error.
const (
	CodeMalformed        Code = "malformed"           // 400: not JSON or protobuf of the expected message
	CodeInvalidArgument  Code = "invalid_argument"    // 400: a field has a value that it cannot have
	CodeInvalidSpace     Code = "invalid_space"       // 400: not a name of a space
	CodeInvalidID        Code = "invalid_id"          // 400: an id is empty, too long or not UTF-8
	CodeInvalidEmbedding Code = "invalid_embedding"   // 400: NaN, infinite, zero for cosine, beyond f16, or none to be had
	CodeUnknownEncoding  Code = "unknown_encoding"    // 400: an embedding in an encoding that is not known
	CodeWrongDimension   Code = "wrong_dimension"     // 400: an embedding of another dimension than its space
	CodeInvalidPosition  Code = "invalid_position"    // 400: a position of another set of logs, or of another shard
	CodeFilterInvalid    Code = "filter_invalid"      // 400: not an expression that tells observations apart
	CodeInvalidCursor    Code = "invalid_cursor"      // 400: not a cursor, or one of another request
	CodeIncompatible     Code = "incompatible_spaces" // 400: spaces whose scores cannot be compared
	CodeUnsupported      Code = "unsupported"         // 400: what this version does not serve yet, or the space cannot do
	CodeUnauthenticated  Code = "unauthenticated"     // 401: no credentials, or none that hold
	CodeForbidden        Code = "forbidden"           // 403: the principal has no such role in the space
	CodeUnknownSpace     Code = "unknown_space"       // 404
	CodeUnknownSession   Code = "unknown_session"     // 404: no session of this id that is the caller's
	CodeNotFound         Code = "not_found"           // 404: no such observation, or no such path
	CodeMethod           Code = "method_not_allowed"  // 405
	CodeConflict         Code = "conflict"            // 409: somebody else changed the space at the same moment, or there is no forget to prove
	CodeOutOfSequence    Code = "out_of_sequence"     // 409: another sequence than the one that a session expects
	CodeGone             Code = "gone"                // 410: a position of which the versions are not kept any more
	CodeTooLarge         Code = "too_large"           // 413: over a limit of size
	CodeFilterCostly     Code = "filter_too_costly"   // 422: deciding about an observation costs too much
	CodeBackpressure     Code = "backpressure"        // 429: the shard is behind; try again after RetryAfter
	CodeQuota            Code = "quota_exceeded"      // 429: a rate of the space's quota is used up; try again after RetryAfter
	CodeRateLimited      Code = "rate_limited"        // 429: the principal asks too often; try again after RetryAfter
	CodeSessionLimit     Code = "session_limit"       // 429: the gateway has as many streams as it may have
	CodeInternal         Code = "internal"            // 500
	CodeEmbedder         Code = "embedder_failed"     // 502: the space's embedder did not answer
	CodeUnavailable      Code = "unavailable"         // 503: NATS or a worker cannot be reached
	CodeDeadline         Code = "deadline"            // 504: the deadline passed before the outcome was known
	CodeStorageFull      Code = "storage_full"        // 507: the log takes no more
	CodeSpaceFull        Code = "space_full"          // 507: the space holds as many observations as its quota says
)

var statuses = map[Code]int{
	CodeMalformed: http.StatusBadRequest, CodeInvalidArgument: http.StatusBadRequest, CodeInvalidSpace: http.StatusBadRequest,
	CodeInvalidID: http.StatusBadRequest, CodeInvalidEmbedding: http.StatusBadRequest, CodeUnknownEncoding: http.StatusBadRequest,
	CodeFilterInvalid: http.StatusBadRequest, CodeInvalidCursor: http.StatusBadRequest, CodeIncompatible: http.StatusBadRequest,
	CodeFilterCostly:   http.StatusUnprocessableEntity,
	CodeWrongDimension: http.StatusBadRequest, CodeInvalidPosition: http.StatusBadRequest, CodeUnsupported: http.StatusBadRequest,
	CodeUnauthenticated: http.StatusUnauthorized, CodeForbidden: http.StatusForbidden, CodeRateLimited: http.StatusTooManyRequests,
	CodeUnknownSpace: http.StatusNotFound, CodeNotFound: http.StatusNotFound, CodeMethod: http.StatusMethodNotAllowed,
	CodeUnknownSession: http.StatusNotFound, CodeOutOfSequence: http.StatusConflict, CodeSessionLimit: http.StatusTooManyRequests,
	CodeConflict: http.StatusConflict, CodeGone: http.StatusGone, CodeTooLarge: http.StatusRequestEntityTooLarge, CodeBackpressure: http.StatusTooManyRequests,
	CodeInternal: http.StatusInternalServerError, CodeEmbedder: http.StatusBadGateway, CodeUnavailable: http.StatusServiceUnavailable,
	CodeDeadline: http.StatusGatewayTimeout, CodeStorageFull: http.StatusInsufficientStorage,
	CodeQuota: http.StatusTooManyRequests, CodeSpaceFull: http.StatusInsufficientStorage,
}

// Codes returns every code with its status; a test compares it with docs/wire.md.
func Codes() map[Code]int {
	all := make(map[Code]int, len(statuses))
	for c, s := range statuses {
		all[c] = s
	}
	return all
}

// Error is a refusal or a failure as every transport tells it.
type Error struct {
	Code Code
	// Message is a sentence: what, where, what to do.
	Message string
	// Field is the field of the request that it speaks of, if it speaks of one.
	Field string
	// RetryAfter is when to try again; 0 when it is not said.
	RetryAfter time.Duration
}

// Errorf returns an error of a code about a field, which may be empty. What is quoted of a request may be long or no
// text at all, and the answer must fit a message and its headers: it is cut off.
func Errorf(code Code, field, format string, args ...any) *Error {
	return &Error{Code: code, Field: clip(field, maxField), Message: clip(fmt.Sprintf(format, args...), maxMessage)}
}

// The longest field and message of an error, in bytes.
const (
	maxField   = 128
	maxMessage = 1024
)

func clip(s string, most int) string {
	if len(s) > most {
		s = s[:most-len("…")] + "…"
	}
	return strings.ToValidUTF8(s, "")
}

func (e *Error) Error() string {
	if e.Field != "" {
		return fmt.Sprintf("%s (%s): %s", e.Code, e.Field, e.Message)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

// Status returns the HTTP status of the error's code.
func (e *Error) Status() int {
	if s, ok := statuses[e.Code]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// At returns the error with its field below a prefix such as "observations[3]".
func (e *Error) At(prefix string) *Error {
	c := *e
	if c.Field == "" {
		c.Field = prefix
	} else {
		c.Field = prefix + "." + c.Field
	}
	return &c
}

// AsError returns err as an Error; one that is none becomes CodeInternal.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeInternal, Message: err.Error()}
}

// Proto returns the error as its message; nil for nil.
func (e *Error) Proto() *api.Error {
	if e == nil {
		return nil
	}
	return &api.Error{
		Code: string(e.Code), Message: e.Message, Field: e.Field, RetryAfterMs: uint32(e.RetryAfter.Milliseconds()),
	}
}

// FromProto is the inverse of Proto.
func FromProto(e *api.Error) *Error {
	if e == nil {
		return nil
	}
	return &Error{
		Code: Code(e.GetCode()), Message: e.GetMessage(), Field: e.GetField(),
		RetryAfter: time.Duration(e.GetRetryAfterMs()) * time.Millisecond,
	}
}
