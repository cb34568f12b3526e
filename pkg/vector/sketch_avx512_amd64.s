//go:build !purego

#include "textflag.h"
#include "lists_amd64.h"

// The kernel of AVX-512 BW and VNNI for rows of sketches.
//
// The 32 bytes of a block stand twice in a register, in the upper half shifted to the right by one bit. Thus bit 0 of its
// 64 bytes selects among the first 64 codes of the query's block, that is among those of its rows 0 and 1, and after a
// shift by two bits among the next 64. VPDPBUSD multiplies them and adds four products to an int32. A shift is one of
// words and brings bits of neighbours into a byte, but none to bit 0.

// The numbers of bits by which the words of the lower half and of the upper half are shifted.
DATA halves<>+0(SB)/8, $0
DATA halves<>+8(SB)/8, $0
DATA halves<>+16(SB)/8, $0
DATA halves<>+24(SB)/8, $0
DATA halves<>+32(SB)/8, $0x0001000100010001
DATA halves<>+40(SB)/8, $0x0001000100010001
DATA halves<>+48(SB)/8, $0x0001000100010001
DATA halves<>+56(SB)/8, $0x0001000100010001
GLOBL halves<>(SB), RODATA|NOPTR, $64

// TWOROWS adds to acc the codes at mem, times the lowest bits of Z4.
#define TWOROWS(mem, acc, t) \
	VPANDQ   Z31, Z4, t   \
	VPDPBUSD mem, t, acc

// func dotSketchVNNI(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)
TEXT ·dotSketchVNNI(SB), NOSPLIT, $0-48
	MOVQ         width+8(FP), DX
	MOVQ         rows+16(FP), R9
	MOVQ         out+24(FP), DI
	MOVQ         ahead+40(FP), SI
	MOVL         $1, AX
	VPBROADCASTB AX, Z31
	VMOVDQU64    halves<>(SB), Z30
	MOVQ         count+32(FP), CX
	XORQ         AX, AX

first:
	MOVQ (R9)(AX*8), R13
	PREFETCH(firstline, 7)
	INCQ AX
	CMPQ AX, SI
	JLT  first

row:
	MOVQ   (R9), R8
	MOVQ   (R9)(SI*8), R13
	PREFETCH(line, 7)
	MOVQ   q+0(FP), AX
	VPXORQ Z0, Z0, Z0
	VPXORQ Z1, Z1, Z1
	MOVQ   DX, BX
	SUBQ   $32, BX
	JLT    short

block:
	VBROADCASTI64X4 (R8), Z4
	VPSRLVW         Z30, Z4, Z4
	TWOROWS(0(AX), Z0, Z5)
	VPSRLW          $2, Z4, Z4
	TWOROWS(64(AX), Z1, Z6)
	VPSRLW          $2, Z4, Z4
	TWOROWS(128(AX), Z0, Z7)
	VPSRLW          $2, Z4, Z4
	TWOROWS(192(AX), Z1, Z8)
	ADDQ            $256, AX
	ADDQ            $32, R8
	SUBQ            $32, BX
	JGE             block

short:
	// Half a block has the bits 0..3 of 16 bytes in their lower halves, and those of the next 16 in the upper ones.
	ADDQ        $32, BX
	JZ          sum
	VMOVDQU     (R8), X4
	VPSRLW      $4, X4, X5
	VINSERTI128 $1, X5, Y4, Y4
	VSHUFI64X2  $0x44, Z4, Z4, Z4
	VPSRLVW     Z30, Z4, Z4
	TWOROWS(0(AX), Z0, Z5)
	VPSRLW      $2, Z4, Z4
	TWOROWS(64(AX), Z1, Z6)

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
