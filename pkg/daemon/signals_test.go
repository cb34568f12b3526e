package daemon

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// stubbornIn makes the test binary a process that does not end when it is told to, with a temporary directory in the one
// that the variable names.
const stubbornIn = "TEST_BE_STUBBORN_IN"

func TestMain(m *testing.M) {
	if parent := os.Getenv(stubbornIn); parent != "" {
		if err := beStubborn(parent); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func beStubborn(parent string) error {
	ctx, _, _ := Signals(context.Background())
	dir, _, err := TempDir(ctx, parent, "stubborn-")
	if err != nil {
		return err
	}
	gone, remove, err := TempDir(ctx, parent, "gone-")
	if err != nil {
		return err
	}
	if err := remove(); err != nil {
		return err
	}
	// Another process may have taken the name since, and its directory is its own.
	if err := os.Mkdir(gone, 0o755); err != nil {
		return err
	}
	go func() {
		for i := 0; ; i++ {
			_ = os.WriteFile(filepath.Join(dir, fmt.Sprint(i%1000)), []byte("x"), 0o600) // at last there is nowhere to write to
		}
	}()
	fmt.Println("running")
	<-ctx.Done()
	fmt.Println("stopping")
	select {}
}

// A second signal ends a process that is stuck in its stopping, and its temporary directory goes with it.
func TestSecondSignal(t *testing.T) {
	parent := t.TempDir()
	var stderr bytes.Buffer
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), stubbornIn+"="+parent), &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for _, want := range []string{"running", "stopping"} {
		if !lines.Scan() || lines.Text() != want {
			t.Errorf("it says %q, want %q", lines.Text(), want)
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != ExitInterrupt {
		t.Errorf("exit code %d, %v; stderr:\n%s", cmd.ProcessState.ExitCode(), err, stderr.String())
	}
	left, err := filepath.Glob(filepath.Join(parent, "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0])[:5] != "gone-" {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// Without signals a directory is the caller's alone.
func TestTempDir(t *testing.T) {
	parent := t.TempDir()
	dir, remove, err := TempDir(t.Context(), parent, "x-")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() || filepath.Dir(dir) != parent {
		t.Errorf("%s: %v", dir, err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, _, err := TempDir(t.Context(), filepath.Join(parent, "nowhere"), "x-"); err == nil {
		t.Error("a directory was made nowhere")
	}
}
