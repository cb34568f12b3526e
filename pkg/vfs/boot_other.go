//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package vfs

import "errors"

func bootID() (string, error) { return "", errors.ErrUnsupported }
