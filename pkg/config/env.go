package config

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// allowedEnv are the variables that are nobody's key and yet no mistake: SERVER is
// where the engram command finds a node. A name that ends in * stands for all that
// start with it.
func allowedEnv() []string {
	return []string{envPrefix + "CONFIG", envPrefix + "EMBED_*", envPrefix + "SERVER"}
}

// readEnv gives the ENGRAM_ variables of env, which has the form of os.Environ:
// as there, the last of several with one name wins.
func readEnv(env []string) map[string]string {
	vars := map[string]string{}
	for _, entry := range env {
		if name, value, ok := strings.Cut(entry, "="); ok && strings.HasPrefix(name, envPrefix) {
			vars[name] = value
		}
	}
	return vars
}

// applyEnv stores the variables in their keys, in alphabetical order so that the
// first error is always the same one.
func (b *Binding) applyEnv(vars map[string]string) error {
	names := make([]string, 0, len(vars))
	for name := range vars {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		k := b.byEnv(name)
		if k == nil {
			if b.envIsAllowed(name) {
				continue
			}
			return &Error{Source: "environment", Key: name, Reason: suggest(name, b.envNames(), ""), kind: ErrUnknownKey}
		}
		texts := []string{vars[name]}
		if k.isList() {
			texts = splitList(vars[name])
		}
		if err := k.set(texts, name); err != nil {
			return err
		}
	}
	return nil
}

func (b *Binding) byEnv(name string) *key {
	for _, k := range b.keys {
		if k.env == name {
			return k
		}
	}
	return nil
}

func (b *Binding) envNames() []string {
	names := []string{envPrefix + "CONFIG"}
	for _, k := range b.keys {
		names = append(names, k.env)
	}
	return names
}

func (b *Binding) envIsAllowed(name string) bool {
	return slices.ContainsFunc(append(allowedEnv(), b.allowEnv...), func(pattern string) bool {
		prefix, wildcard := strings.CutSuffix(pattern, "*")
		return name == pattern || wildcard && strings.HasPrefix(name, prefix)
	})
}

// EnvNames returns the variables of a configuration, for the AllowEnv of programs that are started with the same
// environment. The error is that of [Bind].
func EnvNames[C any]() ([]string, error) {
	b, err := Bind(pflag.NewFlagSet("", pflag.ContinueOnError), new(C))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(b.keys))
	for i, k := range b.keys {
		names[i] = k.env
	}
	return names, nil
}
