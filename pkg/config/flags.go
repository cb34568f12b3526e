package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/spf13/pflag"
)

const (
	flagConfig = "config"
	flagPrint  = "print-config"
)

// flagValue stages what a flag was given. Nothing is parsed here: flags overrule
// the file, which is read later, and one place reports all bad values alike.
type flagValue struct{ k *key }

func (f flagValue) Set(text string) error {
	f.k.staged = append(f.k.staged, text)
	return nil
}

// String is what the help shows as the default.
func (f flagValue) String() string {
	// pflag makes a zero flagValue to find out what an empty default looks like.
	if f.k == nil || f.k.secret {
		return ""
	}
	return strings.Join(f.k.texts(), ",")
}

// Type is the word that stands for the value in the help.
func (f flagValue) Type() string {
	t := f.k.field.Type()
	if f.k.isList() {
		return "list"
	}
	switch {
	case t == durationType:
		return "duration"
	case t == byteSizeType:
		return "size"
	case len(f.k.oneOf) > 0:
		return strings.Join(f.k.oneOf, "|")
	}
	return t.Kind().String()
}

// addFlags declares a flag for each key, --config and --print-config.
func (b *Binding) addFlags(fs *pflag.FlagSet) error {
	for _, name := range append(b.flagNames(), flagConfig, flagPrint) {
		if fs.Lookup(name) != nil {
			return fmt.Errorf("config: the flag --%s is declared already", name)
		}
	}
	previous := fs.GetNormalizeFunc()
	fs.SetNormalizeFunc(func(fs *pflag.FlagSet, name string) pflag.NormalizedName {
		return previous(fs, strings.ReplaceAll(name, "_", "-"))
	})
	for _, k := range b.keys {
		flag := fs.VarPF(flagValue{k}, k.flag, "", strings.TrimSpace(k.usage+" ["+k.env+"]"))
		if k.field.Kind() == reflect.Bool {
			flag.NoOptDefVal = "true"
		}
	}
	fs.StringVar(&b.file, flagConfig, "", "YAML `file` to read the configuration from ["+envPrefix+"CONFIG]")
	fs.BoolVar(&b.print, flagPrint, false, "print the effective configuration as YAML and exit")
	return nil
}

// stagedTexts is what the flag of k was given, in the form that set accepts: the
// last one wins, but a list collects them all.
func (k *key) stagedTexts() []string {
	if !k.isList() {
		return k.staged[len(k.staged)-1:]
	}
	var texts []string
	for _, text := range k.staged {
		texts = append(texts, splitList(text)...)
	}
	return texts
}

func (b *Binding) flagNames() []string {
	names := make([]string, len(b.keys))
	for i, k := range b.keys {
		names[i] = k.flag
	}
	return names
}
