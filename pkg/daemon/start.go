package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/bus"
)

// started is a part that runs, and what it stands on.
type started struct {
	Part
	gatherer prometheus.Gatherer
	stopEnv  func() error
}

// start starts the part, and does so again where NATS went away meanwhile: a daemon that lives through every outage
// later on must not end in one because it was just starting. A part that could not start has left nothing behind but its
// metrics, so each try has an Env of its own.
func (p Program[C]) start(ctx context.Context, cfg C, conn *bus.Conn, log zerolog.Logger) (started, error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		env, gatherer, stopEnv, err := NewEnv(conn, log)
		if err != nil {
			return started{}, err
		}
		part, err := p.Start(ctx, cfg, env)
		if err == nil {
			return started{part, gatherer, stopEnv}, nil
		}
		again := ctx.Err() == nil && isOutage(err)
		if stopErr := stopEnv(); stopErr != nil || !again {
			return started{}, errors.Join(err, stopErr)
		}
		log.Warn().Err(err).Msg("NATS went away during the start, which begins again")
		pause := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			pause.Stop()
			return started{}, err
		case <-pause.C:
		}
	}
}

// errJetStreamUnavailable is the server's code while its JetStream comes up.
const errJetStreamUnavailable jetstream.ErrorCode = 10008

// isOutage tells the failures that pass when NATS is back from those that somebody has to look into.
func isOutage(err error) bool {
	for _, e := range []error{
		nats.ErrReconnectBufExceeded, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrNoResponders, nats.ErrTimeout,
		context.DeadlineExceeded, jetstream.ErrJetStreamNotEnabled,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var refused *jetstream.APIError
	return errors.As(err, &refused) && refused.ErrorCode == errJetStreamUnavailable
}
