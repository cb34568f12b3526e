//go:build !purego

#include "textflag.h"

// The int8 kernels of AVX-512 BW and VNNI, for any n.
//
// VPDPBUSD adds four products of an unsigned and a signed byte to an int32, without saturation. The codes x of a row
// become unsigned by XOR 0x80, which is x+128; thus the sums are 128*sum(q) too large. The same instruction on bytes of
// 0x80 and q computes that excess.
//
// What remains of less than 64 codes is loaded by a mask. The lanes beyond have a q of 0, to which a row of any value
// adds nothing.

// BIAS sets Z31 to bytes of 0x80: magnitude of the int8 -128.
#define BIAS \
	MOVL         $0x80, AX \
	VPBROADCASTB AX, Z31

// MASK sets K1 to the lowest R12 bits, of 1..63. It destroys R13, and CX is R12 afterwards.
#define MASK \
	MOVQ  R12, CX  \
	MOVQ  $1, R13  \
	SHLQ  CX, R13  \
	DECQ  R13      \
	KMOVQ R13, K1

// ROW adds to acc the products of 64 codes of a row and those of Z30.
#define ROW(mem, acc, t) \
	VPXORQ   mem, Z31, t \
	VPDPBUSD Z30, t, acc

// ROWTAIL is ROW for the last codes, those of K1.
#define ROWTAIL(mem, acc, t) \
	VMOVDQU8.Z mem, K1, t  \
	VPXORQ     t, Z31, t   \
	VPDPBUSD   Z30, t, acc

// SUM1 adds up the sixteen int32 of Z0 into the lowest of X0.
#define SUM1 \
	VEXTRACTI64X4 $1, Z0, Y1    \
	VPADDD        Y1, Y0, Y0    \
	VEXTRACTI128  $1, Y0, X1    \
	VPADDD        X1, X0, X0    \
	VPSHUFD       $0xee, X0, X1 \
	VPADDD        X1, X0, X0    \
	VPSHUFD       $0x55, X0, X1 \
	VPADDD        X1, X0, X0

// HALF adds the upper half of the sixteen int32 of z to the lower one, y.
#define HALF(z, y) \
	VEXTRACTI64X4 $1, z, Y8 \
	VPADDD        Y8, y, y

// SUM4 adds up each of Z0..Z3 into one of the four int32 of X0, in their order.
#define SUM4 \
	HALF(Z0, Y0)            \
	HALF(Z1, Y1)            \
	HALF(Z2, Y2)            \
	HALF(Z3, Y3)            \
	VPHADDD      Y1, Y0, Y0 \
	VPHADDD      Y3, Y2, Y2 \
	VPHADDD      Y2, Y0, Y0 \
	VEXTRACTI128 $1, Y0, X1 \
	VPADDD       X1, X0, X0

// func dotI8VNNI(a, b *int8, n int) int32
TEXT ·dotI8VNNI(SB), NOSPLIT, $0-28
	MOVQ   a+0(FP), SI
	MOVQ   b+8(FP), R8
	MOVQ   n+16(FP), BX
	BIAS
	VPXORQ Z0, Z0, Z0
	VPXORQ Z1, Z1, Z1
	MOVQ   BX, R12
	ANDQ   $63, R12
	SUBQ   R12, BX
	XORQ   AX, AX
	TESTQ  BX, BX
	JZ     rest

loop:
	VMOVDQU64 (SI)(AX*1), Z30
	ROW((R8)(AX*1), Z0, Z4)
	VPDPBUSD  Z30, Z31, Z1
	ADDQ      $64, AX
	CMPQ      AX, BX
	JLT       loop

rest:
	TESTQ      R12, R12
	JZ         done
	MASK
	VMOVDQU8.Z (SI)(AX*1), K1, Z30
	ROWTAIL((R8)(AX*1), Z0, Z4)
	VPDPBUSD   Z30, Z31, Z1

done:
	VPSUBD Z1, Z0, Z0
	SUM1
	VMOVD  X0, AX
	MOVL   AX, ret+24(FP)
	VZEROUPPER
	RET

// func dotI8GatherVNNI(q *int8, n int, rows *unsafe.Pointer, out *int32, count int)
//
// It goes as dotI8GatherAVX2 does. Z29 is the excess, in sixteen parts, with which a sum begins below zero.
TEXT ·dotI8GatherVNNI(SB), NOSPLIT, $0-40
	MOVQ   q+0(FP), SI
	MOVQ   n+8(FP), BX
	MOVQ   rows+16(FP), R9
	MOVQ   out+24(FP), DI
	BIAS
	VPXORQ Z29, Z29, Z29
	MOVQ   BX, R12
	ANDQ   $63, R12
	MASK
	SUBQ   R12, BX
	XORQ   AX, AX
	TESTQ  BX, BX
	JZ     excessrest

excess:
	VMOVDQU64 (SI)(AX*1), Z30
	VPDPBUSD  Z30, Z31, Z29
	ADDQ      $64, AX
	CMPQ      AX, BX
	JLT       excess

excessrest:
	VMOVDQU8.Z (SI)(AX*1), K1, Z30
	VPDPBUSD   Z30, Z31, Z29
	VPXORQ     Z0, Z0, Z0
	VPSUBD     Z29, Z0, Z29
	MOVQ       count+32(FP), CX
	CMPQ       CX, $1
	JEQ        one
	JLT        done

four:
	MOVQ      (R9), R8
	MOVQ      8(R9), R10
	MOVQ      16(R9), R11
	MOVQ      24(R9), DX
	VMOVDQA64 Z29, Z0
	VMOVDQA64 Z29, Z1
	VMOVDQA64 Z29, Z2
	VMOVDQA64 Z29, Z3
	XORQ      AX, AX
	TESTQ     BX, BX
	JZ        fourrest

fourloop:
	VMOVDQU64  (SI)(AX*1), Z30
	ROW((R8)(AX*1), Z0, Z4)
	ROW((R10)(AX*1), Z1, Z5)
	ROW((R11)(AX*1), Z2, Z6)
	ROW((DX)(AX*1), Z3, Z7)
	MOVQ       32(R9), R13
	PREFETCHT1 (R13)(AX*1)
	MOVQ       40(R9), R13
	PREFETCHT1 (R13)(AX*1)
	MOVQ       48(R9), R13
	PREFETCHT1 (R13)(AX*1)
	MOVQ       56(R9), R13
	PREFETCHT1 (R13)(AX*1)
	ADDQ       $64, AX
	CMPQ       AX, BX
	JLT        fourloop

fourrest:
	TESTQ      R12, R12
	JZ         foursum
	VMOVDQU8.Z (SI)(AX*1), K1, Z30
	ROWTAIL((R8)(AX*1), Z0, Z4)
	ROWTAIL((R10)(AX*1), Z1, Z5)
	ROWTAIL((R11)(AX*1), Z2, Z6)
	ROWTAIL((DX)(AX*1), Z3, Z7)

foursum:
	SUM4
	SUBQ    $4, CX
	JLT     part
	VMOVDQU X0, (DI)
	ADDQ    $16, DI
	ADDQ    $32, R9
	CMPQ    CX, $1
	JGT     four
	JEQ     one

done:
	VZEROUPPER
	RET

part:
	VMOVQ   X0, (DI)
	CMPQ    CX, $-1
	JNE     done
	VPEXTRD $2, X0, 8(DI)
	VZEROUPPER
	RET

one:
	MOVQ      (R9), R8
	VMOVDQA64 Z29, Z0
	XORQ      AX, AX
	TESTQ     BX, BX
	JZ        onerest

oneloop:
	VMOVDQU64 (SI)(AX*1), Z30
	ROW((R8)(AX*1), Z0, Z4)
	ADDQ      $64, AX
	CMPQ      AX, BX
	JLT       oneloop

onerest:
	TESTQ      R12, R12
	JZ         onesum
	VMOVDQU8.Z (SI)(AX*1), K1, Z30
	ROWTAIL((R8)(AX*1), Z0, Z4)

onesum:
	SUM1
	VMOVD X0, (DI)
	VZEROUPPER
	RET
