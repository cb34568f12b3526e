//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second
)

// eventually waits until cond has nothing to object to any more, and fails the test with its last objection after d.
func eventually(t testing.TB, d time.Duration, cond func() error) {
	t.Helper()
	deadline, tick := time.NewTimer(d), time.NewTicker(20*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %v", d, err)
		}
	}
}

// process is a program that can be started again and again; what its runs print on standard error is in one file. Its
// methods are for the test's own goroutine.
type process struct {
	t    testing.TB
	name string
	path string
	args []string
	log  string

	cmd  *exec.Cmd
	from int64         // where in the log the present run begins
	done chan struct{} // closed when the present run has ended
	err  error         // of it, to be read after done
}

// newProcess describes a program. When the test ends it is stopped, and if the test failed, the end of its log shown.
func newProcess(t testing.TB, name, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, path: path, args: args, log: filepath.Join(t.TempDir(), name+".log")}
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			t.Logf("the end of what %s printed:\n%s", name, p.tail(40))
		}
	})
	return p
}

// start begins a run, without waiting for anything.
func (p *process) start() {
	p.t.Helper()
	f, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close() // the child has its own
	st, err := f.Stat()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Env = cleanEnv()
	p.cmd.Stderr = f
	p.from = st.Size()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("starting %s: %v", p.name, err)
	}
	p.done = make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		p.err = p.cmd.Wait()
	}(p.done)
}

// cleanEnv is the environment without what the machine's owner may have set for Engram or NATS.
func cleanEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "ENGRAM_") || strings.HasPrefix(v, "NATS_")
	})
}

func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("signalling %s: %v", p.name, err)
	}
}

// wait returns the exit code of the present run, -1 for one that a signal ended.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		p.t.Fatalf("%s has not ended after %v", p.name, stopTimeout)
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		p.t.Fatalf("%s: %v", p.name, p.err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop ends the present run as an operator would, and fails the test where that is not clean.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		p.t.Fatalf("%s ended with exit code %d after SIGTERM", p.name, code)
	}
}

// kill ends the present run at once, as the kernel would. One that has ended already had a reason that the test must know.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	if code := p.wait(); code != -1 {
		p.t.Fatalf("%s ended by itself with exit code %d:\n%s", p.name, code, p.tail(10))
	}
}

// end is the last resort.
func (p *process) end() {
	if p.cmd == nil || p.cmd.Process == nil || p.done == nil || p.ended() {
		return
	}
	// Both fail only for a process that has ended. A stopped one has to go on to see the other.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		p.t.Errorf("%s did not end by SIGTERM within %v", p.name, stopTimeout)
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// output is what the present run has printed.
func (p *process) output() []byte {
	b, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	return b[min(p.from, int64(len(b))):]
}

// tail is the end of what all runs have printed.
func (p *process) tail(lines int) string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(len(all)-lines, 0):], "\n")
}

// logLine is a line of a daemon's log, as far as the tests read it.
type logLine struct {
	Message, Metrics, HTTP string
	Shard, Records         int
}

// lines returns the lines of the present run with a message.
func (p *process) lines(message string) []logLine {
	var found []logLine
	for in := bufio.NewScanner(bytes.NewReader(p.output())); in.Scan(); {
		var l logLine
		if json.Unmarshal(in.Bytes(), &l) == nil && l.Message == message {
			found = append(found, l)
		}
	}
	return found
}

// prints waits until the present run has printed something that match finds.
func (p *process) prints(match func() bool) {
	p.t.Helper()
	eventually(p.t, startTimeout, func() error {
		if match() {
			return nil
		}
		if p.ended() {
			p.t.Fatalf("%s ended (%v):\n%s", p.name, p.err, p.tail(10))
		}
		return fmt.Errorf("%s has printed:\n%s", p.name, p.tail(10))
	})
}
