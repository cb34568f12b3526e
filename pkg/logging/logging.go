// Package logging makes the logger of a program: JSON lines for machines, and
// coloured text for a person at a terminal.
//
// There is no global logger. A program makes one in its run function and passes
// it down to the parts that run goroutines; storage and protocol packages return
// errors instead of logging them. Nothing is logged per observation above debug.
package logging

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// Config is the "log" section of every program's configuration.
type Config struct {
	// Level is the least severe level that is written: trace, debug, info, warn
	// or error. Default info.
	Level string `yaml:"level" default:"info" oneof:"trace,debug,info,warn,error" usage:"least severe level that is logged"`
	// Format is json, console, or auto: console on a terminal and JSON elsewhere.
	// Default auto.
	Format string `yaml:"format" default:"auto" oneof:"auto,json,console" usage:"form of the log; auto is console on a terminal, json elsewhere"`
}

// timeFormat has milliseconds: within a second is where a pipeline's events are.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// New returns a logger that writes to w, which is usually os.Stderr. The zero
// Config is info and auto. JSON lines have the fields level, time (UTC, with
// milliseconds) and message. Colours are used on a terminal, unless the
// environment sets NO_COLOR. Writes to w are one call per event, but are not
// serialised: w must allow concurrent writes, as files do.
func New(cfg Config, w io.Writer) (zerolog.Logger, error) {
	level, err := parseLevel(cfg.Level)
	if err != nil {
		return zerolog.Nop(), err
	}
	terminal := isTerminal(w)
	switch cfg.Format {
	case "json":
	case "console":
		w = console(w, terminal)
	case "auto", "":
		if terminal {
			w = console(w, terminal)
		}
	default:
		return zerolog.Nop(), fmt.Errorf("the log format is %q; it must be one of auto, json, console", cfg.Format)
	}
	return zerolog.New(w).Level(level).Hook(stamp{}), nil
}

func parseLevel(name string) (zerolog.Level, error) {
	switch name {
	case "trace":
		return zerolog.TraceLevel, nil
	case "debug":
		return zerolog.DebugLevel, nil
	case "info", "":
		return zerolog.InfoLevel, nil
	case "warn":
		return zerolog.WarnLevel, nil
	case "error":
		return zerolog.ErrorLevel, nil
	}
	return zerolog.NoLevel, fmt.Errorf("the log level is %q; it must be one of trace, debug, info, warn, error", name)
}

// stamp adds the time. zerolog's own timestamp has whole seconds, unless a
// variable of its package is changed for the whole program.
type stamp struct{}

func (stamp) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	e.Str(zerolog.TimestampFieldName, time.Now().UTC().Format(timeFormat))
}

func console(w io.Writer, terminal bool) io.Writer {
	return zerolog.ConsoleWriter{
		Out:          w,
		NoColor:      !terminal || os.Getenv("NO_COLOR") != "",
		TimeFormat:   "15:04:05.000",
		TimeLocation: time.Local,
	}
}

// isTerminal is true for a file that is one; a pipe, a buffer and /dev/null are not.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
