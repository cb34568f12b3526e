package bench

import (
	"bufio"
	"context"
	"io"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/node"
)

func TestTransports(t *testing.T) {
	cfg := TransportsConfig{Observations: 300, Rounds: 1, Dim: 8, Batch: 25, Producers: 2, Window: 4, Data: t.TempDir(), Timeout: time.Minute}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	rep, err := Transports(t.Context(), cfg, zerolog.Nop(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Transports) != 4 || rep.Transports["nats"].RatioToNATS != 1 {
		t.Errorf("%+v", rep)
	}
	for name, r := range rep.Transports {
		if r.PerSecond <= 0 || r.RatioToNATS <= 0 || len(r.Turns) != 1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// The clients of the benchmark of sessions hold what they opened until their input ends.
func TestSessionClients(t *testing.T) {
	cfg := node.DefaultConfig(t.TempDir())
	cfg.NATS, cfg.HTTP, cfg.Metrics = "", "127.0.0.1:0", ""
	n, err := node.Start(t.Context(), cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, name := range []string{"grpc", "websocket"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		in, hold := io.Pipe()
		said, out := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			ended <- SessionClients(ctx, SessionsConfig{Sessions: 20, Transport: name}, n.HTTPAddr(), in, out)
			_ = out.Close() // what was not said before is missed below
		}()
		if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || line != opened+"\n" {
			t.Errorf("%s: said %q, %v", name, line, err)
		}
		if err := hold.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}
