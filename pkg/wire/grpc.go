package wire

import "net/http"

// The codes of gRPC that errors of this contract have. They are numbers of the protocol, which google.golang.org/grpc
// and connectrpc.com/connect share.
const (
	grpcInvalidArgument   = 3
	grpcDeadlineExceeded  = 4
	grpcNotFound          = 5
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcAborted           = 10
	grpcOutOfRange        = 11
	grpcUnimplemented     = 12
	grpcInternal          = 13
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
)

// GRPC returns the gRPC code of the error: connect.Code(e.GRPC()) and codes.Code(e.GRPC()) are what a handler answers.
func (e *Error) GRPC() uint32 {
	switch e.Status() {
	case http.StatusBadRequest:
		return grpcInvalidArgument
	case http.StatusUnauthorized:
		return grpcUnauthenticated
	case http.StatusForbidden:
		return grpcPermissionDenied
	case http.StatusNotFound:
		return grpcNotFound
	case http.StatusMethodNotAllowed:
		return grpcUnimplemented
	case http.StatusConflict:
		return grpcAborted
	case http.StatusGone:
		return grpcOutOfRange
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests, http.StatusInsufficientStorage:
		return grpcResourceExhausted
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return grpcUnavailable
	case http.StatusGatewayTimeout:
		return grpcDeadlineExceeded
	default:
		return grpcInternal
	}
}
