package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/engram-memory/engram/pkg/daemon"
)

// directory returns the node's directory, and what to do with it at the end. A named one has to be empty: what is
// searchable is counted, and what an earlier run left there would count too.
func directory(ctx context.Context, name string) (dir string, remove func() error, err error) {
	if name == "" {
		if dir, remove, err = daemon.TempDir(ctx, "", "engram-demo-"); err != nil {
			return "", nil, fmt.Errorf("%w; name a directory with --data DIR", err)
		}
		return dir, remove, nil
	}
	entries, err := os.ReadDir(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("opening the data directory: %w", err)
	}
	if len(entries) > 0 {
		return "", nil, fmt.Errorf("the data directory %s is not empty; name an empty or a new one", name)
	}
	if err := os.MkdirAll(name, 0o755); err != nil {
		return "", nil, fmt.Errorf("making the data directory: %w", err)
	}
	if dir, err = filepath.Abs(name); err != nil {
		return "", nil, fmt.Errorf("finding the data directory: %w", err)
	}
	return dir, func() error { return nil }, nil
}
