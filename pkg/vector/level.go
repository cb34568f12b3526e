package vector

// level names a set of kernels. Each file level_*.go has the levels of one architecture, as methods that all sets have
// and that switch on the level: a direct call of an assembly function that is marked noescape, where a table of function
// values would move the caller's vectors to the heap.
type level uint8

// generic is the level that every processor has: plain Go, and the definition of what the other levels compute.
const generic level = 0

// active is the best level of this processor. It is written once, before the program starts, and only read afterwards.
var active = best(levels())

func best(levels []level) level {
	return levels[len(levels)-1]
}

// Kernel names the kernels in use, such as "avx2" or "generic".
func Kernel() string {
	return active.String()
}
