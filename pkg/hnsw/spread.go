package hnsw

import (
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Spread calls do for each i from 0 to n-1 from several goroutines, each with a number of its own below threads, and
// returns when all have ended. A panic in one of them is raised again in the caller, and so is a fault in mapped memory
// when it would be one there (debug.SetPanicOnFault).
func Spread(threads, n int, do func(thread, i int)) {
	if threads <= 1 || n <= 1 {
		for i := range n {
			do(0, i)
		}
		return
	}
	faults := debug.SetPanicOnFault(true)
	debug.SetPanicOnFault(faults)
	var next atomic.Int64
	var failed atomic.Pointer[any]
	var all sync.WaitGroup
	for thread := range min(threads, n) {
		all.Go(func() {
			debug.SetPanicOnFault(faults)
			defer func() {
				if v := recover(); v != nil {
					failed.CompareAndSwap(nil, &v)
				}
			}()
			for i := int(next.Add(1)) - 1; i < n && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				do(thread, i)
			}
		})
	}
	all.Wait()
	if v := failed.Load(); v != nil {
		panic(*v)
	}
}
