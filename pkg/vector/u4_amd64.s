//go:build !purego

#include "textflag.h"
#include "lists_amd64.h"

// The kernel of AVX2 for rows of codes of four bits.
//
// VPMADDUBSW multiplies the numbers of 0..15, unsigned, by codes of the query and adds neighbours into int16, at most
// 2·15·128 = 3840 of magnitude. There is a sum for the lower halves of bytes and one for the upper; after eight times 32
// bytes, 30720, they are widened to int32.

// PIECE adds to Y0 and Y1 the products of 32 bytes of a row, y, and the codes at low and at high.
#define PIECE(y, low, high, t) \
	VPSRLW     $4, y, t   \
	VPAND      Y14, y, y  \
	VPAND      Y14, t, t  \
	VPMADDUBSW low, y, y  \
	VPMADDUBSW high, t, t \
	VPADDW     y, Y0, Y0  \
	VPADDW     t, Y1, Y1

// func dotU4AVX2(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)
TEXT ·dotU4AVX2(SB), NOSPLIT, $0-48
	MOVQ     width+8(FP), DX
	MOVQ     rows+16(FP), R9
	MOVQ     out+24(FP), DI
	MOVQ     count+32(FP), CX
	MOVQ     ahead+40(FP), SI
	VPCMPEQD Y15, Y15, Y15
	VPABSB   Y15, Y14
	VPSLLW   $4, Y14, Y13
	VPSUBB   Y14, Y13, Y14    // 0x0f in each byte
	VPABSW   Y15, Y15
	XORQ     AX, AX

first:
	MOVQ (R9)(AX*8), R13
	PREFETCH(firstline, 15)
	INCQ AX
	CMPQ AX, SI
	JLT  first

row:
	MOVQ  (R9), R8
	MOVQ  (R9)(SI*8), R13
	PREFETCH(line, 15)
	MOVQ  q+0(FP), AX
	MOVQ  DX, BX
	VPXOR Y9, Y9, Y9

span:
	// Up to four blocks of 64 bytes, of which the last may be shorter.
	VPXOR   Y0, Y0, Y0
	VPXOR   Y1, Y1, Y1
	MOVQ    $256, R11
	CMPQ    BX, R11
	CMOVQLT BX, R11
	SUBQ    R11, BX
	SUBQ    $64, R11
	JLT     short

block:
	VMOVDQU (R8), Y4
	VMOVDQU 32(R8), Y5
	PIECE(Y4, 0(AX), 64(AX), Y6)
	PIECE(Y5, 32(AX), 96(AX), Y7)
	ADDQ    $64, R8
	ADDQ    $128, AX
	SUBQ    $64, R11
	JGE     block

short:
	ADDQ    $64, R11
	JZ      widen
	CMPQ    R11, $32
	JLT     sixteen
	VMOVDQU (R8), Y4
	PIECE(Y4, 0(AX), 64(AX), Y6)
	ADDQ    $32, R8
	ADDQ    $32, AX
	SUBQ    $32, R11
	JZ      widen

sixteen:
	VMOVDQU (R8), X4
	PIECE(Y4, 0(AX), 64(AX), Y6)

widen:
	VPMADDWD Y15, Y0, Y0
	VPMADDWD Y15, Y1, Y1
	VPADDD   Y0, Y9, Y9
	VPADDD   Y1, Y9, Y9
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
