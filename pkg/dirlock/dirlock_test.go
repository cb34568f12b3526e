package dirlock_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/dirlock"
)

// childVariable makes the test binary hold a lock instead of running tests.
const childVariable = "DIRLOCK_TEST_HOLD"

func TestMain(m *testing.M) {
	path := os.Getenv(childVariable)
	if path == "" {
		os.Exit(m.Run())
	}
	if _, err := dirlock.Acquire(path); err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Stdout.WriteString("held\n")
	// Until the parent kills it, or ends itself.
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
}

func TestAcquireAndRelease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "down", "LOCK")
	first, err := dirlock.Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = dirlock.Acquire(path)
	if !errors.Is(err, dirlock.ErrLocked) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("the second: %v", err)
	}
	b, err := os.ReadFile(path)
	if err != nil || string(b) != strconv.Itoa(os.Getpid())+"\n" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := dirlock.Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Release(); err != nil {
		t.Error(err)
	}
}

// The kernel drops the lock of a process that is killed.
func TestKilledHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "LOCK")
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), childVariable+"="+path)
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }() // Wait has closed it
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "held\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_, err = dirlock.Acquire(path)
	if !errors.Is(err, dirlock.ErrLocked) || !strings.Contains(err.Error(), "process "+strconv.Itoa(holder.Process.Pid)+";") {
		t.Errorf("while it is held: %v", err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // killed
	lock, err := dirlock.Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

func TestUnreadableHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "LOCK")
	lock, err := dirlock.Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := lock.Release(); err != nil {
			t.Error(err)
		}
	}()
	for _, text := range []string{"", "nobody\n", strings.Repeat("9", 100)} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := dirlock.Acquire(path); !errors.Is(err, dirlock.ErrLocked) || !strings.Contains(err.Error(), "another process") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestImpossibleDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(file, "LOCK"), filepath.Dir(file)} {
		if _, err := dirlock.Acquire(path); err == nil || errors.Is(err, dirlock.ErrLocked) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
