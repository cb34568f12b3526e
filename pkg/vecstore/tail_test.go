package vecstore

import (
	"sync"
	"testing"
)

// A chunk that is let go while the list of chunks grows is gone, and its bytes count once.
func TestTailDropsWhileItGrows(t *testing.T) {
	const blocks = 1 << 19 // so many that the two take long enough to meet
	for range 5 {
		tl := &tail{size: 1}
		tl.loaded.Store(true)
		tl.room(blocks*blockRows - 1)
		for n := uint32(0); n < blocks; n += 1 << 10 {
			tl.room(n*blockRows + blockRows - 1)
		}
		var done sync.WaitGroup
		done.Go(func() { tl.room(blocks * blockRows) })
		done.Go(func() { tl.drop(blocks * blockRows) })
		done.Wait()
		for n := uint32(0); n < blocks; n += 1 << 10 {
			if tl.chunk(n*blockRows) != nil {
				t.Fatalf("chunk %d is there, and its rows were linked", n)
			}
		}
		tl.drop((blocks + 1) * blockRows)
		if n := tl.bytes.Load(); n != 0 {
			t.Fatalf("%d bytes count, and all rows were linked", n)
		}
	}
}
