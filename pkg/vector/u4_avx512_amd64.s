//go:build !purego

#include "textflag.h"
#include "lists_amd64.h"

// The kernel of AVX-512 BW and VNNI for rows of codes of four bits.
//
// VPDPBUSD multiplies the numbers of 0..15, unsigned, by codes of the query and adds four products to an int32. The bytes
// of a last block that is shorter than 64 are loaded by a mask; beyond them a row is 0.

// BLOCK adds to the sums Z0 and Z1 the products of the 64 bytes of Z4 and the block of the query at AX.
#define BLOCK \
	VPSRLW   $4, Z4, Z5     \
	VPANDQ   Z31, Z4, Z4    \
	VPANDQ   Z31, Z5, Z5    \
	VPDPBUSD 0(AX), Z4, Z0  \
	VPDPBUSD 64(AX), Z5, Z1

// func dotU4VNNI(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)
TEXT ·dotU4VNNI(SB), NOSPLIT, $0-48
	MOVQ         width+8(FP), DX
	MOVQ         rows+16(FP), R9
	MOVQ         out+24(FP), DI
	MOVQ         ahead+40(FP), SI
	MOVL         $0x0f, AX
	VPBROADCASTB AX, Z31
	MOVQ         DX, CX
	ANDQ         $63, CX
	MOVQ         CX, R15
	MOVQ         $1, AX
	SHLQ         CX, AX
	DECQ         AX
	KMOVQ        AX, K1
	MOVQ         count+32(FP), CX
	XORQ         AX, AX

first:
	MOVQ (R9)(AX*8), R13
	PREFETCH(firstline, 15)
	INCQ AX
	CMPQ AX, SI
	JLT  first

row:
	MOVQ   (R9), R8
	MOVQ   (R9)(SI*8), R13
	PREFETCH(line, 15)
	MOVQ   q+0(FP), AX
	VPXORQ Z0, Z0, Z0
	VPXORQ Z1, Z1, Z1
	MOVQ   DX, BX
	SUBQ   R15, BX
	ADDQ   R8, BX
	CMPQ   R8, BX
	JGE    short

block:
	VMOVDQU64 (R8), Z4
	BLOCK
	ADDQ      $128, AX
	ADDQ      $64, R8
	CMPQ      R8, BX
	JLT       block

short:
	TESTQ      R15, R15
	JZ         sum
	VMOVDQU8.Z (R8), K1, Z4
	BLOCK

sum:
	VPADDD        Z1, Z0, Z0
	VEXTRACTI64X4 $1, Z0, Y1
	VPADDD        Y1, Y0, Y0
	SUM8(Y0, X0)
	VMOVD         X0, (DI)
	ADDQ          $4, DI
	ADDQ          $8, R9
	DECQ          CX
	JNZ           row
	VZEROUPPER
	RET
