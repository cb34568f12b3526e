//go:build !purego

#include "textflag.h"
#include "i8_tail_arm64.h"

// The int8 kernels of NEON without the dot product instructions. The assembler does not know these by name:
//
//	SMULL  Vd.8H, Vn.8B, Vm.8B     products of the lower eight
//	SMLAL2 Vd.8H, Vn.16B, Vm.16B   products of the upper eight, added: at most 2*127*127 = 32258, which an int16 holds
//	SADALP Vd.4S, Vn.8H            neighbours added to int32
//
// V28 is for these.
#define DOT16(x, y, acc) \
	WORD $(0x0e20c000 | (y)<<16 | (x)<<5 | 28) \
	WORD $(0x4e208000 | (y)<<16 | (x)<<5 | 28) \
	WORD $(0x4e606800 | 28<<5 | (acc))

// func dotI8NEON(a, b *int8, n int) int32
TEXT ·dotI8NEON(SB), NOSPLIT, $0-28
	MOVD a+0(FP), R0
	MOVD b+8(FP), R8
	MOVD n+16(FP), R2

#include "i8_dot_arm64.h"

	MOVW R6, ret+24(FP)
	RET

// func dotI8GatherNEON(q *int8, n int, rows *unsafe.Pointer, out *int32, count int)
TEXT ·dotI8GatherNEON(SB), NOSPLIT, $0-40
	MOVD q+0(FP), R0
	MOVD n+8(FP), R2
	MOVD rows+16(FP), R1
	MOVD out+24(FP), R3
	MOVD count+32(FP), R5

#include "i8_gather_arm64.h"

	RET
