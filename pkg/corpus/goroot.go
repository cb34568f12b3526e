package corpus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// FindGoroot asks the go command on PATH for its GOROOT, the folder that [GoDocs] takes, and checks that the source is
// there, since some distributions package it apart. The error is one line that wraps [ErrNoToolchain], or ctx's.
func FindGoroot(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOROOT")
	// Neither a go.mod here nor the network has a say in which toolchain is installed.
	cmd.Dir = os.TempDir()
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOFLAGS=", "GOWORK=off")
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "", fmt.Errorf("looking for the Go toolchain: %w", context.Cause(ctx))
	}
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%w (there is no go command on PATH)", ErrNoToolchain)
	}
	if err != nil {
		return "", fmt.Errorf("%w (go env GOROOT failed: %s)", ErrNoToolchain, firstLine(err))
	}
	root := strings.TrimSpace(string(out))
	if root == "" {
		return "", fmt.Errorf("%w (go env GOROOT is empty)", ErrNoToolchain)
	}
	src := filepath.Join(root, "src")
	if info, err := os.Stat(src); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%w (there is no folder %s)", ErrNoToolchain, src)
	}
	return root, nil
}

// firstLine is the first line of what the command wrote to its standard error, or of the error itself.
func firstLine(err error) string {
	text := []byte(err.Error())
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && len(bytes.TrimSpace(exit.Stderr)) > 0 {
		text = bytes.TrimSpace(exit.Stderr)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return string(bytes.TrimSpace(line))
}
