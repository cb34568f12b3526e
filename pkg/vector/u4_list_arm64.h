// The body of DotU4List of both sets of kernels: R0 is the query, R7 the width, R1 the addresses of the rows, R3 where the
// sums go, R5 their count, R6 how many addresses ahead rows are asked for. The one that includes it defines
//
//	DOT16(x, y, acc)   by the numbers of the registers: four int32 of acc plus the products of sixteen codes
//
// A row takes V0..V3 for its sums, V4..V7 for 64 bytes, V8..V11 for their upper halves, V16..V23 for codes of the query, and
// V24 for the mask of a lower half.

	VMOVI $15, V24.B16
	MOVD  ZR, R12

first:
	MOVD (R1)(R12<<3), R9
	PREFETCH(firstline, 15)
	ADD  $1, R12, R12
	CMP  R6, R12
	BLT  first

row:
	MOVD   (R1)(R6<<3), R9
	PREFETCH(line, 15)
	MOVD.P 8(R1), R8
	MOVD   R0, R10
	VEOR   V0.B16, V0.B16, V0.B16
	VEOR   V1.B16, V1.B16, V1.B16
	VEOR   V2.B16, V2.B16, V2.B16
	VEOR   V3.B16, V3.B16, V3.B16
	LSR    $6, R7, R12
	CBZ    R12, short

block:
	VLD1.P 64(R8), [V4.B16, V5.B16, V6.B16, V7.B16]
	VLD1.P 64(R10), [V16.B16, V17.B16, V18.B16, V19.B16]
	VLD1.P 64(R10), [V20.B16, V21.B16, V22.B16, V23.B16]
	VUSHR  $4, V4.B16, V8.B16
	VUSHR  $4, V5.B16, V9.B16
	VUSHR  $4, V6.B16, V10.B16
	VUSHR  $4, V7.B16, V11.B16
	VAND   V24.B16, V4.B16, V4.B16
	VAND   V24.B16, V5.B16, V5.B16
	VAND   V24.B16, V6.B16, V6.B16
	VAND   V24.B16, V7.B16, V7.B16
	DOT16(4, 16, 0)
	DOT16(5, 17, 1)
	DOT16(6, 18, 2)
	DOT16(7, 19, 3)
	DOT16(8, 20, 0)
	DOT16(9, 21, 1)
	DOT16(10, 22, 2)
	DOT16(11, 23, 3)
	SUBS   $1, R12, R12
	BNE    block

short:
	UBFX $4, R7, $2, R12
	CBZ  R12, sum
	ADD  $64, R10, R11

sixteen:
	VLD1.P 16(R8), [V4.B16]
	VLD1.P 16(R10), [V16.B16]
	VLD1.P 16(R11), [V20.B16]
	VUSHR  $4, V4.B16, V8.B16
	VAND   V24.B16, V4.B16, V4.B16
	DOT16(4, 16, 0)
	DOT16(8, 20, 1)
	SUBS   $1, R12, R12
	BNE    sixteen

sum:
	VADD    V1.S4, V0.S4, V0.S4
	VADD    V3.S4, V2.S4, V2.S4
	VADD    V2.S4, V0.S4, V0.S4
	VADDV   V0.S4, V0
	FMOVS.P F0, 4(R3)
	SUBS    $1, R5, R5
	BNE     row
