//go:build !purego

#include "textflag.h"
#include "lists_arm64.h"

// The kernel of NEON for rows of codes of four bits. The assembler does not know these by name:
//
//	SMULL  Vd.8H, Vn.8B, Vm.8B     products of the lower eight
//	SMLAL2 Vd.8H, Vn.16B, Vm.16B   products of the upper eight, added: at most 2*15*128 = 3840, which an int16 holds
//	SADALP Vd.4S, Vn.8H            neighbours added to int32
//
// V28 is for these.
#define DOT16(x, y, acc) \
	WORD $(0x0e20c000 | (y)<<16 | (x)<<5 | 28) \
	WORD $(0x4e208000 | (y)<<16 | (x)<<5 | 28) \
	WORD $(0x4e606800 | 28<<5 | (acc))

// func dotU4NEON(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)
TEXT ·dotU4NEON(SB), NOSPLIT, $0-48
	MOVD q+0(FP), R0
	MOVD width+8(FP), R7
	MOVD rows+16(FP), R1
	MOVD out+24(FP), R3
	MOVD count+32(FP), R5
	MOVD ahead+40(FP), R6

#include "u4_list_arm64.h"

	RET
