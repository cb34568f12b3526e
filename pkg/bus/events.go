package bus

import (
	"errors"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// events turns the callbacks of a connection into log lines. The client library calls them one after another.
type events struct {
	log zerolog.Logger
	// told is true once this outage has been logged as a warning; the attempts that follow, two a second or so, are
	// only for debugging.
	told atomic.Bool
	// toldRefused is the same for a login that the server refuses, which the library reports in another way than the
	// other reasons once there has been a connection, and not at all before.
	toldRefused atomic.Bool
	inProcess   bool
}

func newEvents(log zerolog.Logger, inProcess bool) *events {
	return &events{log: log, inProcess: inProcess}
}

// server names the server that a connection is to.
func (e *events) server(nc *nats.Conn) string {
	if e.inProcess {
		return "in this process" // the library would name an address that was never asked
	}
	return nc.ConnectedUrlRedacted()
}

func (e *events) options(closed chan struct{}) []nats.Option {
	return []nats.Option{
		nats.ConnectHandler(e.up("connected to NATS")),
		nats.ReconnectHandler(e.up("reconnected to NATS")),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err == nil {
				return // We closed it.
			}
			e.told.Store(true)
			e.log.Warn().Err(err).Msg("lost the connection to NATS, reconnecting")
		}),
		nats.ReconnectErrHandler(func(nc *nats.Conn, err error) {
			level := zerolog.DebugLevel
			if !e.told.Swap(true) {
				level = zerolog.WarnLevel
			}
			e.log.WithLevel(level).Err(err).Str("servers", strings.Join(nc.Servers(), ",")).Msg("cannot connect to NATS, trying again")
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			level := zerolog.ErrorLevel
			if refusedLogin(err) && e.toldRefused.Swap(true) {
				level = zerolog.DebugLevel
			}
			line := e.log.WithLevel(level).Err(err)
			if sub != nil {
				line = line.Str("subject", sub.Subject)
			}
			line.Msg("NATS reported an error")
		}),
		nats.LameDuckModeHandler(func(nc *nats.Conn) {
			e.log.Warn().Str("server", e.server(nc)).Msg("the NATS server is shutting down, moving to another")
		}),
		nats.ClosedHandler(func(nc *nats.Conn) {
			defer close(closed)
			e.log.Debug().Err(nc.LastError()).Msg("closed the connection to NATS")
		}),
	}
}

func (e *events) up(message string) nats.ConnHandler {
	return func(nc *nats.Conn) {
		e.told.Store(false)
		e.toldRefused.Store(false)
		e.log.Info().Str("server", e.server(nc)).Str("version", nc.ConnectedServerVersion()).Msg(message)
	}
}

func refusedLogin(err error) bool {
	for _, refusal := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}
