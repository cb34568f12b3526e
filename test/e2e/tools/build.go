//go:build e2e

// Package tools gives end-to-end tests the real command-line programs, built from the modules in tools/ at the top of the
// repository, each of which pins one program with all its dependencies.
package tools

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Build returns the path of the program of tools/<name>, such as "nats" or "nats-server". The first call of all builds
// it; the binary stays in the user's cache directory, under the hash of what it was built from.
func Build(t testing.TB, name string) string {
	t.Helper()
	path, err := build(name)
	if err != nil {
		t.Fatalf("building %s: %v", name, err)
	}
	return path
}

func build(name string) (string, error) {
	module, err := moduleDir(name)
	if err != nil {
		return "", err
	}
	key, err := hash(filepath.Join(module, "go.mod"), filepath.Join(module, "go.sum"))
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "engram", "tools", key)
	path := filepath.Join(dir, name+exe())
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Built beside, then renamed: another test process may be building or running the same program.
	tmp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	fresh := filepath.Join(tmp, name+exe())
	cmd := exec.Command("go", "build", "-C", module, "-o", fresh, "tool")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return path, os.Rename(fresh, path)
}

// moduleDir finds tools/<name> in this directory or one above it: a test runs in the directory of its package.
func moduleDir(name string) (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		module := filepath.Join(dir, "tools", name)
		if _, err := os.Stat(filepath.Join(module, "go.mod")); err == nil {
			return module, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("neither %s nor a directory above it has tools/%s/go.mod", start, name)
		}
	}
}

func hash(files ...string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, len(text))
		h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

func exe() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}
