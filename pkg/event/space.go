package event

import (
	"errors"
	"fmt"
)

// MaxSpaceName is the longest name of a space, in bytes.
const MaxSpaceName = 63

// MaxShards is the largest number of shards that a set of logs can be created with.
const MaxShards = 256

// DefaultShards is the number of shards when nobody says otherwise.
const DefaultShards = 8

// ErrSpaceName is wrapped by every refusal of a space's name.
var ErrSpaceName = errors.New("illegal space name")

// ValidateSpace checks that name is one lower-case token, `[a-z0-9][a-z0-9_-]{0,62}`, so that it is at once a NATS
// subject token, a key of a bucket and a path segment.
func ValidateSpace(name string) error {
	if name == "" {
		return fmt.Errorf("%w: it is empty; a name is 1 to %d of a-z, 0-9, '_' and '-', beginning with a letter or digit",
			ErrSpaceName, MaxSpaceName)
	}
	if len(name) > MaxSpaceName {
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrSpaceName, len(name), MaxSpaceName)
	}
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || i > 0 && (c == '_' || c == '-') {
			continue
		}
		return fmt.Errorf("%w %q: byte %d is %q; a name is 1 to %d of a-z, 0-9, '_' and '-', beginning with a letter or digit",
			ErrSpaceName, name, i, c, MaxSpaceName)
	}
	return nil
}

// ShardOf returns the shard of a space among shards of them: FNV-1a-32(space) mod shards, which is also what the NATS
// subject mapping function partition() computes for the same token.
func ShardOf(space string, shards int) int {
	const (
		offset = 2166136261
		prime  = 16777619
	)
	h := uint32(offset)
	for i := range len(space) {
		h ^= uint32(space[i])
		h *= prime
	}
	return int(h % uint32(shards))
}
