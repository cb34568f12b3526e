//go:build !purego

#include "textflag.h"

// func prefetch(p unsafe.Pointer)
TEXT ·prefetch(SB), NOSPLIT, $0-8
	MOVQ       p+0(FP), AX
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	RET

// func prefetchAll(p unsafe.Pointer, n uintptr)
TEXT ·prefetchAll(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ n+8(FP), CX
	ADDQ AX, CX

line:
	CMPQ       AX, CX
	JGE        done
	PREFETCHT1 (AX)
	ADDQ       $64, AX
	JMP        line

done:
	RET
