package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// directory returns the node's directory, and what to do with it at the end. A named one has to be empty: what is
// searchable is counted, and what an earlier run left there would count too.
func directory(name string) (dir string, remove func() error, err error) {
	if name == "" {
		dir, err = os.MkdirTemp("", "engram-demo-")
		if err != nil {
			return "", nil, fmt.Errorf("making a temporary directory: %w; name one with --data DIR", err)
		}
		return dir, func() error {
			if err := os.RemoveAll(dir); err != nil {
				return fmt.Errorf("removing the temporary directory: %w", err)
			}
			return nil
		}, nil
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
