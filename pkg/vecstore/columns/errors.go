package columns

import "errors"

// The errors that those of this package wrap, beside those of the file system.
var (
	// ErrVersion: the file was written by a version of this format that is not known here.
	ErrVersion = errors.New("unknown version of the format")
	// ErrIdentity: the file is a sound one, of another stream, shard, space, generation or shape.
	ErrIdentity = errors.New("columns of something else")
	// ErrCorrupt: the bytes are not those that were written.
	ErrCorrupt = errors.New("corrupt columns")
	// ErrNotSealed: there are no checksums to verify the file with.
	ErrNotSealed = errors.New("columns were not sealed")
	// ErrFailed: a sync of the file failed, so that some of it may not be on the disk.
	ErrFailed = errors.New("columns failed to reach the disk")
	// ErrClosed: the owner has closed the file.
	ErrClosed = errors.New("columns are closed")
	// ErrTooLarge: more rows or wider ones than the format can hold.
	ErrTooLarge = errors.New("too large for columns")
)
