// The body of DotI8List of both sets of int8 kernels: R0 is q, R1 the addresses of the rows, R2 the length, of at least
// 16, R3 where the sums go, R5 their count. See i8_dot_arm64.h for DOT16 and the end of a row.
//
// Rows are taken four at a time, for which q is loaded once. The lines of the four rows that come next are asked for
// meanwhile. Three rows that remain, or two, are taken as four, the addresses behind those of the rows being those of
// other rows; the sums of these are not stored.

// ROW adds to acc the products of 64 codes of the row at r and those of V16..V19.
#define ROW(r, acc) \
	VLD1.P 64(r), [V20.B16, V21.B16, V22.B16, V23.B16] \
	DOT16(16, 20, acc) \
	DOT16(17, 21, acc) \
	DOT16(18, 22, acc) \
	DOT16(19, 23, acc)

// ROW16 adds to acc the products of 16 codes of the row at r and those of V16.
#define ROW16(r, acc) \
	VLD1.P 16(r), [V20.B16] \
	DOT16(16, 20, acc)

	AND  $15, R2, R7
	MOVD $tail16<>(SB), R4
	ADD  R7, R4, R4
	VLD1 (R4), [V31.B16]
	SUB  $16, R7, R17 // from the end of the last whole sixteen codes to the begin of the last sixteen
	CMP  $1, R5
	BEQ  one
	BLT  done

four:
	LDP  (R1), (R8, R9)
	LDP  16(R1), (R10, R11)
	LDP  32(R1), (R12, R13)
	LDP  48(R1), (R14, R15)
	MOVD R0, R16
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	LSR  $6, R2, R4
	CBZ  R4, foursixteens

fourloop:
	VLD1.P 64(R16), [V16.B16, V17.B16, V18.B16, V19.B16]
	PRFM   (R12), PLDL2KEEP
	PRFM   (R13), PLDL2KEEP
	PRFM   (R14), PLDL2KEEP
	PRFM   (R15), PLDL2KEEP
	ADD    $64, R12, R12
	ADD    $64, R13, R13
	ADD    $64, R14, R14
	ADD    $64, R15, R15
	ROW(R8, 0)
	ROW(R9, 1)
	ROW(R10, 2)
	ROW(R11, 3)
	SUBS   $1, R4, R4
	BNE    fourloop

foursixteens:
	UBFX $4, R2, $2, R4
	CBZ  R4, fourrest

foursixteen:
	VLD1.P 16(R16), [V16.B16]
	ROW16(R8, 0)
	ROW16(R9, 1)
	ROW16(R10, 2)
	ROW16(R11, 3)
	SUBS   $1, R4, R4
	BNE    foursixteen

fourrest:
	CBZ  R7, foursum
	ADD  R17, R16, R16
	ADD  R17, R8, R8
	ADD  R17, R9, R9
	ADD  R17, R10, R10
	ADD  R17, R11, R11
	VLD1 (R16), [V16.B16]
	VAND V31.B16, V16.B16, V16.B16
	ROW16(R8, 0)
	ROW16(R9, 1)
	ROW16(R10, 2)
	ROW16(R11, 3)

foursum:
	VADDP  V1.S4, V0.S4, V0.S4
	VADDP  V3.S4, V2.S4, V2.S4
	VADDP  V2.S4, V0.S4, V0.S4
	SUB    $4, R5, R5
	TBNZ   $63, R5, part
	VST1.P [V0.S4], 16(R3)
	ADD    $32, R1, R1
	CMP    $1, R5
	BGT    four
	BEQ    one
	B      done

part:
	FMOVD F0, (R3)
	CMN   $1, R5
	BNE   done
	VMOV  V0.S[2], R4
	MOVW  R4, 8(R3)
	B     done

one:
	MOVD (R1), R8
	VEOR V0.B16, V0.B16, V0.B16
	LSR  $4, R2, R4

onesixteen:
	VLD1.P 16(R0), [V16.B16]
	ROW16(R8, 0)
	SUBS   $1, R4, R4
	BNE    onesixteen

	CBZ  R7, onesum
	ADD  R17, R0, R0
	ADD  R17, R8, R8
	VLD1 (R0), [V16.B16]
	VAND V31.B16, V16.B16, V16.B16
	ROW16(R8, 0)

onesum:
	VADDV V0.S4, V0
	FMOVS F0, (R3)

done:
