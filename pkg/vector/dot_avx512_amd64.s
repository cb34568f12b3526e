//go:build !purego

#include "textflag.h"

// The float32 kernels of AVX-512F, for any n: those of AVX2 at twice the width. What remains of less than sixteen
// elements is loaded by a mask.

// MASK sets K1 to the lowest R9 bits, of 1..15. It destroys CX and R9.
#define MASK \
	MOVQ  R9, CX  \
	MOVL  $1, R9  \
	SHLL  CX, R9  \
	DECL  R9      \
	KMOVW R9, K1

// SUM adds up Z0..Z3 into the lowest lane of X0.
#define SUM \
	VADDPS        Z1, Z0, Z0    \
	VADDPS        Z3, Z2, Z2    \
	VADDPS        Z2, Z0, Z0    \
	VEXTRACTF64X4 $1, Z0, Y1    \
	VADDPS        Y1, Y0, Y0    \
	VEXTRACTF128  $1, Y0, X1    \
	VADDPS        X1, X0, X0    \
	VMOVHLPS      X0, X0, X1    \
	VADDPS        X1, X0, X0    \
	VMOVSHDUP     X0, X1        \
	VADDSS        X1, X0, X0

// func dotAVX512(a, b *float32, n int) float32
TEXT ·dotAVX512(SB), NOSPLIT, $0-28
	MOVQ   a+0(FP), SI
	MOVQ   b+8(FP), DI
	MOVQ   n+16(FP), CX
	VXORPS Z0, Z0, Z0
	VXORPS Z1, Z1, Z1
	VXORPS Z2, Z2, Z2
	VXORPS Z3, Z3, Z3
	MOVQ   CX, R9
	ANDQ   $15, R9
	SUBQ   $64, CX
	JLT    sixteens

loop:
	VMOVUPS     (SI), Z4
	VMOVUPS     64(SI), Z5
	VMOVUPS     128(SI), Z6
	VMOVUPS     192(SI), Z7
	VFMADD231PS (DI), Z4, Z0
	VFMADD231PS 64(DI), Z5, Z1
	VFMADD231PS 128(DI), Z6, Z2
	VFMADD231PS 192(DI), Z7, Z3
	ADDQ        $256, SI
	ADDQ        $256, DI
	SUBQ        $64, CX
	JGE         loop

sixteens:
	ADDQ $48, CX
	JLT  rest

sixteen:
	VMOVUPS     (SI), Z4
	VFMADD231PS (DI), Z4, Z0
	ADDQ        $64, SI
	ADDQ        $64, DI
	SUBQ        $16, CX
	JGE         sixteen

rest:
	TESTQ       R9, R9
	JZ          done
	MASK
	VMOVUPS.Z   (SI), K1, Z4
	VMOVUPS.Z   (DI), K1, Z5
	VFMADD231PS Z5, Z4, Z1

done:
	SUM
	VMOVSS X0, ret+24(FP)
	VZEROUPPER
	RET

// func l2AVX512(a, b *float32, n int) float32
TEXT ·l2AVX512(SB), NOSPLIT, $0-28
	MOVQ   a+0(FP), SI
	MOVQ   b+8(FP), DI
	MOVQ   n+16(FP), CX
	VXORPS Z0, Z0, Z0
	VXORPS Z1, Z1, Z1
	VXORPS Z2, Z2, Z2
	VXORPS Z3, Z3, Z3
	MOVQ   CX, R9
	ANDQ   $15, R9
	SUBQ   $64, CX
	JLT    sixteens

loop:
	VMOVUPS     (SI), Z4
	VMOVUPS     64(SI), Z5
	VMOVUPS     128(SI), Z6
	VMOVUPS     192(SI), Z7
	VSUBPS      (DI), Z4, Z4
	VSUBPS      64(DI), Z5, Z5
	VSUBPS      128(DI), Z6, Z6
	VSUBPS      192(DI), Z7, Z7
	VFMADD231PS Z4, Z4, Z0
	VFMADD231PS Z5, Z5, Z1
	VFMADD231PS Z6, Z6, Z2
	VFMADD231PS Z7, Z7, Z3
	ADDQ        $256, SI
	ADDQ        $256, DI
	SUBQ        $64, CX
	JGE         loop

sixteens:
	ADDQ $48, CX
	JLT  rest

sixteen:
	VMOVUPS     (SI), Z4
	VSUBPS      (DI), Z4, Z4
	VFMADD231PS Z4, Z4, Z0
	ADDQ        $64, SI
	ADDQ        $64, DI
	SUBQ        $16, CX
	JGE         sixteen

rest:
	TESTQ       R9, R9
	JZ          done
	MASK
	VMOVUPS.Z   (SI), K1, Z4
	VMOVUPS.Z   (DI), K1, Z5
	VSUBPS      Z5, Z4, Z4
	VFMADD231PS Z4, Z4, Z1

done:
	SUM
	VMOVSS X0, ret+24(FP)
	VZEROUPPER
	RET
