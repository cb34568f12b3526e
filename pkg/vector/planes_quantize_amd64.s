//go:build !purego

#include "textflag.h"

// The kernels of AVX2 that make codes in bit planes and read them.

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

// func planeLevelsAVX2(levels *byte, v *float32, n int, scale float32, sums *planeSums)
TEXT ·planeLevelsAVX2(SB), NOSPLIT, $0-40
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

// PACK doubles the bytes of plane and adds the bit of Y4 that is set in mask.
#define PACK(mask, plane, t) \
	VPAND    mask, Y4, t         \
	VPCMPEQB mask, t, t          \
	VPADDB   plane, plane, plane \
	VPSUBB   t, plane, plane

// func packPlanesAVX2(bits *planeBits, levels *planeLevels, r int)
//
// Row b of the levels, 32 of them at b*r, is bit b of the planes. It begins with the row of the highest bit.
TEXT ·packPlanesAVX2(SB), NOSPLIT, $0-24
	MOVQ     bits+0(FP), DI
	MOVQ     levels+8(FP), SI
	MOVQ     r+16(FP), DX
	LEAQ     (DX)(DX*2), AX
	LEAQ     (AX)(DX*4), AX
	ADDQ     SI, AX
	VPCMPEQD Y15, Y15, Y15
	VPABSB   Y15, Y15
	VPADDB   Y15, Y15, Y14
	VPADDB   Y14, Y14, Y13
	VPADDB   Y13, Y13, Y12
	VPXOR    Y0, Y0, Y0
	VPXOR    Y1, Y1, Y1
	VPXOR    Y2, Y2, Y2
	VPXOR    Y3, Y3, Y3

loop:
	VMOVDQU (AX), Y4
	PACK(Y12, Y0, Y5)
	PACK(Y13, Y1, Y6)
	PACK(Y14, Y2, Y7)
	PACK(Y15, Y3, Y8)
	SUBQ    DX, AX
	CMPQ    AX, SI
	JGE     loop

	VMOVDQU Y0, (DI)
	VMOVDQU Y1, 32(DI)
	VMOVDQU Y2, 64(DI)
	VMOVDQU Y3, 96(DI)
	VZEROUPPER
	RET

// UNPACK doubles Y4 and takes 1 from it where the bit of plane that is set in Y15 is set.
#define UNPACK(plane, t) \
	VPAND    plane, Y15, t \
	VPCMPEQB Y15, t, t     \
	VPADDB   Y4, Y4, Y4    \
	VPADDB   t, Y4, Y4

// func unpackPlanesAVX2(dst *[planeComponents]int8, bits *planeBits)
//
// Y15 is bit b of each byte, from which row b of dst comes: -(-2u) - 15.
TEXT ·unpackPlanesAVX2(SB), NOSPLIT, $0-16
	MOVQ     dst+0(FP), DI
	MOVQ     bits+8(FP), SI
	VMOVDQU  (SI), Y0
	VMOVDQU  32(SI), Y1
	VMOVDQU  64(SI), Y2
	VMOVDQU  96(SI), Y3
	VPCMPEQD Y15, Y15, Y15
	VPSLLW   $4, Y15, Y14
	VPABSB   Y15, Y15
	VPACKSSWB Y14, Y14, Y14
	VPADDB   Y15, Y14, Y14
	MOVQ     $8, CX

loop:
	VPXOR   Y4, Y4, Y4
	UNPACK(Y0, Y5)
	UNPACK(Y1, Y6)
	UNPACK(Y2, Y7)
	UNPACK(Y3, Y8)
	VPADDB  Y4, Y4, Y4
	VPSUBB  Y4, Y14, Y4
	VMOVDQU Y4, (DI)
	VPADDB  Y15, Y15, Y15
	ADDQ    $32, DI
	DECQ    CX
	JNZ     loop
	VZEROUPPER
	RET
