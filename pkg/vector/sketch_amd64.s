//go:build !purego

#include "textflag.h"
#include "lists_amd64.h"

// The kernel of AVX2 for rows of sketches.
//
// A block is 32 bytes x. Bit b of each byte selects among the 32 codes of row b of the query's block: x AND 1<<b is 0 or
// 1<<b, unsigned, by which VPMADDUBSW multiplies the codes and adds neighbours into int16. Bits 4..7 are first shifted down
// to 0..3. So there are four sums, of weight 1, 2, 4 and 8, which are divided by their weights only once; all of their terms
// being multiples of the weight, nothing is lost by that. A block adds at most 2·8·2·128 = 4096 of magnitude to the largest
// of the sums, and after seven blocks and half of one they are widened to int32.

// BIT adds to acc the codes at mem, times the bits of x that mask selects.
#define BIT(mem, x, mask, acc, t) \
	VPAND      mask, x, t  \
	VPMADDUBSW mem, t, t   \
	VPADDW     t, acc, acc

// FOUR adds the four rows of the query at AX, selected by the bits 0..3 of Y4, to the sums Y0..Y3.
#define FOUR \
	BIT(0(AX), Y4, Y11, Y0, Y6)  \
	BIT(32(AX), Y4, Y12, Y1, Y7) \
	BIT(64(AX), Y4, Y13, Y2, Y8) \
	BIT(96(AX), Y4, Y14, Y3, Y6)

// func dotSketchAVX2(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)
TEXT ·dotSketchAVX2(SB), NOSPLIT, $0-48
	MOVQ     width+8(FP), DX
	MOVQ     rows+16(FP), R9
	MOVQ     out+24(FP), DI
	MOVQ     count+32(FP), CX
	MOVQ     ahead+40(FP), SI
	VPCMPEQD Y15, Y15, Y15
	VPABSB   Y15, Y11
	VPADDB   Y11, Y11, Y12
	VPADDB   Y12, Y12, Y13
	VPADDB   Y13, Y13, Y14
	VPABSW   Y15, Y15
	XORQ     AX, AX

first:
	MOVQ (R9)(AX*8), R13
	PREFETCH(firstline, 7)
	INCQ AX
	CMPQ AX, SI
	JLT  first

row:
	MOVQ  (R9), R8
	MOVQ  (R9)(SI*8), R13
	PREFETCH(line, 7)
	MOVQ  q+0(FP), AX
	MOVQ  DX, BX
	VPXOR Y9, Y9, Y9

span:
	// Up to seven blocks of 32 bytes, and half a block if no more remains.
	VPXOR   Y0, Y0, Y0
	VPXOR   Y1, Y1, Y1
	VPXOR   Y2, Y2, Y2
	VPXOR   Y3, Y3, Y3
	MOVQ    $224, R11
	CMPQ    BX, R11
	CMOVQLT BX, R11
	SUBQ    R11, BX
	SUBQ    $32, R11
	JLT     short

block:
	VMOVDQU (R8), Y4
	VPSRLW  $4, Y4, Y5
	FOUR
	BIT(128(AX), Y5, Y11, Y0, Y7)
	BIT(160(AX), Y5, Y12, Y1, Y8)
	BIT(192(AX), Y5, Y13, Y2, Y6)
	BIT(224(AX), Y5, Y14, Y3, Y7)
	ADDQ    $256, AX
	ADDQ    $32, R8
	SUBQ    $32, R11
	JGE     block

short:
	ADDQ        $32, R11
	JZ          widen
	VMOVDQU     (R8), X4
	VPSRLW      $4, X4, X5
	VINSERTI128 $1, X5, Y4, Y4
	FOUR

widen:
	VPSRAW   $1, Y3, Y3
	VPADDW   Y2, Y3, Y3
	VPSRAW   $1, Y3, Y3
	VPADDW   Y1, Y3, Y3
	VPSRAW   $1, Y3, Y3
	VPADDW   Y0, Y3, Y3
	VPMADDWD Y15, Y3, Y3
	VPADDD   Y3, Y9, Y9
	TESTQ    BX, BX
	JNZ      span

	SUM8(Y9, X9)
	VMOVD X0, (DI)
	ADDQ  $4, DI
	ADDQ  $8, R9
	DECQ  CX
	JNZ   row
	VZEROUPPER
	RET
