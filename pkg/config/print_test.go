package config

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestPrintedConfiguration(t *testing.T) {
	var cfg sample
	out, err := load(t, &cfg, "session: 3\n", []string{"ENGRAM_TOKEN=open sesame"},
		"--print-config", "--seeds=a:1,b # c", "--config", writeFile(t, "session: 3\n"))
	if !errors.Is(err, ErrPrinted) {
		t.Fatalf("error is %v, want ErrPrinted", err)
	}
	for _, want := range []string{
		"# address of the server\nnats: \"nats://127.0.0.1:4222\"  # default\n",
		"# token: set by ENGRAM_TOKEN and not shown\n",
		"queue:\n  # observations a shard may hold\n  capacity: 10000  # default\n  batch:\n    min_size: 10  # default\n",
		"\nidle_sleep: 1ms  # default\n",
		"seeds: [\"a:1\", \"b # c\"]  # --seeds\n",
		"limit: 64MiB  # default\n",
		"engram.yaml:1\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the printed configuration lacks %q", want)
		}
	}
	if strings.Contains(out, "sesame") {
		t.Error("the secret is shown")
	}
	if t.Failed() {
		t.Log(out)
	}
	var again sample
	if _, err := load(t, &again, out, []string{"ENGRAM_TOKEN=open sesame"}); err != nil {
		t.Fatalf("what was printed does not load: %v\n%s", err, out)
	}
	diff(t, cfg, again)
}

// secrets is a section of which --print-config shows nothing but comments.
type secrets struct {
	Auth struct {
		Password string `yaml:"password" secret:"true"`
	} `yaml:"auth"`
	Deep struct {
		Deeper struct {
			A int `yaml:"a" default:"1"`
		} `yaml:"deeper"`
		B int `yaml:"b" default:"2"`
	} `yaml:"deep"`
}

func TestPrintedSecretSectionLoads(t *testing.T) {
	var out bytes.Buffer
	if err := Load(new(secrets), Options{Args: []string{"--print-config"}, Stdout: &out}); !errors.Is(err, ErrPrinted) {
		t.Fatal(err)
	}
	want := "auth:\n  # password: not set; give it in ENGRAM_AUTH_PASSWORD\n" +
		"deep:\n  deeper:\n    a: 1  # default\n  b: 2  # default\n"
	if out.String() != want {
		t.Errorf("printed:\n%s\nwant:\n%s", out.String(), want)
	}
	var got secrets
	if err := Load(&got, Options{Args: []string{"--config", writeFile(t, out.String())}, Stdout: &out}); err != nil {
		t.Error(err)
	}
	if got.Deep.Deeper.A != 1 || got.Deep.B != 2 {
		t.Errorf("loaded %+v", got)
	}
}

func TestDeepNestingIsAnError(t *testing.T) {
	for _, opening := range []string{"[", "{a: ", "- ", "? ", "!!a ", "&a "} {
		data := strings.Repeat(opening, maxFileSize/len(opening))
		if _, _, err := loadBytes(t, []byte(data)); err == nil {
			t.Errorf("%q without end loads", opening)
		}
	}
}

// FuzzYAML loads arbitrary files: nothing may panic, and what loads must print
// as a file that loads to the same struct.
func FuzzYAML(f *testing.F) {
	for _, seed := range []string{
		"", "# only a comment\n", "---\n", "session: 3\n", "queue: {capacity: 5, batch: {min_size: 1}}\n", "queue:\n",
		"nats: |\n  two\n  lines\n", "nats: \"\\u263a\\x07\"\n", "seeds: [a, 'b c', \"d\\n\", null]\n", "seeds:\n- a\n- b\n",
		"a: &x [*x]\n", "? {a: b}\n: c\n", "<<: *a\n", "\t: 1", "nats: !!binary aGk=\n", "session: 0x10\n", "\xef\xbb\xbfsession: 1\n",
		"nats: >-\n  folded\n  text\n", "{session: 1, offset: 2}", "queue.capacity: 7\n", "limit: 1.5GiB\nratio: 1e-3\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, printed, err := loadBytes(t, data)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("the message has more than one line: %q", err)
			}
			return
		}
		again, _, err := loadBytes(t, printed)
		if err != nil {
			t.Fatalf("what was printed does not load: %v\n%s", err, printed)
		}
		cfg.Common.Token = ""
		diff(t, cfg, again)
	})
}

// loadBytes is Load with a file's content, and without the file: a fuzz target
// that writes files spends its time on the disk.
func loadBytes(t *testing.T, data []byte) (cfg sample, printed []byte, err error) {
	b, err := Bind(pflag.NewFlagSet("sample", pflag.ContinueOnError), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.applyYAML(data, "in.yaml"); err != nil {
		return cfg, nil, err
	}
	if err := b.check(); err != nil {
		return cfg, nil, err
	}
	var out bytes.Buffer
	if err := b.printYAML(&out); err != nil {
		t.Fatal(err)
	}
	return cfg, out.Bytes(), nil
}

// FuzzText gives arbitrary text to a string key: what is printed loads to the same text.
func FuzzText(f *testing.F) {
	for _, seed := range []string{"", " ", "true", "a: b # c", "\"\\", "\x00\x07\x1b\u0085\u00a0\u2028\U0001f600", "\n\r\t", "null", "~", "\ufeff", "'%@`", "${HOME}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var out bytes.Buffer
		var cfg sample
		err := Load(&cfg, Options{Env: []string{"ENGRAM_NATS=" + text}, Args: []string{"--print-config"}, Stdout: &out})
		if errors.Is(err, ErrInvalid) {
			return
		}
		if !errors.Is(err, ErrPrinted) {
			t.Fatal(err)
		}
		again, _, err := loadBytes(t, out.Bytes())
		if err != nil {
			t.Fatalf("what was printed does not load: %v\n%s", err, out.String())
		}
		if again.Common.NATS != text {
			t.Errorf("%q became %q by way of\n%s", text, again.Common.NATS, out.String())
		}
	})
}
