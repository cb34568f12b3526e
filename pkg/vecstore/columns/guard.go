package columns

import "github.com/engram-memory/engram/pkg/vfs"

// Guard is vfs.Guard.
func Guard(call func() error) error { return vfs.Guard(call) }
