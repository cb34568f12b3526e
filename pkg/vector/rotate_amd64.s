//go:build !purego

#include "textflag.h"

// The kernels of AVX2 and FMA for rotations. An FMA with a factor of 1 or -1 is an addition or a subtraction that is
// rounded as any other.

// The signs of the second operands where neighbours, pairs and quadruples are added and subtracted.
DATA signs<>+0(SB)/8, $0xbf8000003f800000
DATA signs<>+8(SB)/8, $0xbf8000003f800000
DATA signs<>+16(SB)/8, $0xbf8000003f800000
DATA signs<>+24(SB)/8, $0xbf8000003f800000
DATA signs<>+32(SB)/8, $0x3f8000003f800000
DATA signs<>+40(SB)/8, $0xbf800000bf800000
DATA signs<>+48(SB)/8, $0x3f8000003f800000
DATA signs<>+56(SB)/8, $0xbf800000bf800000
DATA signs<>+64(SB)/8, $0x3f8000003f800000
DATA signs<>+72(SB)/8, $0x3f8000003f800000
DATA signs<>+80(SB)/8, $0xbf800000bf800000
DATA signs<>+88(SB)/8, $0xbf800000bf800000
GLOBL signs<>(SB), RODATA|NOPTR, $96

DATA cosine<>+0(SB)/4, $0x3f3504f3 // √2/2
GLOBL cosine<>(SB), RODATA|NOPTR, $4

// WITHIN sets y to eight floats times their factors, transformed by eight.
#define WITHIN(at, y) \
	VMOVUPS     at(SI), y         \
	VMULPS      at(DX), y, y      \
	VPERMILPS   $0xb1, y, Y8      \
	VFMADD213PS Y8, Y15, y        \
	VPERMILPS   $0x4e, y, Y8      \
	VFMADD213PS Y8, Y14, y        \
	VPERM2F128  $0x01, y, y, Y8   \
	VFMADD213PS Y8, Y13, y

// SUMS replaces a and b by their sum and difference.
#define SUMS(a, b) \
	VSUBPS  b, a, Y8 \
	VADDPS  b, a, a  \
	VMOVAPS Y8, b

// EIGHT transforms Y0..Y7.
#define EIGHT \
	SUMS(Y0, Y1) \
	SUMS(Y2, Y3) \
	SUMS(Y4, Y5) \
	SUMS(Y6, Y7) \
	SUMS(Y0, Y2) \
	SUMS(Y1, Y3) \
	SUMS(Y4, Y6) \
	SUMS(Y5, Y7) \
	SUMS(Y0, Y4) \
	SUMS(Y1, Y5) \
	SUMS(Y2, Y6) \
	SUMS(Y3, Y7)

// func hadamardAVX2(v, factors *float32, n int)
//
// It transforms blocks of 64, which fit into registers, then by eight such blocks at a time, then by two what is left.
TEXT ·hadamardAVX2(SB), NOSPLIT, $0-24
	MOVQ    v+0(FP), DI
	MOVQ    factors+8(FP), DX
	MOVQ    n+16(FP), CX
	VMOVUPS signs<>+0(SB), Y15
	VMOVUPS signs<>+32(SB), Y14
	VMOVUPS signs<>+64(SB), Y13
	LEAQ    (DI)(CX*4), BX
	MOVQ    DI, SI

block:
	WITHIN(0, Y0)
	WITHIN(32, Y1)
	WITHIN(64, Y2)
	WITHIN(96, Y3)
	WITHIN(128, Y4)
	WITHIN(160, Y5)
	WITHIN(192, Y6)
	WITHIN(224, Y7)
	EIGHT
	VMOVUPS Y0, (SI)
	VMOVUPS Y1, 32(SI)
	VMOVUPS Y2, 64(SI)
	VMOVUPS Y3, 96(SI)
	VMOVUPS Y4, 128(SI)
	VMOVUPS Y5, 160(SI)
	VMOVUPS Y6, 192(SI)
	VMOVUPS Y7, 224(SI)
	ADDQ    $256, DX
	ADDQ    $256, SI
	CMPQ    SI, BX
	JLT     block

	// AX is the distance of two elements that are added, in bytes, and CX the length of v.
	MOVQ $256, AX
	SHLQ $2, CX

passes:
	LEAQ (AX*8), R8
	CMPQ R8, CX
	JGT  pairs
	MOVQ DI, SI

eights:
	// SI and R9 are the elements 0 and 4 of the next eight, and R10 is where their 0 ends.
	LEAQ (AX)(AX*2), R11
	LEAQ (SI)(AX*1), R10

eight:
	LEAQ    (SI)(AX*4), R9
	VMOVUPS (SI), Y0
	VMOVUPS (SI)(AX*1), Y1
	VMOVUPS (SI)(AX*2), Y2
	VMOVUPS (SI)(R11*1), Y3
	VMOVUPS (R9), Y4
	VMOVUPS (R9)(AX*1), Y5
	VMOVUPS (R9)(AX*2), Y6
	VMOVUPS (R9)(R11*1), Y7
	EIGHT
	VMOVUPS Y0, (SI)
	VMOVUPS Y1, (SI)(AX*1)
	VMOVUPS Y2, (SI)(AX*2)
	VMOVUPS Y3, (SI)(R11*1)
	VMOVUPS Y4, (R9)
	VMOVUPS Y5, (R9)(AX*1)
	VMOVUPS Y6, (R9)(AX*2)
	VMOVUPS Y7, (R9)(R11*1)
	ADDQ    $32, SI
	CMPQ    SI, R10
	JLT     eight

	SUBQ AX, SI
	ADDQ R8, SI
	CMPQ SI, BX
	JLT  eights
	MOVQ R8, AX
	JMP  passes

pairs:
	CMPQ AX, CX
	JGE  done
	MOVQ DI, SI

two:
	LEAQ (SI)(AX*1), R10

pair:
	VMOVUPS (SI), Y0
	VMOVUPS (SI)(AX*1), Y1
	VADDPS  Y1, Y0, Y2
	VSUBPS  Y1, Y0, Y3
	VMOVUPS Y2, (SI)
	VMOVUPS Y3, (SI)(AX*1)
	ADDQ    $32, SI
	CMPQ    SI, R10
	JLT     pair

	ADDQ AX, SI
	CMPQ SI, BX
	JLT  two
	ADDQ AX, AX
	JMP  pairs

done:
	VZEROUPPER
	RET

// func turnAVX2(low, high *float32, n int)
TEXT ·turnAVX2(SB), NOSPLIT, $0-24
	MOVQ         low+0(FP), SI
	MOVQ         high+8(FP), DI
	MOVQ         n+16(FP), CX
	VBROADCASTSS cosine<>(SB), Y15
	TESTQ        CX, CX
	JZ           done

loop:
	VMOVUPS (SI), Y0
	VMOVUPS (DI), Y1
	VADDPS  Y1, Y0, Y2
	VSUBPS  Y1, Y0, Y3
	VMULPS  Y15, Y2, Y2
	VMULPS  Y15, Y3, Y3
	VMOVUPS Y2, (SI)
	VMOVUPS Y3, (DI)
	ADDQ    $32, SI
	ADDQ    $32, DI
	SUBQ    $8, CX
	JNZ     loop

done:
	VZEROUPPER
	RET
