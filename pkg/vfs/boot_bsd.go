//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package vfs

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// bootID is when the system was booted, by its clock: setting the clock may change it, which costs a verification.
func bootID() (string, error) {
	t, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(t.Nano(), 16), nil
}
