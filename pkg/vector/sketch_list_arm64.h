// The body of DotSketchList of both sets of kernels: R0 is the query, R7 the width, R1 the addresses of the rows, R3 where
// the sums go, R5 their count, R6 how many addresses ahead rows are asked for. The one that includes it defines
//
//	LOW(mask, q, n)    adds the sixteen codes of q, which is Vn, where V16 has the bit of mask, to sums of its own
//	HIGH(mask, q, n)   does so for V17
//	FLUSH              adds these sums, of a block, to the four int32 of V0
//
// A row takes V0 for its sum, V16 and V17 for a block, V18..V21 for codes of the query and V24..V31 for the masks of bits
// 0..7.

// TWOROWS takes the rows of two bits of the query's block at R10.
#define TWOROWS(bit, next) \
	VLD1.P 64(R10), [V18.B16, V19.B16, V20.B16, V21.B16] \
	LOW(bit, V18, 18)  \
	HIGH(bit, V19, 19) \
	LOW(next, V20, 20) \
	HIGH(next, V21, 21)

	VMOVI $1, V24.B16
	VMOVI $2, V25.B16
	VMOVI $4, V26.B16
	VMOVI $8, V27.B16
	VMOVI $16, V28.B16
	VMOVI $32, V29.B16
	VMOVI $64, V30.B16
	VMOVI $128, V31.B16
	MOVD  ZR, R12

first:
	MOVD (R1)(R12<<3), R9
	PREFETCH(firstline, 7)
	ADD  $1, R12, R12
	CMP  R6, R12
	BLT  first

row:
	MOVD   (R1)(R6<<3), R9
	PREFETCH(line, 7)
	MOVD.P 8(R1), R8
	MOVD   R0, R10
	VEOR   V0.B16, V0.B16, V0.B16
	LSR    $5, R7, R11
	CBZ    R11, short

block:
	VLD1.P 32(R8), [V16.B16, V17.B16]
	TWOROWS(V24, V25)
	TWOROWS(V26, V27)
	TWOROWS(V28, V29)
	TWOROWS(V30, V31)
	FLUSH
	SUBS   $1, R11, R11
	BNE    block

short:
	// Half a block has the bits 0..3 of 16 bytes in their lower halves, and those of the next 16 in the upper ones.
	TBZ   $4, R7, sum
	VLD1  (R8), [V16.B16]
	VUSHR $4, V16.B16, V17.B16
	TWOROWS(V24, V25)
	TWOROWS(V26, V27)
	FLUSH

sum:
	VADDV   V0.S4, V0
	FMOVS.P F0, 4(R3)
	SUBS    $1, R5, R5
	BNE     row
