//go:build !purego

#include "textflag.h"

// The int8 kernels of AVX2. They take n of at least 32.
//
// VPMADDUBSW multiplies unsigned bytes by signed ones and adds neighbours into int16 with saturation. The unsigned
// operand is |q|, and VPSIGNB moves the sign of q to the row: |q|·(row·sign q) = q·row. Codes are -127..127, so that
// a pair is at most 2·127·127 = 32258 and nothing saturates. VPMADDWD by ones adds the pairs into int32.
//
// A length that is no multiple of 32 is finished with the 32 bytes that end at its end, in which the bytes of q that were
// taken before are masked to 0; thus nothing beyond a row is read.

// 32 bytes of 0, then 32 of 0xff: the 32 bytes from r on keep the last r bytes of a load.
DATA tail32<>+0(SB)/8, $0
DATA tail32<>+8(SB)/8, $0
DATA tail32<>+16(SB)/8, $0
DATA tail32<>+24(SB)/8, $0
DATA tail32<>+32(SB)/8, $-1
DATA tail32<>+40(SB)/8, $-1
DATA tail32<>+48(SB)/8, $-1
DATA tail32<>+56(SB)/8, $-1
GLOBL tail32<>(SB), RODATA|NOPTR, $64

// ONES sets Y15 to int16 ones.
#define ONES \
	VPCMPEQD Y15, Y15, Y15 \
	VPABSW   Y15, Y15

// QUERY sets Y14 to 32 bytes of q and Y13 to their magnitudes.
#define QUERY(mem) \
	VMOVDQU mem, Y14 \
	VPABSB  Y14, Y13

// ROW adds to acc the products of Y14 and 32 bytes of a row.
#define ROW(mem, acc, t) \
	VMOVDQU    mem, t       \
	VPSIGNB    Y14, t, t    \
	VPMADDUBSW t, Y13, t    \
	VPMADDWD   Y15, t, t    \
	VPADDD     t, acc, acc

// TAIL masks Y14 to its last r bytes, in which R12 is r, and takes their magnitudes again. It destroys R13.
#define TAIL(r) \
	LEAQ    tail32<>(SB), R13 \
	VPAND   (R13)(r*1), Y14, Y14 \
	VPABSB  Y14, Y13

// ROWS is ROW for four rows, into Y0..Y3.
#define ROWS(offset, at) \
	ROW(offset(R8)(at*1), Y0, Y4)  \
	ROW(offset(R10)(at*1), Y1, Y5) \
	ROW(offset(R11)(at*1), Y2, Y6) \
	ROW(offset(DX)(at*1), Y3, Y7)

// SUM1 adds up the eight int32 of Y0 into the lowest of X0.
#define SUM1 \
	VEXTRACTI128 $1, Y0, X1  \
	VPADDD       X1, X0, X0  \
	VPSHUFD      $0xee, X0, X1 \
	VPADDD       X1, X0, X0  \
	VPSHUFD      $0x55, X0, X1 \
	VPADDD       X1, X0, X0

// SUM4 adds up each of Y0..Y3 into one of the four int32 of X0, in their order.
#define SUM4 \
	VPHADDD      Y1, Y0, Y0 \
	VPHADDD      Y3, Y2, Y2 \
	VPHADDD      Y2, Y0, Y0 \
	VEXTRACTI128 $1, Y0, X1 \
	VPADDD       X1, X0, X0

// func dotI8AVX2(a, b *int8, n int) int32
TEXT ·dotI8AVX2(SB), NOSPLIT, $0-28
	MOVQ  a+0(FP), SI
	MOVQ  b+8(FP), R8
	MOVQ  n+16(FP), BX
	ONES
	VPXOR Y0, Y0, Y0
	MOVQ  BX, R12
	ANDQ  $31, R12
	XORQ  AX, AX
	MOVQ  BX, DX
	SUBQ  R12, DX

loop:
	QUERY((SI)(AX*1))
	ROW((R8)(AX*1), Y0, Y4)
	ADDQ $32, AX
	CMPQ AX, DX
	JLT  loop

	TESTQ R12, R12
	JZ    done
	QUERY(-32(SI)(BX*1))
	TAIL(R12)
	ROW(-32(R8)(BX*1), Y0, Y4)

done:
	SUM1
	VMOVD X0, AX
	MOVL  AX, ret+24(FP)
	VZEROUPPER
	RET

// func dotI8GatherAVX2(q *int8, n int, rows *unsafe.Pointer, out *int32, count int)
//
// Rows are taken four at a time, for which q is loaded and its magnitudes are computed once. At each other step the same
// bytes of the four rows that come next are asked for. Three rows that remain, or two, are taken as four, the addresses
// behind those of the rows being those of other rows; the sums of these are not stored.
TEXT ·dotI8GatherAVX2(SB), NOSPLIT, $0-40
	MOVQ q+0(FP), SI
	MOVQ n+8(FP), BX
	MOVQ rows+16(FP), R9
	MOVQ out+24(FP), DI
	MOVQ count+32(FP), CX
	ONES
	MOVQ BX, R12
	ANDQ $31, R12
	CMPQ CX, $1
	JEQ  one
	JLT  done

four:
	MOVQ  (R9), R8
	MOVQ  8(R9), R10
	MOVQ  16(R9), R11
	MOVQ  24(R9), DX
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	XORQ  AX, AX
	SUBQ  $32, BX

fourloop:
	QUERY((SI)(AX*1))
	ROWS(0, AX)
	MOVQ       32(R9), R13
	PREFETCHT1 (R13)(AX*1)
	MOVQ       40(R9), R13
	PREFETCHT1 (R13)(AX*1)
	MOVQ       48(R9), R13
	PREFETCHT1 (R13)(AX*1)
	MOVQ       56(R9), R13
	PREFETCHT1 (R13)(AX*1)
	ADDQ       $32, AX
	CMPQ       AX, BX
	JGT        fourtail
	QUERY((SI)(AX*1))
	ROWS(0, AX)
	ADDQ       $32, AX
	CMPQ       AX, BX
	JLE        fourloop

fourtail:
	ADDQ  $32, BX
	TESTQ R12, R12
	JZ    foursum
	QUERY(-32(SI)(BX*1))
	TAIL(R12)
	ROWS(-32, BX)

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
	MOVQ  (R9), R8
	MOVQ  BX, DX
	SUBQ  R12, DX
	VPXOR Y0, Y0, Y0
	XORQ  AX, AX

oneloop:
	QUERY((SI)(AX*1))
	ROW((R8)(AX*1), Y0, Y4)
	ADDQ $32, AX
	CMPQ AX, DX
	JLT  oneloop

	TESTQ R12, R12
	JZ    onesum
	QUERY(-32(SI)(BX*1))
	TAIL(R12)
	ROW(-32(R8)(BX*1), Y0, Y4)

onesum:
	SUM1
	VMOVD X0, (DI)
	VZEROUPPER
	RET
