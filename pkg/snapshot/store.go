package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Store keeps blobs by name. A name is one of those that CheckName takes. The methods may be called concurrently.
type Store interface {
	// Put stores a blob, durably: after it has returned nil the blob is there as a whole, and after an error, or the death
	// of the process, as a whole, as it was before, or not at all. A blob of that name is replaced.
	Put(ctx context.Context, name string, data []byte) error
	// Get returns a blob, as it was put. The error wraps ErrNotFound when there is none.
	Get(ctx context.Context, name string) ([]byte, error)
	// List returns the blobs whose names begin with a prefix, in the order of their names. It knows of every Put and Delete
	// that has returned, whoever called it.
	List(ctx context.Context, prefix string) ([]Blob, error)
	// Delete removes a blob, if it is there.
	Delete(ctx context.Context, name string) error
	// String says which store it is, for people, without secrets.
	String() string
	// Close lets go of what the store holds.
	Close() error
}

// Blob is what a list says of a blob.
type Blob struct {
	Name string
	Size int64
}

// ErrNotFound is wrapped when there is no blob of a name.
var ErrNotFound = errors.New("no such blob")

// maxName is the length of the longest name.
const maxName = 255

// CheckName refuses names that are not parts of a-z, 0-9, '-' and '.', separated by slashes, each of which begins with a
// letter or digit. Whatever else a name may mean to a file system, these mean a file below the store's directory.
func CheckName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("the name of a blob has %d bytes, want 1 to %d", len(name), maxName)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '-' || part[0] == '.' {
			return fmt.Errorf("%q is no name of a blob: a part of it is empty, or begins with '-' or '.'", name)
		}
		if strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
			return fmt.Errorf("%q is no name of a blob: it has other letters than a-z, 0-9, '-' and '.'", name)
		}
	}
	return nil
}
