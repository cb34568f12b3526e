//go:build !purego

#include "textflag.h"
#include "lists_arm64.h"

// The kernel of NEON for rows of sketches. A byte that has the bit becomes a mask, and neighbours of the codes that it
// leaves are added to int16, to V4 and V5: sixteen times a block, of at most 2*128 each. The assembler does not know these
// by name:
//
//	SADALP Vd.8H, Vn.16B   neighbours added to int16
//	SADALP Vd.4S, Vn.8H    neighbours added to int32
#define LOW(mask, q, n) \
	VCMTST mask.B16, V16.B16, V22.B16 \
	VAND   q.B16, V22.B16, V22.B16    \
	WORD   $(0x4e206800 | 22<<5 | 4)

#define HIGH(mask, q, n) \
	VCMTST mask.B16, V17.B16, V23.B16 \
	VAND   q.B16, V23.B16, V23.B16    \
	WORD   $(0x4e206800 | 23<<5 | 5)

#define FLUSH \
	WORD $(0x4e606800 | 4<<5)   \
	WORD $(0x4e606800 | 5<<5)   \
	VEOR V4.B16, V4.B16, V4.B16 \
	VEOR V5.B16, V5.B16, V5.B16

// func dotSketchNEON(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)
TEXT ·dotSketchNEON(SB), NOSPLIT, $0-48
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
