// Package vector holds the numeric kernels on embeddings.
//
// Each kernel is there in Go, and in assembly for what processors of amd64 and arm64 have: see level. The program takes
// the best set that the processor has, which Kernel names. The build tag purego leaves the assembly out, for comparison
// and for instruments that see Go alone.
//
// Sums of int8 codes, conversions and SumSquares are the same for every set, to the last bit. Dot and L2 are not, since
// the order in which float32 numbers are added differs.
package vector
