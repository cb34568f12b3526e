package rpc

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

// Refusal returns the error that a server of this contract has told a client of gRPC or Connect; one that does not come
// from there becomes wire.CodeUnavailable or wire.CodeInternal.
func Refusal(err error) *wire.Error {
	var e *connect.Error
	if !errors.As(err, &e) {
		return wire.AsError(err)
	}
	for _, d := range e.Details() {
		if v, err := d.Value(); err == nil {
			if told, ok := v.(*api.Error); ok {
				return wire.FromProto(told)
			}
		}
	}
	code := wire.CodeInternal
	switch e.Code() {
	case connect.CodeUnavailable:
		code = wire.CodeUnavailable
	case connect.CodeInvalidArgument:
		code = wire.CodeMalformed
	case connect.CodeResourceExhausted:
		code = wire.CodeTooLarge
	case connect.CodeDeadlineExceeded, connect.CodeCanceled:
		code = wire.CodeDeadline
	}
	return wire.Errorf(code, "", "%s", e.Message())
}

// maxMessage is the largest message of a request, in bytes.
const maxMessage = 16 << 20

// maxFrame is the largest frame of a stream, in bytes: every stream may have one that is being read.
const maxFrame = 2 << 20

func options() []connect.HandlerOption {
	return []connect.HandlerOption{
		connect.WithConditionalHandlerOptions(func(spec connect.Spec) []connect.HandlerOption {
			most := maxMessage
			if spec.StreamType == connect.StreamTypeBidi {
				most = maxFrame
			}
			return []connect.HandlerOption{connect.WithReadMaxBytes(most)}
		}),
		connect.WithCodec(binary{}), connect.WithCodec(text{"json"}), connect.WithCodec(text{"json; charset=utf-8"}),
		connect.WithRecover(func(_ context.Context, spec connect.Spec, _ http.Header, p any) error {
			return wire.Errorf(wire.CodeInternal, "", "%s failed: %v", spec.Procedure, p).Connect()
		}),
	}
}
