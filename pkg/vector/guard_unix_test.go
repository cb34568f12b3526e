//go:build unix

package vector

import (
	"math/rand/v2"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// guarded returns a page of memory between two that cannot be read.
func guarded(t *testing.T) []byte {
	t.Helper()
	page := os.Getpagesize()
	mem, err := unix.Mmap(-1, 0, 3*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(mem); err != nil {
			t.Error(err)
		}
	})
	for _, guard := range [][]byte{mem[:page], mem[2*page:]} {
		if err := unix.Mprotect(guard, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return mem[page : 2*page : 2*page]
}

// atEnds calls test with slices of n elements that begin where one page of guarded memory begins, and with such that end
// where it ends. A kernel that reads or writes beyond them ends the process.
func atEnds[A, B any](t *testing.T, n int, a, b []byte, test func(a []A, b []B)) {
	t.Helper()
	sizeA, sizeB := n*int(unsafe.Sizeof(*new(A))), n*int(unsafe.Sizeof(*new(B)))
	test(cast[A](a[:sizeA]), cast[B](b[:sizeB]))
	test(cast[A](a[len(a)-sizeA:]), cast[B](b[len(b)-sizeB:]))
}

func cast[T any](b []byte) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(*new(T))))
}

func TestKernelsStayWithinTheirMemory(t *testing.T) {
	a, b := guarded(t), guarded(t)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range a {
		a[i], b[i] = byte(1+rng.IntN(100)), byte(1+rng.IntN(100))
	}
	forLevels(t, func(t *testing.T, l level) {
		for n := range 260 {
			atEnds(t, n, a, b, func(a, b []int8) {
				l.DotI8(a, b)
				if n > 0 {
					var out [3]int32
					l.DotI8Block(a, b, n, out[:1])
					l.DotI8List(a, []*int8{&b[0]}, 0, n, []uint32{0, 0, 0}, out[:])
				}
			})
			atEnds(t, n, a, b, func(a, b []float32) {
				l.Dot(a, b)
				l.L2(a, b)
				l.SumSquares(a)
			})
			atEnds(t, n, a, b, func(a []float32, b []int8) {
				l.QuantizeI8(b, a)
				l.DequantizeI8(a, b, 1)
			})
			atEnds(t, n, a, b, func(a []float32, b []uint16) {
				bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b))), 2*n)
				l.EncodeF16(bytes, a)
				l.DecodeF16(a, bytes)
			})
		}
	})
}
