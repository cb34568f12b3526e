package vecstore

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// SetAside renames a shard's directory, so that it can be built anew while what it held is kept for a look at it. It
// returns the new name.
func SetAside(dir string, now time.Time) (string, error) {
	dir = filepath.Clean(dir) // with a slash at its end the new name would be inside it
	for n := 0; ; n++ {
		aside := fmt.Sprintf("%s.aside-%s-%d", dir, now.UTC().Format("20060102T150405"), n)
		if _, err := os.Lstat(aside); err == nil {
			continue
		}
		if err := os.Rename(dir, aside); err != nil {
			return "", fmt.Errorf("setting a shard's directory aside: %w", err)
		}
		return aside, nil
	}
}
