//go:build !purego

#include "textflag.h"
#include "lists_arm64.h"

// The kernel of NEON with the dot product instructions for rows of sketches. A byte that has the bit becomes -1, by
// which SDOT multiplies. The assembler does not know this by name:
//
//	SDOT Vd.4S, Vn.16B, Vm.16B   four products added to each int32
#define LOW(mask, q, n) \
	VCMTST mask.B16, V16.B16, V22.B16 \
	WORD   $(0x4e809400 | (n)<<16 | 22<<5 | 4)

#define HIGH(mask, q, n) \
	VCMTST mask.B16, V17.B16, V23.B16 \
	WORD   $(0x4e809400 | (n)<<16 | 23<<5 | 5)

#define FLUSH \
	VSUB V4.S4, V0.S4, V0.S4    \
	VSUB V5.S4, V0.S4, V0.S4    \
	VEOR V4.B16, V4.B16, V4.B16 \
	VEOR V5.B16, V5.B16, V5.B16

// func dotSketchSDOT(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)
TEXT ·dotSketchSDOT(SB), NOSPLIT, $0-48
	MOVD q+0(FP), R0
	MOVD width+8(FP), R7
	MOVD rows+16(FP), R1
	MOVD out+24(FP), R3
	MOVD count+32(FP), R5
	MOVD ahead+40(FP), R6
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16

#include "sketch_list_arm64.h"

	RET
