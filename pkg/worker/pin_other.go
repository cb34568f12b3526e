//go:build !linux

package worker

import "errors"

// pin is for Linux alone.
func pin(int) (func(), error) {
	return func() {}, errors.New("pin_cpus works on Linux only")
}
