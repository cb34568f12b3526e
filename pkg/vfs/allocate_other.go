//go:build !linux

package vfs

import "os"

func allocate(f *os.File, offset, length int64) error { return writeZeros(f, offset, length) }
