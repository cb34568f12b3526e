//go:build !purego

#include "textflag.h"

// The kernel of AVX2 for rows of bit planes.
//
// A block of a plane is 32 bytes x. Bit b of each byte selects among the 32 codes of row b of the query's block:
// x AND 1<<b is 0 or 1<<b, unsigned, by which VPMADDUBSW multiplies the codes and adds neighbours into int16. Bits 4..7
// are first shifted down to 0..3. So there are four sums, of weight 1, 2, 4 and 8, which are divided by their weights
// only once; all of their terms being multiples of the weight, nothing is lost by that. A block adds at most
// 2·8·2·127 = 4064 to the largest of the sums, and after eight blocks, 32512, they are widened to int32.
//
// Of the last r bytes of a plane only these are loaded, by VPMASKMOVD.

// 24 bytes of 0xff, then 24 of 0: the 32 bytes from 24-r on are a mask of the first r bytes.
DATA planehead<>+0(SB)/8, $-1
DATA planehead<>+8(SB)/8, $-1
DATA planehead<>+16(SB)/8, $-1
DATA planehead<>+24(SB)/8, $0
DATA planehead<>+32(SB)/8, $0
DATA planehead<>+40(SB)/8, $0
DATA planehead<>+48(SB)/8, $0
GLOBL planehead<>(SB), RODATA|NOPTR, $56

// BIT adds to acc the codes at mem, times the bits of x that mask selects.
#define BIT(mem, x, mask, acc, t) \
	VPAND      mask, x, t  \
	VPMADDUBSW mem, t, t   \
	VPADDW     t, acc, acc

// BLOCK adds the block of the query at AX, selected by the bits of Y4, to the sums Y0..Y3.
#define BLOCK \
	VPSRLW $4, Y4, Y5                \
	BIT(0(AX), Y4, Y11, Y0, Y6)   \
	BIT(32(AX), Y4, Y12, Y1, Y7)  \
	BIT(64(AX), Y4, Y13, Y2, Y8)  \
	BIT(96(AX), Y4, Y14, Y3, Y6)  \
	BIT(128(AX), Y5, Y11, Y0, Y7) \
	BIT(160(AX), Y5, Y12, Y1, Y8) \
	BIT(192(AX), Y5, Y13, Y2, Y6) \
	BIT(224(AX), Y5, Y14, Y3, Y7)

// PREFETCH asks for the DX bytes of the row at R13: for each 64th byte and the last. How often it goes round does not
// depend on where the row stands, which a processor could not foresee. It destroys R13 and BX.
#define PREFETCH(loop) \
	LEAQ       -1(R13)(DX*1), BX \
loop: \
	PREFETCHT0 (R13)    \
	ADDQ       $64, R13 \
	CMPQ       R13, BX  \
	JLT        loop     \
	PREFETCHT0 (BX)

// func dotPlanesAVX2(q *int8, width, planes int, rows *unsafe.Pointer, out *int32, count, ahead int)
TEXT ·dotPlanesAVX2(SB), NOSPLIT, $0-56
	MOVQ     width+8(FP), DX
	MOVQ     DX, R12
	IMULQ    planes+16(FP), DX
	MOVQ     rows+24(FP), R9
	MOVQ     out+32(FP), DI
	MOVQ     count+40(FP), CX
	MOVQ     ahead+48(FP), SI
	VPCMPEQD Y15, Y15, Y15
	VPABSB   Y15, Y11
	VPADDB   Y11, Y11, Y12
	VPADDB   Y12, Y12, Y13
	VPADDB   Y13, Y13, Y14
	VPABSW   Y15, Y15
	MOVQ     R12, R15
	ANDQ     $31, R15
	NEGQ     R15
	LEAQ     planehead<>+24(SB), R13
	VMOVDQU  (R13)(R15*1), Y10
	XORQ     AX, AX

first:
	MOVQ (R9)(AX*8), R13
	PREFETCH(firstline)
	INCQ AX
	CMPQ AX, SI
	JLT  first

row:
	MOVQ  (R9), R8
	MOVQ  (R9)(SI*8), R13
	PREFETCH(line)
	MOVQ  planes+16(FP), R10
	VPXOR Y9, Y9, Y9

plane:
	VPADDD Y9, Y9, Y9
	MOVQ   q+0(FP), AX
	MOVQ   R12, BX
	ANDQ   $~31, BX
	ADDQ   R8, BX

span:
	// Up to seven blocks of 32 bytes, and the last one if it is shorter.
	VPXOR   Y0, Y0, Y0
	VPXOR   Y1, Y1, Y1
	VPXOR   Y2, Y2, Y2
	VPXOR   Y3, Y3, Y3
	LEAQ    224(R8), R11
	CMPQ    R11, BX
	CMOVQGT BX, R11
	CMPQ    R8, R11
	JGE     short

block:
	VMOVDQU (R8), Y4
	BLOCK
	ADDQ    $256, AX
	ADDQ    $32, R8
	CMPQ    R8, R11
	JLT     block

short:
	CMPQ       R8, BX
	JLT        widen
	TESTQ      R15, R15
	JZ         widen
	VPMASKMOVD (R8), Y10, Y4
	BLOCK
	SUBQ       R15, R8

widen:
	VPSRAW   $1, Y3, Y3
	VPADDW   Y2, Y3, Y3
	VPSRAW   $1, Y3, Y3
	VPADDW   Y1, Y3, Y3
	VPSRAW   $1, Y3, Y3
	VPADDW   Y0, Y3, Y3
	VPMADDWD Y15, Y3, Y3
	VPADDD   Y3, Y9, Y9
	CMPQ     R8, BX
	JLT      span
	DECQ     R10
	JNZ      plane

	VEXTRACTI128 $1, Y9, X0
	VPADDD       X9, X0, X0
	VPSHUFD      $0xee, X0, X1
	VPADDD       X1, X0, X0
	VPSHUFD      $0x55, X0, X1
	VPADDD       X1, X0, X0
	VMOVD        X0, (DI)
	ADDQ         $4, DI
	ADDQ         $8, R9
	DECQ         CX
	JNZ          row
	VZEROUPPER
	RET
