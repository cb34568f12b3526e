package vfs

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
)

// ErrFault says that the kernel could not supply a page of a mapped file. It was shortened, or its disk is failing or full.
var ErrFault = errors.New("a mapped page could not be read or written")

// Guard runs call, which touches mapped memory, and returns an error that wraps ErrFault when the kernel could not supply
// a page of it; without Guard such a fault ends the process. Any other panic goes on.
//
// It covers the goroutine that calls it, not those that call starts. What call had begun stays as the fault left it: locks
// that are not released by a defer stay locked, and words that were to be written together are written in part. It costs
// about 10 ns and no allocation, so it belongs around a search or a block of rows, not around each access.
func Guard(call func() error) (err error) {
	// The setting is the goroutine's own.
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		switch r := recover().(type) {
		case nil:
		case interface {
			runtime.Error
			Addr() uintptr // only the error of a memory fault at an address other than nil has it
		}:
			err = fmt.Errorf("%w: at address %#x", ErrFault, r.Addr())
		default:
			panic(r)
		}
	}()
	return call()
}
