package worker

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// pin binds the calling goroutine's thread to the n-th core that the process may use. The returned function undoes it.
func pin(n int) (func(), error) {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return func() {}, fmt.Errorf("reading the cores that this process may use: %w", err)
	}
	skip := n % all.Count()
	for cpu := 0; ; cpu++ {
		if !all.IsSet(cpu) {
			continue
		}
		if skip--; skip < 0 {
			one.Set(cpu)
			break
		}
	}
	runtime.LockOSThread()
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		runtime.UnlockOSThread()
		return func() {}, fmt.Errorf("binding a thread to a core: %w", err)
	}
	return func() {
		// A thread whose affinity cannot be restored must not run other goroutines: left locked, it ends with this one.
		if unix.SchedSetaffinity(0, &all) == nil {
			runtime.UnlockOSThread()
		}
	}, nil
}
