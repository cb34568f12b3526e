//go:build !purego

#include "textflag.h"

// The float32 kernels of NEON, for any n. Four sums of four lanes hide the latency of the additions. The last elements
// of less than four are loaded one by one, each of which sets the other three lanes to 0.

// The assembler does not know these by name: FSUB Vd.4S, Vn.4S, Vm.4S and FADD and FADDP of the same form.
#define FSUB(m, n, d) WORD $(0x4ea0d400 | (m)<<16 | (n)<<5 | (d))
#define FADD(m, n, d) WORD $(0x4e20d400 | (m)<<16 | (n)<<5 | (d))
#define FADDP(m, n, d) WORD $(0x6e20d400 | (m)<<16 | (n)<<5 | (d))

#define BEGIN \
	VEOR V0.B16, V0.B16, V0.B16 \
	VEOR V1.B16, V1.B16, V1.B16 \
	VEOR V2.B16, V2.B16, V2.B16 \
	VEOR V3.B16, V3.B16, V3.B16

// SUM adds up V0..V3 into F0.
#define SUM \
	FADD(1, 0, 0)  \
	FADD(3, 2, 2)  \
	FADD(2, 0, 0)  \
	FADDP(0, 0, 0) \
	FADDP(0, 0, 0)

// func dotNEON(a, b *float32, n int) float32
TEXT ·dotNEON(SB), NOSPLIT, $0-28
	MOVD a+0(FP), R0
	MOVD b+8(FP), R1
	MOVD n+16(FP), R2
	BEGIN
	LSR  $4, R2, R3
	CBZ  R3, fours

loop:
	VLD1.P 64(R0), [V16.S4, V17.S4, V18.S4, V19.S4]
	VLD1.P 64(R1), [V20.S4, V21.S4, V22.S4, V23.S4]
	VFMLA  V20.S4, V16.S4, V0.S4
	VFMLA  V21.S4, V17.S4, V1.S4
	VFMLA  V22.S4, V18.S4, V2.S4
	VFMLA  V23.S4, V19.S4, V3.S4
	SUBS   $1, R3, R3
	BNE    loop

fours:
	UBFX $2, R2, $2, R3
	CBZ  R3, rest

four:
	VLD1.P 16(R0), [V16.S4]
	VLD1.P 16(R1), [V20.S4]
	VFMLA  V20.S4, V16.S4, V0.S4
	SUBS   $1, R3, R3
	BNE    four

rest:
	ANDS $3, R2, R3
	BEQ  done

one:
	FMOVS.P 4(R0), F16
	FMOVS.P 4(R1), F20
	VFMLA   V20.S4, V16.S4, V1.S4
	SUBS    $1, R3, R3
	BNE     one

done:
	SUM
	FMOVS F0, ret+24(FP)
	RET

// func l2NEON(a, b *float32, n int) float32
TEXT ·l2NEON(SB), NOSPLIT, $0-28
	MOVD a+0(FP), R0
	MOVD b+8(FP), R1
	MOVD n+16(FP), R2
	BEGIN
	LSR  $4, R2, R3
	CBZ  R3, fours

loop:
	VLD1.P 64(R0), [V16.S4, V17.S4, V18.S4, V19.S4]
	VLD1.P 64(R1), [V20.S4, V21.S4, V22.S4, V23.S4]
	FSUB(20, 16, 16)
	FSUB(21, 17, 17)
	FSUB(22, 18, 18)
	FSUB(23, 19, 19)
	VFMLA  V16.S4, V16.S4, V0.S4
	VFMLA  V17.S4, V17.S4, V1.S4
	VFMLA  V18.S4, V18.S4, V2.S4
	VFMLA  V19.S4, V19.S4, V3.S4
	SUBS   $1, R3, R3
	BNE    loop

fours:
	UBFX $2, R2, $2, R3
	CBZ  R3, rest

four:
	VLD1.P 16(R0), [V16.S4]
	VLD1.P 16(R1), [V20.S4]
	FSUB(20, 16, 16)
	VFMLA  V16.S4, V16.S4, V0.S4
	SUBS   $1, R3, R3
	BNE    four

rest:
	ANDS $3, R2, R3
	BEQ  done

one:
	FMOVS.P 4(R0), F16
	FMOVS.P 4(R1), F20
	FSUB(20, 16, 16)
	VFMLA   V16.S4, V16.S4, V1.S4
	SUBS    $1, R3, R3
	BNE     one

done:
	SUM
	FMOVS F0, ret+24(FP)
	RET
