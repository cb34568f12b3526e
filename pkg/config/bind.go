package config

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Binding ties a struct to a flag set until [Binding.Resolve] fills the struct.
// It is used by one goroutine.
type Binding struct {
	cfg      any
	keys     []*key
	sections map[string]bool
	allowEnv []string
	file     string
	print    bool
}

// Bind puts the defaults into cfg, a struct, and declares its flags, --config
// and --print-config in fs. For a cobra command: Bind(cmd.Flags(), &cfg) when the
// command is made, and Resolve when it runs. allowEnv is as in [Options]. The
// error is about the declaration of the struct: a missing tag, a type that has
// no text, two keys with one name, a default that its own rules refuse.
func Bind[T any](fs *pflag.FlagSet, cfg *T, allowEnv ...string) (*Binding, error) {
	v := reflect.ValueOf(cfg).Elem()
	if v.Kind() != reflect.Struct {
		return nil, fmt.Errorf("config: %s is not a struct", v.Type())
	}
	w, err := walkStruct(v)
	if err != nil {
		return nil, err
	}
	b := &Binding{cfg: cfg, keys: w.keys, sections: w.sections, allowEnv: allowEnv}
	if err := b.addFlags(fs); err != nil {
		return nil, err
	}
	return b, nil
}

// Resolve applies the file, the environment (in the form of os.Environ) and the
// flags that were parsed since Bind, then calls Complete and Validate. With
// --print-config it writes the result to stdout and returns [ErrPrinted]; what
// it prints has passed Validate. Other errors are as for [Load].
func (b *Binding) Resolve(env []string, stdout io.Writer) error {
	vars := readEnv(env)
	path, origin := b.file, "--"+flagConfig
	if path == "" {
		path, origin = vars[envPrefix+"CONFIG"], envPrefix+"CONFIG"
	}
	if path != "" {
		data, err := readFile(path, origin)
		if err != nil {
			return err
		}
		if err := b.applyYAML(data, path); err != nil {
			return err
		}
	}
	if err := b.applyEnv(vars); err != nil {
		return err
	}
	for _, k := range b.keys {
		if len(k.staged) == 0 {
			continue
		}
		if err := k.set(k.stagedTexts(), "--"+k.flag); err != nil {
			return err
		}
	}
	if err := b.check(); err != nil {
		return err
	}
	if b.print {
		if err := b.printYAML(stdout); err != nil {
			return fmt.Errorf("printing the configuration: %w", err)
		}
		return ErrPrinted
	}
	return nil
}

// check calls the methods of the configuration, and completes their [Reject].
func (b *Binding) check() error {
	var err error
	if c, ok := b.cfg.(Completer); ok {
		err = b.complete(c)
	}
	if v, ok := b.cfg.(Validator); ok && err == nil {
		err = v.Validate()
	}
	var e *Error
	if errors.As(err, &e) && e.Source == "" {
		if k := b.byName(e.Key); k != nil {
			e.Source, e.Value = k.source, strings.Join(k.texts(), ",")
			e.hide(k)
		}
	}
	return err
}

func (b *Binding) complete(c Completer) error {
	var missing string
	err := c.Complete(func(name string) bool {
		k := b.byName(name)
		if k == nil {
			missing = name
			return false
		}
		return k.source != sourceDefault
	})
	if missing != "" {
		return fmt.Errorf("config: Complete of %T asks for the key %q, which does not exist", c, missing)
	}
	return err
}

func (b *Binding) byName(name string) *key {
	i := slices.IndexFunc(b.keys, func(k *key) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return b.keys[i]
}
