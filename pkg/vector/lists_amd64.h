// What the kernels of a list of rows share.

// PREFETCH asks for the DX bytes of the row at R13 and what goes with it, up to the byte that stands so much further on than
// they end: for each 64th byte and the last. How often it goes round does not depend on where the row stands, which a
// processor could not foresee. It destroys R13 and R12.
#define PREFETCH(loop, further) \
	LEAQ       further(R13)(DX*1), R12 \
loop: \
	PREFETCHT0 (R13)    \
	ADDQ       $64, R13 \
	CMPQ       R13, R12 \
	JLT        loop     \
	PREFETCHT0 (R12)

// SUM8 adds up the eight int32 of y, whose lower half is x, into the lowest of X0. It destroys X1.
#define SUM8(y, x) \
	VEXTRACTI128 $1, y, X1      \
	VPADDD       x, X1, X0      \
	VPSHUFD      $0xee, X0, X1  \
	VPADDD       X1, X0, X0     \
	VPSHUFD      $0x55, X0, X1  \
	VPADDD       X1, X0, X0
