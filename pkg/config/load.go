package config

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// Options are the surroundings of [Load], passed in so that a test needs no
// process of its own.
type Options struct {
	// Program and Short head the help: a name, and what it is in one line.
	Program, Short string
	// Args are the arguments after the program's name, usually os.Args[1:].
	Args []string
	// Env is the environment, usually os.Environ(); nil is an empty one.
	Env []string
	// Stdout receives the help and the printed configuration. Required.
	Stdout io.Writer
	// AllowEnv names further ENGRAM_ variables that are not keys; one that ends
	// in * stands for all that start with it.
	AllowEnv []string
}

// Validator is implemented by a configuration with rules across keys. Validate
// is called last, after all sources. See [Reject].
type Validator interface{ Validate() error }

// Completer is implemented by a configuration whose defaults depend on other
// keys, such as a profile. Complete is called after all sources and before
// Validate; isSet tells whether a key was given by the file, the environment or
// a flag, and must then be left as it is. Asking about a key that does not exist
// makes the load fail, since it is a mistake in the program.
type Completer interface {
	Complete(isSet func(key string) bool) error
}

// Load fills cfg, a struct, from its defaults, the file, the environment and the
// arguments. It returns [ErrHelp] or [ErrPrinted] when it has printed what it
// was asked for, an [*Error] about a key, or an error about the file or the
// arguments. cfg is not to be used after an error.
func Load[T any](cfg *T, opts Options) error {
	fs := pflag.NewFlagSet(opts.Program, pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}
	b, err := Bind(fs, cfg, opts.AllowEnv...)
	if err != nil {
		return err
	}
	if err := fs.Parse(opts.Args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			if _, err := fmt.Fprintf(opts.Stdout, "%s\n\nUsage:\n  %s [flags]\n\nFlags:\n%s",
				opts.Short, opts.Program, fs.FlagUsages()); err != nil {
				return fmt.Errorf("printing the help: %w", err)
			}
			return ErrHelp
		}
		return b.flagError(err)
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%s takes flags only, but was given %q; --help lists them", opts.Program, fs.Arg(0))
	}
	return b.Resolve(opts.Env, opts.Stdout)
}

// flagError turns an unknown flag into an [*Error] with a suggestion.
func (b *Binding) flagError(err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return fmt.Errorf("%w; --help lists the flags", err)
	}
	known := append(b.flagNames(), flagConfig, flagPrint, "help")
	name := unknown.GetSpecifiedName()
	return &Error{Source: "flags", Key: "--" + name, Reason: suggest(name, known, "--"), kind: ErrUnknownKey}
}
