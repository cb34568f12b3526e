// The body of DotI8 of both sets of int8 kernels: R0 and R8 are the vectors, R2 the length, of at least 16. The sum is
// in R6 afterwards. The one that includes it defines DOT16(x, y, acc), by the numbers of the registers: four int32 of acc
// plus the products of sixteen codes.
//
// A length that is no multiple of 16 is finished with the 16 bytes that end at its end, in which the codes that were
// taken before are masked to 0; thus nothing beyond a vector is read.

	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	AND  $15, R2, R7
	LSR  $6, R2, R4
	CBZ  R4, sixteens

loop:
	VLD1.P 64(R0), [V16.B16, V17.B16, V18.B16, V19.B16]
	VLD1.P 64(R8), [V20.B16, V21.B16, V22.B16, V23.B16]
	DOT16(16, 20, 0)
	DOT16(17, 21, 1)
	DOT16(18, 22, 2)
	DOT16(19, 23, 3)
	SUBS   $1, R4, R4
	BNE    loop

sixteens:
	UBFX $4, R2, $2, R4
	CBZ  R4, rest

sixteen:
	VLD1.P 16(R0), [V16.B16]
	VLD1.P 16(R8), [V20.B16]
	DOT16(16, 20, 0)
	SUBS   $1, R4, R4
	BNE    sixteen

rest:
	CBZ  R7, done
	MOVD $tail16<>(SB), R4
	ADD  R7, R4, R4
	VLD1 (R4), [V31.B16]
	SUB  $16, R7, R4
	ADD  R4, R0, R0
	ADD  R4, R8, R8
	VLD1 (R0), [V16.B16]
	VLD1 (R8), [V20.B16]
	VAND V31.B16, V16.B16, V16.B16
	DOT16(16, 20, 0)

done:
	VADD  V1.S4, V0.S4, V0.S4
	VADD  V3.S4, V2.S4, V2.S4
	VADD  V2.S4, V0.S4, V0.S4
	VADDV V0.S4, V0
	VMOV  V0.S[0], R6
