package npy

import (
	"errors"
	"runtime"
	"runtime/debug"
)

// errShortened is what reading behind the new end of a mapped file becomes.
var errShortened = errors.New("the file was shortened by someone else, or its disk failed, while it was open")

// guardFault runs read, which touches mapped pages, and returns [errShortened] if the kernel could not supply one of
// them. Without it the signal ends the process: the file being imported is somebody else's, and they may truncate it.
// Any other panic continues.
func guardFault(read func()) (err error) {
	// The setting is the goroutine's own, so this changes nothing for others.
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		switch r := recover().(type) {
		case nil:
		case interface {
			runtime.Error
			Addr() uintptr // only the error of a memory fault has it
		}:
			err = errShortened
		default:
			panic(r)
		}
	}()
	read()
	return nil
}
