//go:build !purego

#include "textflag.h"

// The float32 kernels of AVX2 and FMA, for any n. Four sums of eight lanes hide the latency of the additions. What
// remains of less than eight elements is loaded by a mask, which reads nothing beyond them.

// Eight int32 of -1, then eight of 0: the 32 bytes from 4*(8-r) on are the mask of the first r lanes.
DATA head8<>+0(SB)/8, $-1
DATA head8<>+8(SB)/8, $-1
DATA head8<>+16(SB)/8, $-1
DATA head8<>+24(SB)/8, $-1
DATA head8<>+32(SB)/8, $0
DATA head8<>+40(SB)/8, $0
DATA head8<>+48(SB)/8, $0
DATA head8<>+56(SB)/8, $0
GLOBL head8<>(SB), RODATA|NOPTR, $64

// MASK sets Y8 to the mask of the first R9 lanes, of 1..7. It destroys R9.
#define MASK \
	NEGQ    R9                \
	LEAQ    head8<>(SB), R8   \
	VMOVDQU 32(R8)(R9*4), Y8

// SUM adds up Y0..Y3 into the lowest lane of X0.
#define SUM \
	VADDPS       Y1, Y0, Y0    \
	VADDPS       Y3, Y2, Y2    \
	VADDPS       Y2, Y0, Y0    \
	VEXTRACTF128 $1, Y0, X1    \
	VADDPS       X1, X0, X0    \
	VMOVHLPS     X0, X0, X1    \
	VADDPS       X1, X0, X0    \
	VMOVSHDUP    X0, X1        \
	VADDSS       X1, X0, X0

// func dotAVX2(a, b *float32, n int) float32
TEXT ·dotAVX2(SB), NOSPLIT, $0-28
	MOVQ  a+0(FP), SI
	MOVQ  b+8(FP), DI
	MOVQ  n+16(FP), CX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	MOVQ  CX, R9
	ANDQ  $7, R9
	SUBQ  $32, CX
	JLT   eights

loop:
	VMOVUPS     (SI), Y4
	VMOVUPS     32(SI), Y5
	VMOVUPS     64(SI), Y6
	VMOVUPS     96(SI), Y7
	VFMADD231PS (DI), Y4, Y0
	VFMADD231PS 32(DI), Y5, Y1
	VFMADD231PS 64(DI), Y6, Y2
	VFMADD231PS 96(DI), Y7, Y3
	ADDQ        $128, SI
	ADDQ        $128, DI
	SUBQ        $32, CX
	JGE         loop

eights:
	ADDQ $24, CX
	JLT  rest

eight:
	VMOVUPS     (SI), Y4
	VFMADD231PS (DI), Y4, Y0
	ADDQ        $32, SI
	ADDQ        $32, DI
	SUBQ        $8, CX
	JGE         eight

rest:
	TESTQ       R9, R9
	JZ          done
	MASK
	VMASKMOVPS  (SI), Y8, Y4
	VMASKMOVPS  (DI), Y8, Y5
	VFMADD231PS Y5, Y4, Y1

done:
	SUM
	VMOVSS X0, ret+24(FP)
	VZEROUPPER
	RET

// func l2AVX2(a, b *float32, n int) float32
TEXT ·l2AVX2(SB), NOSPLIT, $0-28
	MOVQ  a+0(FP), SI
	MOVQ  b+8(FP), DI
	MOVQ  n+16(FP), CX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	MOVQ  CX, R9
	ANDQ  $7, R9
	SUBQ  $32, CX
	JLT   eights

loop:
	VMOVUPS     (SI), Y4
	VMOVUPS     32(SI), Y5
	VMOVUPS     64(SI), Y6
	VMOVUPS     96(SI), Y7
	VSUBPS      (DI), Y4, Y4
	VSUBPS      32(DI), Y5, Y5
	VSUBPS      64(DI), Y6, Y6
	VSUBPS      96(DI), Y7, Y7
	VFMADD231PS Y4, Y4, Y0
	VFMADD231PS Y5, Y5, Y1
	VFMADD231PS Y6, Y6, Y2
	VFMADD231PS Y7, Y7, Y3
	ADDQ        $128, SI
	ADDQ        $128, DI
	SUBQ        $32, CX
	JGE         loop

eights:
	ADDQ $24, CX
	JLT  rest

eight:
	VMOVUPS     (SI), Y4
	VSUBPS      (DI), Y4, Y4
	VFMADD231PS Y4, Y4, Y0
	ADDQ        $32, SI
	ADDQ        $32, DI
	SUBQ        $8, CX
	JGE         eight

rest:
	TESTQ       R9, R9
	JZ          done
	MASK
	VMASKMOVPS  (SI), Y8, Y4
	VMASKMOVPS  (DI), Y8, Y5
	VSUBPS      Y5, Y4, Y4
	VFMADD231PS Y4, Y4, Y1

done:
	SUM
	VMOVSS X0, ret+24(FP)
	VZEROUPPER
	RET

// func sumSquaresAVX2(v *float32, n int) float64
//
// Lanes 0..3 of the sum are in Y0, 4..7 in Y1, and are added as sumSquaresGeneric does.
TEXT ·sumSquaresAVX2(SB), NOSPLIT, $0-24
	MOVQ   v+0(FP), SI
	MOVQ   n+8(FP), CX
	VXORPD Y0, Y0, Y0
	VXORPD Y1, Y1, Y1
	TESTQ  CX, CX
	JZ     done

loop:
	VCVTPS2PD   (SI), Y2
	VCVTPS2PD   16(SI), Y3
	VFMADD231PD Y2, Y2, Y0
	VFMADD231PD Y3, Y3, Y1
	ADDQ        $32, SI
	SUBQ        $8, CX
	JNZ         loop

done:
	VADDPD       Y1, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VADDPD       X1, X0, X0
	VUNPCKHPD    X0, X0, X1
	VADDSD       X1, X0, X0
	VMOVSD       X0, ret+16(FP)
	VZEROUPPER
	RET
