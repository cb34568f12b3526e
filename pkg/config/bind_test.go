package config

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestBindToCobra(t *testing.T) {
	var cfg sample
	cmd := &cobra.Command{Use: "up", SilenceErrors: true, SilenceUsage: true}
	binding, err := Bind(cmd.Flags(), &cfg, "ENGRAM_TEST_*")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.RunE = func(*cobra.Command, []string) error {
		return binding.Resolve([]string{"ENGRAM_SESSION=4", "ENGRAM_TEST_DIR=x"}, &out)
	}
	cmd.SetArgs([]string{"--queue.capacity=12", "--print-config"})
	if err := cmd.Execute(); !errors.Is(err, ErrPrinted) {
		t.Fatalf("error is %v, want ErrPrinted", err)
	}
	if cfg.Queue.Capacity != 12 || cfg.Session != 4 {
		t.Errorf("capacity %d and session %d, want 12 and 4", cfg.Queue.Capacity, cfg.Session)
	}
	if want := "  capacity: 12  # --queue.capacity\n"; !strings.Contains(out.String(), want) {
		t.Errorf("the printed configuration lacks %q:\n%s", want, out.String())
	}
}

// asksForNothing is a configuration whose Complete has a typing mistake.
type asksForNothing struct {
	Session int `yaml:"session"`
}

func (asksForNothing) Complete(isSet func(string) bool) error {
	isSet("sesion")
	return nil
}

func TestCompleteWithUnknownKey(t *testing.T) {
	err := Load(&asksForNothing{}, Options{Program: "p", Stdout: io.Discard})
	if err == nil || !strings.Contains(err.Error(), `asks for the key "sesion", which does not exist`) {
		t.Errorf("error is %v", err)
	}
}

func bindError[T any](fs *pflag.FlagSet) error {
	_, err := Bind(fs, new(T))
	return err
}

func TestBindRefusesBadDeclarations(t *testing.T) {
	newSet := func() *pflag.FlagSet { return pflag.NewFlagSet("test", pflag.ContinueOnError) }
	taken := newSet()
	taken.Int("session", 0, "")
	type nested struct {
		A int `yaml:"a"`
	}
	cases := map[string]struct {
		err  error
		want string
	}{
		"not a struct": {bindError[int](newSet()), "int is not a struct"},
		"no tag":       {bindError[struct{ A int }](newSet()), "field A of struct { A int } needs a tag"},
		"dotted name": {bindError[struct {
			A int `yaml:"a.b"`
		}](newSet()), "needs a tag"},
		"option": {bindError[struct {
			A int `yaml:"a,omitempty"`
		}](newSet()), "needs a tag"},
		"type": {bindError[struct {
			A map[string]int `yaml:"a"`
		}](newSet()), "a has type map[string]int, which cannot be read"},
		"bad default": {bindError[struct {
			A int `yaml:"a" default:"x"`
		}](newSet()), `a is "x"; it must be a whole number`},
		"default range": {bindError[struct {
			A int `yaml:"a" default:"3" max:"2"`
		}](newSet()), `a is "3"; it must be a whole number, at most 2`},
		"bad bound": {bindError[struct {
			A int `yaml:"a" min:"x"`
		}](newSet()), "is not a bound of its type int"},
		"text bound": {bindError[struct {
			A string `yaml:"a" min:"x"`
		}](newSet()), "is not a bound of its type string"},
		"open secret": {bindError[struct {
			A string `yaml:"a" default:"x" secret:"true"`
		}](newSet()), "a is a secret and cannot have a default"},
		"same variable": {bindError[struct {
			A int    `yaml:"n_a"`
			B nested `yaml:"n"`
		}](newSet()), "the name of n.a is taken by another key (ENGRAM_N_A, --n.a)"},
		"section twice": {bindError[struct {
			A nested `yaml:"n"`
			B nested `yaml:"n"`
		}](newSet()), "section n is declared twice"},
		"reserved": {bindError[struct {
			A int `yaml:"print_config"`
		}](newSet()), "the name of print_config is taken"},
		"flag taken": {bindError[struct {
			A int `yaml:"session"`
		}](taken), "the flag --session is declared already"},
	}
	for name, tc := range cases {
		if tc.err == nil || !strings.Contains(tc.err.Error(), tc.want) {
			t.Errorf("%s: the error is %v, and should contain %q", name, tc.err, tc.want)
		}
	}
}
