//go:build !purego

#include "textflag.h"

// The kernels of AVX2 for int8 codes, for an n that is a multiple of 32.

// Dwords 0 4 1 5 2 6 3 7: what puts the dwords of two rounds of packing, which go by halves, into their order.
DATA unpack<>+0(SB)/8, $0x0000000400000000
DATA unpack<>+8(SB)/8, $0x0000000500000001
DATA unpack<>+16(SB)/8, $0x0000000600000002
DATA unpack<>+24(SB)/8, $0x0000000700000003
GLOBL unpack<>(SB), RODATA|NOPTR, $32

// MAGNITUDE raises acc to the magnitudes of eight floats. Of a NaN, VMAXPS returns its second operand, which is acc.
#define MAGNITUDE(mem, acc, t) \
	VANDPS mem, Y15, t    \
	VMAXPS acc, t, acc

// func maxAbsAVX2(v *float32, n int) float32
TEXT ·maxAbsAVX2(SB), NOSPLIT, $0-20
	MOVQ     v+0(FP), SI
	MOVQ     n+8(FP), CX
	VPCMPEQD Y15, Y15, Y15
	VPSRLD   $1, Y15, Y15
	VXORPS   Y0, Y0, Y0
	VXORPS   Y1, Y1, Y1
	VXORPS   Y2, Y2, Y2
	VXORPS   Y3, Y3, Y3
	TESTQ    CX, CX
	JZ       done

loop:
	MAGNITUDE((SI), Y0, Y4)
	MAGNITUDE(32(SI), Y1, Y5)
	MAGNITUDE(64(SI), Y2, Y6)
	MAGNITUDE(96(SI), Y3, Y7)
	ADDQ $128, SI
	SUBQ $32, CX
	JNZ  loop

done:
	VMAXPS       Y1, Y0, Y0
	VMAXPS       Y3, Y2, Y2
	VMAXPS       Y2, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VMAXPS       X1, X0, X0
	VMOVHLPS     X0, X0, X1
	VMAXPS       X1, X0, X0
	VMOVSHDUP    X0, X1
	VMAXSS       X1, X0, X0
	VMOVSS       X0, ret+16(FP)
	VZEROUPPER
	RET

// CODES sets y to the codes, int32 still, of eight floats: 0 for a NaN.
#define CODES(mem, y, t) \
	VMOVUPS   mem, y        \
	VCMPPS    $7, y, y, t   \
	VDIVPS    Y15, y, y     \
	VCVTPS2DQ y, y          \
	VPAND     t, y, y

// func quantizeAVX2(dst *int8, v *float32, n int, scale float32)
TEXT ·quantizeAVX2(SB), NOSPLIT, $0-28
	MOVQ         dst+0(FP), DI
	MOVQ         v+8(FP), SI
	MOVQ         n+16(FP), CX
	VBROADCASTSS scale+24(FP), Y15
	VMOVDQU      unpack<>(SB), Y14
	TESTQ        CX, CX
	JZ           done

loop:
	CODES((SI), Y0, Y4)
	CODES(32(SI), Y1, Y5)
	CODES(64(SI), Y2, Y6)
	CODES(96(SI), Y3, Y7)
	VPACKSSDW Y1, Y0, Y0
	VPACKSSDW Y3, Y2, Y2
	VPACKSSWB Y2, Y0, Y0
	VPERMD    Y0, Y14, Y0
	VMOVDQU   Y0, (DI)
	ADDQ      $32, DI
	ADDQ      $128, SI
	SUBQ      $32, CX
	JNZ       loop

done:
	VZEROUPPER
	RET

// FLOATS sets eight floats to the codes at mem, times Y15.
#define FLOATS(mem, to, y) \
	VPMOVSXBD mem, y    \
	VCVTDQ2PS y, y      \
	VMULPS    Y15, y, y \
	VMOVUPS   y, to

// func dequantizeAVX2(dst *float32, code *int8, n int, scale float32)
TEXT ·dequantizeAVX2(SB), NOSPLIT, $0-28
	MOVQ         dst+0(FP), DI
	MOVQ         code+8(FP), SI
	MOVQ         n+16(FP), CX
	VBROADCASTSS scale+24(FP), Y15
	TESTQ        CX, CX
	JZ           done

loop:
	FLOATS((SI), (DI), Y0)
	FLOATS(8(SI), 32(DI), Y1)
	FLOATS(16(SI), 64(DI), Y2)
	FLOATS(24(SI), 96(DI), Y3)
	ADDQ $32, SI
	ADDQ $128, DI
	SUBQ $32, CX
	JNZ  loop

done:
	VZEROUPPER
	RET
