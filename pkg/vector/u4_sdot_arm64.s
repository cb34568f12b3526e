//go:build !purego

#include "textflag.h"
#include "lists_arm64.h"

// The kernel of NEON with the dot product instructions for rows of codes of four bits, which are signed numbers, too. The
// assembler does not know this by name:
//
//	SDOT Vd.4S, Vn.16B, Vm.16B   four products added to each int32
#define DOT16(x, y, acc) \
	WORD $(0x4e809400 | (y)<<16 | (x)<<5 | (acc))

// func dotU4SDOT(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)
TEXT ·dotU4SDOT(SB), NOSPLIT, $0-48
	MOVD q+0(FP), R0
	MOVD width+8(FP), R7
	MOVD rows+16(FP), R1
	MOVD out+24(FP), R3
	MOVD count+32(FP), R5
	MOVD ahead+40(FP), R6

#include "u4_list_arm64.h"

	RET
