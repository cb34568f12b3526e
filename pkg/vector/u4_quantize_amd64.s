//go:build !purego

#include "textflag.h"

// The kernel of AVX2 that finds the levels of a code of four bits.

DATA levels<>+0(SB)/4, $0xc1000000  // -8
DATA levels<>+4(SB)/4, $0x40e00000  // 7
DATA levels<>+8(SB)/4, $0x3f800000  // 1
DATA levels<>+12(SB)/4, $0x08080808 // 8 in each byte
GLOBL levels<>(SB), RODATA|NOPTR, $16

// Dwords 0 4 1 5 2 6 3 7: what puts the dwords of two rounds of packing, which go by halves, into their order.
DATA order<>+0(SB)/8, $0x0000000400000000
DATA order<>+8(SB)/8, $0x0000000500000001
DATA order<>+16(SB)/8, $0x0000000600000002
DATA order<>+24(SB)/8, $0x0000000700000003
GLOBL order<>(SB), RODATA|NOPTR, $32

// LEVELS sets y to the numbers, less 8 and int32 still, of eight floats, and adds to the sums Y8 and Y9.
#define LEVELS(mem, y) \
	VMULPS     mem, Y15, Y4  \
	VROUNDPS   $1, Y4, y     \
	VMAXPS     Y14, y, y     \
	VMINPS     Y13, y, y     \
	VADDPS     y, y, Y5      \
	VADDPS     Y12, Y5, Y5   \
	VMULPS     Y4, Y5, Y5    \
	VADDPS     Y5, Y9, Y9    \
	VANDPS     Y11, Y4, Y4   \
	VADDPS     Y4, Y8, Y8    \
	VCVTTPS2DQ y, y

// func u4LevelsAVX2(levels *byte, v *float32, n int, scale float32, sums *u4Sums)
TEXT ·u4LevelsAVX2(SB), NOSPLIT, $0-40
	MOVQ         levels+0(FP), DI
	MOVQ         v+8(FP), SI
	MOVQ         n+16(FP), CX
	VBROADCASTSS scale+24(FP), Y15
	MOVQ         sums+32(FP), DX
	VMOVUPS      (DX), Y8
	VMOVUPS      32(DX), Y9
	VBROADCASTSS levels<>+0(SB), Y14
	VBROADCASTSS levels<>+4(SB), Y13
	VBROADCASTSS levels<>+8(SB), Y12
	VBROADCASTSS levels<>+12(SB), Y10
	VPCMPEQD     Y11, Y11, Y11
	VPSRLD       $1, Y11, Y11
	VMOVDQU      order<>(SB), Y7
	TESTQ        CX, CX
	JZ           done

loop:
	LEVELS((SI), Y0)
	LEVELS(32(SI), Y1)
	LEVELS(64(SI), Y2)
	LEVELS(96(SI), Y3)
	VPACKSSDW Y1, Y0, Y0
	VPACKSSDW Y3, Y2, Y2
	VPACKSSWB Y2, Y0, Y0
	VPERMD    Y0, Y7, Y0
	VPADDB    Y10, Y0, Y0
	VMOVDQU   Y0, (DI)
	ADDQ      $32, DI
	ADDQ      $128, SI
	SUBQ      $32, CX
	JNZ       loop

done:
	VMOVUPS Y8, (DX)
	VMOVUPS Y9, 32(DX)
	VZEROUPPER
	RET
