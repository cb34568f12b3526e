package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/node"
)

// asCommand makes the test binary the command itself, for tests that need a process of their own.
const asCommand = "TEST_RUN_AS_ENGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// startNode runs a node on free ports, and points the commands of this test to it.
func startNode(t *testing.T) *node.Node {
	t.Helper()
	return startNodeOf(t, node.DefaultConfig(t.TempDir()))
}

// startNodeOf is startNode with a configuration whose addresses do not count.
func startNodeOf(t *testing.T, cfg node.Config) *node.Node {
	t.Helper()
	cfg.NATS, cfg.HTTP, cfg.Metrics = "127.0.0.1:0", "", ""
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	n, err := node.Start(ctx, cfg, zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	awaitServices(ctx, t, n)
	t.Setenv(envServer, n.NATSURL())
	return n
}

// awaitServices waits until the server routes to all services of a node, whose subscriptions may still be on their way
// to it.
func awaitServices(ctx context.Context, t *testing.T, n *node.Node) {
	t.Helper()
	conn, err := n.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	services := []string{"engram-gateway", "engram-recall"}
	for shard := range event.DefaultShards {
		services = append(services, fmt.Sprint("engram-shard-", shard))
	}
	for _, name := range services {
		for {
			_, err := conn.NC.RequestWithContext(ctx, "$SRV.PING."+name, nil)
			if err == nil {
				break
			}
			if !errors.Is(err, nats.ErrNoResponders) {
				t.Fatalf("waiting for %s: %v", name, err)
			}
		}
	}
}

// outcome is what a command line came to.
type outcome struct {
	code           int
	stdout, stderr string
}

func engramIn(ctx context.Context, stdin io.Reader, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, stdin, &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// engram runs a command line that must succeed, and returns what it printed.
func engram(t *testing.T, args ...string) string {
	t.Helper()
	o := engramIn(t.Context(), strings.NewReader(""), args...)
	if o.code != 0 || o.stderr != "" {
		t.Fatalf("engram %q: exit code %d, stderr %q", args, o.code, o.stderr)
	}
	return o.stdout
}

// fails runs a command line that must fail with a code, and returns its one line on stderr.
func fails(t *testing.T, code int, args ...string) string {
	t.Helper()
	o := engramIn(t.Context(), strings.NewReader(""), args...)
	if o.code != code || strings.Count(o.stderr, "\n") != 1 || !strings.HasPrefix(o.stderr, "engram: ") {
		t.Errorf("engram %q: exit code %d (want %d), stderr %q", args, o.code, code, o.stderr)
	}
	return o.stderr
}

// decode reads the one line of JSON that a command printed.
func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if strings.Count(text, "\n") != 1 {
		t.Fatalf("not one line: %q", text)
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in\n%s", part, text)
		}
	}
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every command that does something explains itself, with an example that names it.
func TestEveryCommandHasHelp(t *testing.T) {
	root, err := newRoot(strings.NewReader(""), io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" || cmd.Name() == "help" {
			return // cobra's own
		}
		n++
		if cmd.Long == "" || cmd.Short == "" {
			t.Errorf("%s has no help", cmd.CommandPath())
		}
		if !cmd.HasSubCommands() && !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s has no example of itself", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
	if n < 12 {
		t.Errorf("only %d commands", n)
	}
	contains(t, engram(t), "Available Commands:", "recall")
	contains(t, engram(t, "completion", "bash"), "__start_engram")
	contains(t, engram(t, "version"), "engram 0.")
}

func TestUsageErrors(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"recal", `there is no command "recal"; did you mean recall?; see engram --help`},
		{"completion nothing", "engram completion --help"},
		{"bench nothing", `there is no command "nothing"; see engram bench --help`},
		{"--nothing", "unknown flag: --nothing"},
		{"list", "accepts 1 arg(s), received 0; see engram list --help"},
		{"list a b", "accepts 1 arg(s)"},
		{"list a --limit x", `invalid argument "x" for "--limit"`},
		{"get demo", "requires at least 2 arg(s)"},
		{"recall demo", "this one has 0"},
		{"recall demo text --id x", "this one has 2"},
		{"recall demo text --deadline -1s", "--deadline is -1s"},
		{"list demo --timeout 0", "--timeout is 0s"},
		{"observe demo text --meta novalue", `--meta "novalue" is not key=value`},
		{"observe demo text --meta a=1 --meta a=2", `--meta gives "a" twice`},
		{"observe demo text --expires yesterday", `--expires is "yesterday"`},
		{"observe demo text --expires -1h", "not in the future"},
		{"forget demo", "give either ids, or --all"},
		{"forget demo id --all", "give either ids, or --all"},
		{"forget demo --all", "add --yes"},
		{"import demo a.txt --window 0", "must be above 0"},
		{"create demo --dim many", `invalid argument "many" for "--dim"`},
		{"compact demo --timeout 0", "--timeout is 0s"},
		{"compact", "accepts 1 arg(s)"},
		{"up --nothing", "unknown flag"},
		{"up extra", `unknown command "extra"`},
		{"up --worker.num-workers many", "worker.num_workers"},
	} {
		contains(t, fails(t, exitUsage, strings.Fields(tc.args)...), tc.want)
	}
}

// What the contract refuses needs no server to be refused, and is an error of usage like any other.
func TestRefusalsWithoutServer(t *testing.T) {
	t.Setenv(envServer, "nats://127.0.0.1:1")
	for _, tc := range []struct{ args, want string }{
		{"list Demo", "invalid_space (space): illegal space name \"Demo\""},
		{"observe demo.x text", "invalid_space"},
		{"recall * text", "invalid_space"},
		{"get > id", "invalid_space"},
		{"forget a/b id", "invalid_space"},
		{"import a.b a.txt", "invalid_space"},
		{`observe demo --embedding [1,"x"]`, "invalid_embedding (embedding): component 1"},
		{"observe demo --embedding [1,x]", `invalid_embedding (embedding): "[1,x]" is not a JSON array of numbers: invalid character 'x'`},
		{"recall demo --embedding [1,2", `invalid_embedding (embedding): "[1,2" is not a JSON array of numbers: unexpected end`},
		{`recall demo --embedding [1,2],"k":3`, `invalid_embedding (embedding): "[1,2],\"k\":3" is not a JSON array of numbers`},
		{"recall demo --embedding [" + strings.Repeat("1,", 500), `[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1…" is not a JSON array`},
		{"observe demo --embedding []", "invalid_embedding (embedding): embedding has no components"},
		{"observe demo --embedding !!!", "is not base64"},
		{"observe demo text --priority urgent", "priority is \"urgent\""},
		{"observe demo text --ack never", "acknowledgement is \"never\""},
		{"recall demo text -k 0", "k is 0"},
		{"recall demo text -k 1001", "k is 1001"},
		{"recall demo text --include all", "include names \"all\""},
		{"recall demo text --recall slow", "recall is \"slow\""},
		{"recall demo text --ef 0", "invalid_argument (ef): ef is 0"},
		{"recall demo text --ef 5 --recall exact", "invalid_argument (ef)"},
		{"create Demo", "invalid_space"},
		{"create demo --dim 0", "invalid_argument (dimension): dimension is 0"},
		{"create demo --metric hamming", "metric is \"hamming\""},
		{"create demo --vectors f64", "vectors is \"f64\""},
		{"create demo --engine warp", "engine is \"warp\""},
		{"compact a.b", "invalid_space"},
		{"import demo a.csv", "ends in .jsonl, .npy or .txt"},
		{"import demo a.txt --id-prefix \xff", "choose another prefix"},
		{"import demo a.txt --batch 1000", "batch is 1000"},
		{"import demo a.txt --window 257", "window is 257"},
		{"observe demo text --importance 2", "invalid_argument (importance)"},
		{"observe demo text --id " + strings.Repeat("x", event.MaxID+1), "invalid_id (id)"},
		{"observe demo text --idempotency-key " + strings.Repeat("x", event.MaxWriteID+1), "too_large (idempotency_key)"},
		{"recall demo text --at-least x", "invalid_position (at_least)"},
		{"recall demo text --as-of x", "invalid_position (as_of)"},
		{"get demo a --as-of x", "invalid_position (as_of)"},
		{"get demo a --include all", "include names \"all\""},
		{"get demo " + strings.Repeat("x", event.MaxID+1), "invalid_id (id)"},
		{"forget demo " + strings.Repeat("x", event.MaxID+1), "invalid_id (id)"},
		{"forget demo a --ack never", "acknowledgement is \"never\""},
		{"list demo --limit 0", "--limit is 0"},
		{"list demo --before x", "invalid_position (before)"},
		{"list demo --as-of x", "invalid_position (as_of)"},
		{"bench queue --duration 1ns", "--duration is 1ns"},
		{"bench queue --capacity 0", "--capacity 0"},
		{"bench pipeline --load flood", "--load is \"flood\""},
		{"bench index --repeat 0", "--repeat"},
		{"bench truth --base a.npy --queries b.npy --out c.npy -k 0", "-k is 0"},
		{"bench convert a.npy b.npy --rows -1", "--rows is -1"},
	} {
		contains(t, fails(t, exitUsage, strings.Fields(tc.args)...), tc.want, " --help")
	}
	// A file that is not there, or empty, is a failure.
	for _, tc := range []struct{ args, want string }{
		{"observe demo --embedding @/nowhere/e.json", "/nowhere/e.json"},
		{"observe demo", "stdin has no text"},
		{"import demo /nowhere/a.txt", "/nowhere/a.txt"},
		{"list demo --context /nowhere/c.json", "/nowhere/c.json"},
		{"list demo --creds /nowhere/x.creds", "/nowhere/x.creds"},
		{"dump /nowhere/MANIFEST", "/nowhere/MANIFEST"},
	} {
		contains(t, fails(t, exitFailure, strings.Fields(tc.args)...), tc.want)
	}
}

func TestNoServer(t *testing.T) {
	t.Setenv(envServer, "nats://me:secret@127.0.0.1:1")
	file := writeFile(t, "a.txt", "one\n")
	for _, args := range [][]string{
		{"observe", "demo", "text"}, {"recall", "demo", "text"}, {"get", "demo", "id"}, {"list", "demo"}, {"forget", "demo", "id"},
		{"status"}, {"import", "demo", file}, {"create", "demo"}, {"compact", "demo"},
	} {
		line := fails(t, exitFailure, args...)
		contains(t, line, "127.0.0.1:1", `"engram up"`)
		if strings.Contains(line, "secret") {
			t.Errorf("the password is shown: %s", line)
		}
	}
	// The flag goes before the variable, and a context has its own address.
	contains(t, fails(t, exitFailure, "list", "demo", "--server", "127.0.0.1:2"), "at 127.0.0.1:2;")
	contextFile := writeFile(t, "c.json", `{"url":"nats://127.0.0.1:3"}`)
	contains(t, fails(t, exitFailure, "list", "demo", "--context", contextFile), "the context "+contextFile)
}

// A text that never comes does not keep a command from stopping.
func TestInterruptedWhileReading(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stdin, hold := io.Pipe()
	t.Cleanup(func() { hold.Close() })
	reading := &firstRead{Reader: stdin, begun: cancel}
	o := engramIn(ctx, reading, "observe", "demo")
	if o.code != 130 || o.stderr != "engram: interrupted\n" {
		t.Errorf("%+v", o)
	}
}

// firstRead tells when it is read.
type firstRead struct {
	io.Reader
	begun func()
}

func (r *firstRead) Read(p []byte) (int, error) {
	r.begun()
	return r.Reader.Read(p)
}
