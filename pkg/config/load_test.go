package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample has a key of every supported type.
type sample struct {
	Common  common        `yaml:",inline"`
	Profile string        `yaml:"profile" default:"balanced" oneof:"balanced,fast" usage:"preset of the rest"`
	Queue   sampleQueue   `yaml:"queue"`
	Idle    time.Duration `yaml:"idle_sleep" default:"1ms" min:"0s"`
	Ratio   float64       `yaml:"ratio" default:"0.1" min:"0" max:"1"`
	Pin     bool          `yaml:"pin_cpus"`
	Shards  []int         `yaml:"shards" default:"0,1" min:"0"`
	Seeds   []string      `yaml:"seeds"`
	Limit   ByteSize      `yaml:"limit" default:"64MiB" min:"1KiB"`
	Session uint          `yaml:"session"`
	Offset  int64         `yaml:"offset" default:"-3"`
	Skipped func()        `yaml:"-"`
}

type common struct {
	NATS  string `yaml:"nats" default:"nats://127.0.0.1:4222" usage:"address of the server"`
	Token string `yaml:"token" secret:"true" usage:"access token"`
}

type sampleQueue struct {
	Capacity int `yaml:"capacity" default:"10000" min:"1" usage:"observations a shard may hold"`
	Batch    struct {
		Min int `yaml:"min_size" default:"10"`
		Max int `yaml:"max_size" default:"500"`
	} `yaml:"batch"`
}

func (s *sample) Complete(isSet func(string) bool) error {
	if s.Profile == "fast" && !isSet("queue.capacity") {
		s.Queue.Capacity = 50_000
	}
	return nil
}

func (s *sample) Validate() error {
	if b := s.Queue.Batch; b.Max < b.Min {
		return Reject("queue.batch.max_size", "must be at least queue.batch.min_size, which is %d", b.Min)
	}
	if s.Common.Token == "short" {
		return Reject("token", "must have 8 characters")
	}
	return nil
}

func defaults() sample {
	var s sample
	s.Common.NATS = "nats://127.0.0.1:4222"
	s.Profile = "balanced"
	s.Queue.Capacity = 10_000
	s.Queue.Batch.Min, s.Queue.Batch.Max = 10, 500
	s.Idle, s.Ratio, s.Shards, s.Limit, s.Offset = time.Millisecond, 0.1, []int{0, 1}, 64<<20, -3
	return s
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "engram.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load runs Load with the file's content, if any, and returns what it printed.
func load(t *testing.T, cfg any, file string, env []string, args ...string) (string, error) {
	t.Helper()
	if file != "" {
		args = append([]string{"--config", writeFile(t, file)}, args...)
	}
	var out bytes.Buffer
	opts := Options{Program: "sample", Short: "Sample is a test.", Args: args, Env: env, Stdout: &out}
	var err error
	switch cfg := cfg.(type) {
	case *sample:
		err = Load(cfg, opts)
	default:
		t.Fatalf("load does not know %T", cfg)
	}
	return out.String(), err
}

func TestPrecedence(t *testing.T) {
	const file = "queue:\n  capacity: 1\n  batch:\n    min_size: 1\n    max_size: 1\noffset: 1\n"
	env := []string{"ENGRAM_QUEUE_CAPACITY=2", "ENGRAM_QUEUE_BATCH_MAX_SIZE=2", "PATH=/bin", "ENGRAM_OFFSET=1", "ENGRAM_OFFSET=2"}
	var got sample
	if _, err := load(t, &got, file, env, "--queue.capacity=3"); err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Queue.Batch.Min = 1 // only in the file
	want.Queue.Batch.Max = 2 // file, environment
	want.Offset = 2          // the last of two variables
	want.Queue.Capacity = 3  // all
	diff(t, want, got)
}

func diff(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("wrong configuration (-want +got):\n%s", d)
	}
}

func TestDefaultsAndPresetFields(t *testing.T) {
	var got sample
	if _, err := load(t, &got, "", nil); err != nil {
		t.Fatal(err)
	}
	diff(t, defaults(), got)

	got = sample{Common: common{NATS: "nats://db:4222"}}
	if _, err := load(t, &got, "", nil); err != nil {
		t.Fatal(err)
	}
	if got.Common.NATS != "nats://db:4222" {
		t.Errorf("a field that is set before Load is %q afterwards", got.Common.NATS)
	}
}

func TestEveryTypeFromEverySource(t *testing.T) {
	want := sample{
		Common: common{NATS: "tls://a:1", Token: "it's secret"}, Profile: "fast",
		Idle: 90 * time.Second, Ratio: 0.25, Pin: true, Shards: []int{3, 5},
		Seeds: []string{"x", "y z"}, Limit: 1536, Session: 7, Offset: -9,
	}
	want.Queue.Capacity = 8
	want.Queue.Batch.Min, want.Queue.Batch.Max = 2, 4
	sources := map[string]struct {
		file string
		env  []string
		args []string
	}{
		"file": {file: `
# a comment
nats: tls://a:1
token: "it's secret"
profile: fast
queue: {capacity: 8, batch: {min_size: 2, max_size: 4}}
idle_sleep: 1m30s
ratio: 0.25
pin_cpus: true
shards: [3, 5]
seeds:
  - x
  - 'y z'
limit: 1.5KiB
session: 7
offset: -9
`},
		"environment": {env: []string{
			"ENGRAM_NATS=tls://a:1", "ENGRAM_TOKEN=it's secret", "ENGRAM_PROFILE=fast", "ENGRAM_QUEUE_CAPACITY=8",
			"ENGRAM_QUEUE_BATCH_MIN_SIZE=2", "ENGRAM_QUEUE_BATCH_MAX_SIZE=4", "ENGRAM_IDLE_SLEEP=1m30s", "ENGRAM_RATIO=0.25",
			"ENGRAM_PIN_CPUS=true", "ENGRAM_SHARDS=3, 5", "ENGRAM_SEEDS=x,y z", "ENGRAM_LIMIT=1536", "ENGRAM_SESSION=7",
			"ENGRAM_OFFSET=-9",
		}},
		"flags": {args: []string{
			"--nats", "tls://a:1", "--token=it's secret", "--profile=slow", "--profile=fast", "--queue.capacity=8",
			"--queue.batch.min-size=2", "--queue.batch.max_size=4", "--idle-sleep=1m30s", "--ratio=.25", "--pin-cpus",
			"--shards=3", "--shards=5", "--seeds=x,y z", "--limit=1536b", "--session=7", "--offset=-9",
		}},
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			var got sample
			if _, err := load(t, &got, source.file, source.env, source.args...); err != nil {
				t.Fatal(err)
			}
			diff(t, want, got)
		})
	}
}

func TestCompleteKeepsWhatIsSet(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want int
	}{
		{[]string{"--profile=fast"}, 50_000},
		{[]string{"--profile=fast", "--queue.capacity=10000"}, 10_000},
	} {
		var got sample
		if _, err := load(t, &got, "", nil, tc.args...); err != nil {
			t.Fatal(err)
		}
		if got.Queue.Capacity != tc.want {
			t.Errorf("%q: queue.capacity is %d, want %d", tc.args, got.Queue.Capacity, tc.want)
		}
	}
}

func TestConfigFileFromEnvironment(t *testing.T) {
	path := writeFile(t, "session: 5\n")
	var got sample
	if _, err := load(t, &got, "", []string{"ENGRAM_CONFIG=" + path, "ENGRAM_EMBED_API_KEY=k"}); err != nil {
		t.Fatal(err)
	}
	if got.Session != 5 {
		t.Errorf("session is %d, want 5 from the file that ENGRAM_CONFIG names", got.Session)
	}
	got = sample{}
	if _, err := load(t, &got, "session: 6\n", []string{"ENGRAM_CONFIG=" + path}); err != nil {
		t.Fatal(err)
	}
	if got.Session != 6 {
		t.Errorf("session is %d, want 6 from the file that --config names", got.Session)
	}
}

func TestHelp(t *testing.T) {
	var got sample
	out, err := load(t, &got, "", nil, "--help")
	if !errors.Is(err, ErrHelp) {
		t.Fatalf("error is %v, want ErrHelp", err)
	}
	for _, want := range []string{
		"Sample is a test.", "sample [flags]", "--queue.capacity int", "observations a shard may hold [ENGRAM_QUEUE_CAPACITY] (default 10000)",
		"--queue.batch.max-size", "--profile balanced|fast", "--config file", "--print-config", "--limit size", "(default 64MiB)",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the help lacks %q:\n%s", want, out)
		}
	}
}
