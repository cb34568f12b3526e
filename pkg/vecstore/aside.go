package vecstore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// dirAside is behind the name of a directory that was set aside.
const dirAside = ".aside-"

// SetAside renames a shard's directory, so that it can be built anew while what it held is kept for a look at it. It
// returns the new name.
func SetAside(dir string, now time.Time) (string, error) {
	dir = filepath.Clean(dir) // with a slash at its end the new name would be inside it
	for n := 0; ; n++ {
		aside := fmt.Sprintf("%s%s%s-%03d", dir, dirAside, now.UTC().Format("20060102T150405"), n)
		if _, err := os.Lstat(aside); err == nil {
			continue
		}
		if err := os.Rename(dir, aside); err != nil {
			return "", fmt.Errorf("setting a shard's directory aside: %w", err)
		}
		return aside, nil
	}
}

// RemoveAside removes what was set aside of a shard's directory but for the newest ones, and returns what it has removed.
func RemoveAside(dir string, keep int) (removed []string, err error) {
	dir = filepath.Clean(dir)
	names, err := os.ReadDir(filepath.Dir(dir))
	if err != nil {
		return nil, fmt.Errorf("looking for what was set aside: %w", err)
	}
	var aside []string // in the order of time, which is that of the names
	for _, e := range names {
		if e.IsDir() && strings.HasPrefix(e.Name(), filepath.Base(dir)+dirAside) {
			aside = append(aside, filepath.Join(filepath.Dir(dir), e.Name()))
		}
	}
	for _, name := range aside[:max(len(aside)-keep, 0)] {
		if err := os.RemoveAll(name); err != nil {
			return removed, fmt.Errorf("removing what was set aside: %w", err)
		}
		removed = append(removed, name)
	}
	return removed, nil
}
