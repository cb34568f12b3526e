package rpc_test

import (
	"strings"
	"testing"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
)

// A stream goes on behind a frame that is large, and ends with one that is larger than a frame can be.
func TestLargeFrames(t *testing.T) {
	for name, dial := range pipes(t) {
		t.Run(name, func(t *testing.T) {
			p := dial(shared.HTTPAddr())
			open(t, p, &api.StreamInit{Space: unique("large")})
			must(t, p.send(observeFrame(1, &api.Observation{Text: strings.Repeat("a", 3<<19)})))
			if r := next(t, p).GetRefused(); r.GetSequence() != 1 || r.GetError() == nil {
				t.Fatalf("a text that is too long: %v", r)
			}
			_ = p.send(observeFrame(1, &api.Observation{Text: strings.Repeat("a", 3<<20)})) // it may not be read to its end
			// Where the connection can still carry it, the last frame says why.
			out, err := p.recv()
			if err == nil && out.GetClosed().GetError().GetCode() != "too_large" {
				t.Errorf("a frame of 3 MiB: %v", out)
			}
		})
	}
}
