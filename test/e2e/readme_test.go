//go:build e2e

package e2e

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/engram-memory/engram/test/e2e/tools"
)

// TestReadmeExamples runs every example of the README, as it stands there but for the addresses, against one node.
func TestReadmeExamples(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "engram"), "./cmd/engram")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	work := t.TempDir()
	url, http := up(t, filepath.Join(bin, "engram"), filepath.Join(work, "engram-data"))
	if err := os.WriteFile(filepath.Join(work, "notes.jsonl"), []byte(`{"id":"n5","text":"the backup runs at midnight"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("http://127.0.0.1:8080", "http://"+http, "127.0.0.1:8081", freeAddress(t), "nats.DefaultURL", `"`+url+`"`)
	env := append(cleanEnv(), "ENGRAM_SERVER="+url, "NATS_URL="+url, "XDG_CONFIG_HOME="+t.TempDir(),
		"PATH="+bin+string(filepath.ListSeparator)+filepath.Dir(tools.Build(t, "nats"))+string(filepath.ListSeparator)+os.Getenv("PATH"))
	for _, example := range []struct {
		section, language string
		want              []string
	}{
		{"With curl", "sh", []string{`"position":`, `"hits":[{"id":"n1"`, `the disk was full`, `"db-3"`}},
		{"With curl, line by line", "sh", []string{`{"line":1,"id":"n8","position":`, `{"line":2,"id":"n9","position":`, "operationId: observe\n"}},
		{"With the nats command", "sh", []string{`"searchable":true`, `"hits":[{"id":"n2"`}},
		{"With Go", "go", []string{"n3  certificates expire"}},
		{"With gRPC", "go", []string{"n6  the queue is drained"}},
		{"With WebSocket", "go", []string{`"level":"accepted"`, `"recalled":{"tag":"r1"`, `"id":"n7"`, `"closed":{"next":2,"resumable":false}`}},
		{"With the engram command", "sh", []string{"n4", "the cache is warm", "notes", "magic of a segment"}},
		{"With a token", "sh", []string{`"searchable":true`, `"hits":[{"id":"n6"`, `"code":"forbidden"`}},
	} {
		t.Run(example.section, func(t *testing.T) {
			text := here.Replace(block(t, string(readme), example.section, example.language))
			var cmd *exec.Cmd
			if example.language == "go" {
				file := filepath.Join(t.TempDir(), "main.go")
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				cmd = exec.Command("go", "run", file)
				cmd.Dir = filepath.Join("..", "..")
			} else {
				cmd = exec.Command("sh", "-ec", text)
				cmd.Dir = work
			}
			cmd.Env = env
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, text, out)
			}
			for _, w := range example.want {
				if !strings.Contains(string(out), w) {
					t.Errorf("the example did not print %q:\n%s\n%s", w, text, out)
				}
			}
		})
	}
}

// freeAddress returns one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// block returns the code of a language in the section of the README with a title.
func block(t *testing.T, readme, title, language string) string {
	t.Helper()
	_, section, ok := strings.Cut(readme, "### "+title+"\n")
	_, code, ok2 := strings.Cut(section, "```"+language+"\n")
	code, _, ok3 := strings.Cut(code, "```")
	if !ok || !ok2 || !ok3 {
		t.Fatalf("the README has no %s block under %q", language, title)
	}
	return code
}

// up runs "engram up" on free ports, with its data in a directory, until the test ends, by Ctrl-C, and returns its addresses.
func up(t *testing.T, engram, data string) (url, http string) {
	t.Helper()
	cmd := exec.Command(engram, "up", "--data", data, "--nats", "127.0.0.1:0", "--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
	cmd.Env = cleanEnv()
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // the exit code below says it
		if code := cmd.ProcessState.ExitCode(); code != 130 {
			t.Errorf("engram up ended with exit code %d after Ctrl-C, want 130", code)
		}
	})
	address := regexp.MustCompile(`(nats://\S+)|http +http://(\S+)`)
	for in := bufio.NewScanner(out); (url == "" || http == "") && in.Scan(); {
		if m := address.FindStringSubmatch(in.Text()); m != nil {
			url, http = url+m[1], http+m[2]
		}
	}
	if url == "" || http == "" {
		t.Fatalf("engram up did not print its addresses: nats %q, http %q", url, http)
	}
	return url, http
}
