package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/config"
	"github.com/engram-memory/engram/pkg/logging"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/version"
)

// ExitInterrupt is the exit code of a process that Ctrl-C has stopped cleanly.
const ExitInterrupt = 130

// ExitUsage is the exit code of a process that does not understand how it was started.
const ExitUsage = 2

// errUsage matches what is wrong with how the program was started.
var errUsage = errors.New("wrong configuration")

type configError struct{ error }

func (e configError) Is(target error) bool { return target == errUsage }
func (e configError) Unwrap() error        { return e.error }

// stopTimeout bounds a clean stop.
const stopTimeout = 20 * time.Second

// Part is one running daemon.
type Part interface {
	Ready() error
	Close() error
}

// Program describes a command that runs one part.
type Program[C any] struct {
	Name, Short string
	// Common returns the common section of the configuration, and the address for HTTP, empty for none.
	Common func(*C) (Config, string)
	Start  func(context.Context, C, Env) (Part, error)
}

// Main runs the program and exits the process: 0 after --help, --print-config and SIGTERM, 130 after Ctrl-C, 2 where the
// configuration cannot be, be it flags, variables or the file, and 1 after another error. It prints an error as one line.
func (p Program[C]) Main() {
	ctx, interrupted, stop := Signals(context.Background())
	err := p.run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
		if errors.Is(err, errUsage) {
			os.Exit(ExitUsage)
		}
		os.Exit(1)
	}
	if interrupted() {
		os.Exit(ExitInterrupt)
	}
}

func (p Program[C]) run(ctx context.Context, args, env []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == commandHealth {
		return p.health(ctx, args[1:], env, stdout)
	}
	cfg, err := p.load(args, env, stdout)
	if errors.Is(err, config.ErrHelp) || errors.Is(err, config.ErrPrinted) {
		return nil
	}
	if err != nil {
		return err
	}
	common, addr := p.Common(&cfg)
	log, err := logging.New(common.Log, stderr)
	if err != nil {
		return err
	}
	return p.serve(ctx, cfg, common, addr, log)
}

// load reads the configuration. An error is one of config, or about the configuration.
func (p Program[C]) load(args, env []string, stdout io.Writer) (cfg C, err error) {
	known, err := variables()
	if err != nil {
		return cfg, err
	}
	short := fmt.Sprintf("%s\n\n\"%s %s\" with the same settings asks the one that runs whether it is ready: exit code 0, or 1.", p.Short, p.Name, commandHealth)
	err = config.Load(&cfg, config.Options{Program: p.Name, Short: short, Args: args, Env: env, Stdout: stdout, AllowEnv: known})
	if err != nil && !errors.Is(err, config.ErrHelp) && !errors.Is(err, config.ErrPrinted) {
		err = configError{err}
	}
	return cfg, err
}

// variables are those of all daemons. One file of them serves the three, so what is another one's is no mistake.
func variables() ([]string, error) {
	gateway, gerr := config.EnvNames[GatewayConfig]()
	worker, werr := config.EnvNames[WorkerConfig]()
	recall, rerr := config.EnvNames[RecallConfig]()
	return slices.Concat(gateway, worker, recall), errors.Join(gerr, werr, rerr)
}

// serve starts the part and stops it when ctx ends: first the intake, then the part, then what it stands on.
func (p Program[C]) serve(ctx context.Context, cfg C, common Config, addr string, log zerolog.Logger) (err error) {
	var stops []func() error
	defer func() {
		for i := len(stops) - 1; i >= 0; i-- {
			err = errors.Join(err, stops[i]())
		}
	}()
	listeners, err := NewListeners(common.Listen, log)
	if err != nil {
		return err
	}
	stops = append(stops, listeners.Close)
	common.NATS.Log = log
	if common.NATS.Name == "" {
		common.NATS.Name = p.Name
	}
	conn, err := bus.Connect(common.NATS)
	if err != nil {
		return err
	}
	stops = append(stops, func() error { conn.Close(); return nil })
	part, err := p.start(ctx, cfg, conn, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped while it started
		}
		return err
	}
	stops = append(stops, part.stopEnv, part.Close)
	event := log.Info().Str("version", version.String())
	if common.Metrics != "" {
		m, err := listeners.Metrics(common.Metrics, part.gatherer, metrics.Checks{p.Name: part.Ready})
		if err != nil {
			return err
		}
		stops = append(stops, func() error { return withTimeout(m.Shutdown) })
		event = event.Str("metrics", m.Addr())
	}
	if f, ok := part.Part.(Face); ok && addr != "" {
		faces, err := Faces(f)
		if err != nil {
			return err
		}
		s, err := listeners.HTTP(addr, faces...)
		if err != nil {
			return err
		}
		stops = append(stops, func() error { return withTimeout(s.Close) })
		if d, ok := part.Part.(interface{ Drain(context.Context) error }); ok {
			stops = append(stops, func() error { return withTimeout(d.Drain) })
		}
		event = event.Str("http", s.Addr())
	}
	if awaitReady(ctx, part.Ready, log) {
		event.Msg("ready")
	}
	<-ctx.Done()
	log.Info().Msg("stopping")
	return nil
}

// notReadyAfter is when a start that takes long is explained, and again each time it has taken ten times as long.
const notReadyAfter = 3 * time.Second

// awaitReady returns once the part can do its work, or false when ctx ends before.
func awaitReady(ctx context.Context, ready func() error, log zerolog.Logger) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	began, explain := time.Now(), notReadyAfter
	for {
		err := ready()
		if err == nil {
			return true
		}
		if time.Since(began) > explain {
			log.Info().Err(err).Msg("started, and not ready yet")
			explain *= 10
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

func withTimeout(stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return stop(ctx)
}
