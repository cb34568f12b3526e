//go:build !purego

#include "textflag.h"
#include "i8_tail_arm64.h"

// The int8 kernels of NEON with the dot product instructions (FEAT_DotProd). The assembler does not know this by name:
//
//	SDOT Vd.4S, Vn.16B, Vm.16B   four products added to each int32
#define DOT16(x, y, acc) \
	WORD $(0x4e809400 | (y)<<16 | (x)<<5 | (acc))

// func dotI8SDOT(a, b *int8, n int) int32
TEXT ·dotI8SDOT(SB), NOSPLIT, $0-28
	MOVD a+0(FP), R0
	MOVD b+8(FP), R8
	MOVD n+16(FP), R2

#include "i8_dot_arm64.h"

	MOVW R6, ret+24(FP)
	RET

// func dotI8GatherSDOT(q *int8, n int, rows *unsafe.Pointer, out *int32, count int)
TEXT ·dotI8GatherSDOT(SB), NOSPLIT, $0-40
	MOVD q+0(FP), R0
	MOVD n+8(FP), R2
	MOVD rows+16(FP), R1
	MOVD out+24(FP), R3
	MOVD count+32(FP), R5

#include "i8_gather_arm64.h"

	RET
