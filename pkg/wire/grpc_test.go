package wire_test

import (
	"testing"

	"github.com/engram-memory/engram/pkg/wire"
)

// Every code but internal itself has a code of gRPC that says more than INTERNAL, so a client can tell what to do.
func TestEveryCodeHasOneOfGRPC(t *testing.T) {
	const internal = 13
	for code := range wire.Codes() {
		if got := (&wire.Error{Code: code}).GRPC(); (got == internal) != (code == wire.CodeInternal) {
			t.Errorf("%s is code %d of gRPC", code, got)
		}
	}
	for code, want := range map[wire.Code]uint32{wire.CodeUnauthenticated: 16, wire.CodeForbidden: 7, wire.CodeRateLimited: 8, "of_tomorrow": internal} {
		if got := (&wire.Error{Code: code}).GRPC(); got != want {
			t.Errorf("%s is code %d of gRPC, want %d", code, got, want)
		}
	}
}
