package vfs

import (
	"bytes"
	"errors"
	"os"
)

// bootID is what the kernel drew when it was started.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	if b = bytes.TrimSpace(b); len(b) == 0 {
		return "", errors.New("the boot id of the kernel is empty")
	}
	return string(b), nil
}
