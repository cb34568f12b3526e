package wire

import (
	"errors"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"
)

// The code of an error on the transports that have codes of their own. They follow from its status, so that a new code of
// the contract has them without a word here.

// unknownGRPC is what gRPC calls UNKNOWN.
const unknownGRPC = 2

// grpcCodes are the numbers of gRPC's status codes, by HTTP status.
var grpcCodes = map[int]uint32{
	http.StatusBadRequest: 3, http.StatusUnauthorized: 16, http.StatusForbidden: 7, http.StatusNotFound: 5,
	http.StatusMethodNotAllowed: 12, http.StatusConflict: 10, http.StatusGone: 9, http.StatusRequestEntityTooLarge: 11,
	http.StatusUnprocessableEntity: 3, http.StatusTooManyRequests: 8, http.StatusInternalServerError: 13, http.StatusBadGateway: 14,
	http.StatusServiceUnavailable: 14, http.StatusGatewayTimeout: 4, http.StatusInsufficientStorage: 8,
}

// GRPC returns the gRPC status code of the error, which is that of Connect, too.
func (e *Error) GRPC() uint32 {
	if c, ok := grpcCodes[e.Status()]; ok {
		return c
	}
	return unknownGRPC
}

// Connect returns the error as gRPC and Connect tell it: its code and message, the Error of the contract as a detail, and when
// to come back as a google.rpc.RetryInfo.
func (e *Error) Connect() *connect.Error {
	out := connect.NewError(connect.Code(e.GRPC()), errors.New(e.Message))
	if d, err := connect.NewErrorDetail(e.Proto()); err == nil {
		out.AddDetail(d)
	}
	if e.RetryAfter > 0 {
		if d, err := connect.NewErrorDetail(&errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)}); err == nil {
			out.AddDetail(d)
		}
	}
	return out
}

// closeBase is where the codes begin that WebSocket leaves to applications.
const closeBase = 4000

// Close returns the code that a WebSocket is closed with for the error: 4000 and its status.
func (e *Error) Close() int { return closeBase + e.Status() }
