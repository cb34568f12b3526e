package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestUpPrintsItsConfiguration(t *testing.T) {
	t.Setenv("ENGRAM_HTTP", "127.0.0.1:1")
	t.Setenv(envServer, "nats://127.0.0.1:1") // of the other commands, and no unknown key here
	out := engram(t, "up", "--data", "/d", "--worker.profile", "low-latency", "--print-config")
	contains(t, out, `data: "/d"`, `http: "127.0.0.1:1"`, "max_batch_size: 50")
	t.Setenv("ENGRAM_HTPP", "x")
	contains(t, fails(t, exitUsage, "up", "--print-config"), `unknown key "ENGRAM_HTPP"`)
}

// The node as a process of its own: it says where it is, a second one on its directory refuses, and Ctrl-C stops it.
func TestUp(t *testing.T) {
	dir := t.TempDir()
	var stderr bytes.Buffer
	cmd := exec.Command(os.Args[0], "up", "--data", dir, "--nats", "127.0.0.1:0", "--http", "127.0.0.1:0", "--metrics", "")
	cmd.Env = append(os.Environ(), asCommand+"=1")
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, addrs := bufio.NewScanner(stdout), map[string]string{}
	for addrs["data"] == "" && lines.Scan() {
		if name, addr, ok := strings.Cut(strings.TrimSpace(lines.Text()), " "); ok {
			addrs[name] = strings.TrimSpace(addr)
		}
	}
	if addrs["data"] != dir || !strings.HasPrefix(addrs["http"], "http://127.0.0.1:") || addrs["metrics"] != "" {
		t.Errorf("addresses %v", addrs)
	}
	contains(t, engram(t, "observe", "demo", "text", "--server", addrs["nats"], "--ack", "searchable"), "searchable")
	contains(t, fails(t, exitFailure, "up", "--data", dir, "--nats", "127.0.0.1:0", "--http", "", "--metrics", "", "--log.level", "error"), dir, "LOCK")

	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(stdout); err != nil || len(rest) != 0 {
		t.Errorf("after the addresses: %q, error %v", rest, err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("exit code %d, error %v; stderr:\n%s", cmd.ProcessState.ExitCode(), err, stderr.String())
	}
	// The log has its JSON lines, and no error line.
	if strings.Contains(stderr.String(), "engram: ") || !strings.Contains(stderr.String(), `"stopping"`) {
		t.Errorf("stderr:\n%s", stderr.String())
	}
}
