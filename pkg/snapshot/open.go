package snapshot

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/vfs"
)

// PlaceBucket is the place of the object store of JetStream; those of the other stores begin with a scheme.
const (
	PlaceBucket = "bucket"
	SchemeDir   = "dir:"
	SchemeS3    = "s3://"
)

// Usage says which places there are.
const Usage = "bucket, dir:/path, or s3://bucket/prefix?endpoint=host:port"

// CheckPlace tells what is wrong with the place of a store; nil when Open knows it.
func CheckPlace(place string) error {
	switch {
	case place == PlaceBucket:
		return nil
	case strings.HasPrefix(place, SchemeDir):
		if !filepath.IsAbs(place[len(SchemeDir):]) {
			return fmt.Errorf("the store of snapshots is %q; the path of a directory begins with a slash", place)
		}
		return nil
	case strings.HasPrefix(place, SchemeS3):
		_, err := parseS3(place)
		return err
	}
	return fmt.Errorf("the store of snapshots is %q; it can be %s", place, Usage)
}

// Open opens the store at a place. own is a name that no other process has; js, which the bucket is in, may be nil for the
// other places, and stays the caller's.
func Open(ctx context.Context, place, own string, js jetstream.JetStream) (Store, error) {
	if err := CheckPlace(place); err != nil {
		return nil, err
	}
	switch {
	case strings.HasPrefix(place, SchemeDir):
		return NewDir(vfs.OS(), place[len(SchemeDir):], Token(own))
	case strings.HasPrefix(place, SchemeS3):
		return NewS3(place)
	case js == nil:
		return nil, errors.New("the bucket of snapshots is in NATS, and there is no connection")
	}
	return NewBucket(ctx, js)
}
