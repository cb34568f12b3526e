package rpc

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

// fail returns a refusal as gRPC and Connect tell it: its code and message, the Error of the contract as a detail, and
// when to come back as a google.rpc.RetryInfo.
func fail(e *wire.Error) error {
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
			return fail(wire.Errorf(wire.CodeInternal, "", "%s failed: %v", spec.Procedure, p))
		}),
	}
}
