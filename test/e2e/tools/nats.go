//go:build e2e

package tools

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const startDeadline = 30 * time.Second

// StartServer runs a stand-alone nats-server on a free port, with JetStream that syncs every write in a directory of the
// test, and returns its address. It is stopped, and waited for, when the test ends.
func StartServer(t testing.TB) (url string) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("listen: \"127.0.0.1:-1\"\njetstream {\n  store_dir: %q\n  sync_interval: always\n  max_file_store: 16GB\n}\n",
		filepath.Join(dir, "data"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(Build(t, "nats-server"), "-c", config)
	logs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan string, 1), make(chan struct{})
	var tail bytes.Buffer
	go func() {
		defer close(ended)
		readLog(bufio.NewScanner(logs), ready, &tail)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // Fails only when it has ended.
		<-ended
		if err := cmd.Wait(); err != nil {
			t.Errorf("nats-server ended with %v", err)
		}
	})
	select {
	case url = <-ready:
		return url
	case <-ended:
	case <-time.After(startDeadline):
		_ = cmd.Process.Kill()
		<-ended
	}
	t.Fatalf("nats-server did not become ready:\n%s", tail.String())
	return ""
}

var listening = regexp.MustCompile(`Listening for client connections on (127\.0\.0\.1:\d+)`)

// readLog reads the server's log to its end, so that the server never waits for a reader.
func readLog(log *bufio.Scanner, ready chan<- string, tail *bytes.Buffer) {
	var url string
	for log.Scan() {
		if tail.Len() < 64<<10 {
			fmt.Fprintln(tail, log.Text())
		}
		if m := listening.FindStringSubmatch(log.Text()); m != nil {
			url = "nats://" + m[1]
		}
		if strings.Contains(log.Text(), "Server is ready") {
			ready <- url
		}
	}
}

// CLI is the nats command, talking to one server and with no contexts of the user's.
type CLI struct {
	t    testing.TB
	path string
	env  []string
}

// NATS returns the nats command for the server at url.
func NATS(t testing.TB, url string) *CLI {
	t.Helper()
	return &CLI{t: t, path: Build(t, "nats"), env: append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir(), "NATS_CONTEXT=", "NATS_URL="+url)}
}

// Run runs the command and returns what it printed, on both outputs. A failure is the test's.
func (c *CLI) Run(args ...string) string {
	c.t.Helper()
	out, err := c.Try(args...)
	if err != nil {
		c.t.Fatalf("nats %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// Try is Run for a command that may fail.
func (c *CLI) Try(args ...string) (string, error) {
	cmd := exec.Command(c.path, args...)
	cmd.Env = c.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}
