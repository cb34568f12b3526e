//go:build !linux

package vfs

import "os"

func writeBack(*os.File, int64, int64) {}
