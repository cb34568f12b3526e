package snapshot

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/engram-memory/engram/pkg/vfs"
)

// How the places of stores begin, but for that of the bucket.
const (
	SchemeDir = "dir:"
)

// CheckPlace tells what is wrong with the place of a store; nil when Open knows it.
func CheckPlace(place string) error {
	switch {
	case strings.HasPrefix(place, SchemeDir) && filepath.IsAbs(place[len(SchemeDir):]):
		return nil
	case strings.HasPrefix(place, SchemeDir):
		return fmt.Errorf("the store of snapshots is %q; the path of a directory begins with a slash", place)
	}
	return fmt.Errorf("the store of snapshots is %q; it can be dir:/path", place)
}

// Open opens the store at a place. own is a name that no other process has.
func Open(place, own string) (Store, error) {
	if err := CheckPlace(place); err != nil {
		return nil, err
	}
	return NewDir(vfs.OS(), place[len(SchemeDir):], Token(own))
}
