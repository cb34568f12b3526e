//go:build !purego

#include "textflag.h"

// The kernels of F16C, for an n that is a multiple of 8.

// func decodeF16C(dst *float32, src *byte, n int)
TEXT ·decodeF16C(SB), NOSPLIT, $0-24
	MOVQ  dst+0(FP), DI
	MOVQ  src+8(FP), SI
	MOVQ  n+16(FP), CX
	TESTQ CX, CX
	JZ    done

loop:
	VCVTPH2PS (SI), Y0
	VMOVUPS   Y0, (DI)
	ADDQ      $16, SI
	ADDQ      $32, DI
	SUBQ      $8, CX
	JNZ       loop

done:
	VZEROUPPER
	RET

// func encodeF16C(dst *byte, src *float32, n int)
//
// The immediate 0 rounds to the nearest, to even.
TEXT ·encodeF16C(SB), NOSPLIT, $0-24
	MOVQ  dst+0(FP), DI
	MOVQ  src+8(FP), SI
	MOVQ  n+16(FP), CX
	TESTQ CX, CX
	JZ    done

loop:
	VMOVUPS   (SI), Y0
	VCVTPS2PH $0, Y0, (DI)
	ADDQ      $32, SI
	ADDQ      $16, DI
	SUBQ      $8, CX
	JNZ       loop

done:
	VZEROUPPER
	RET
