// What the kernels of a list of rows share.

// PREFETCH asks for the R7 bytes of the row at R9 and what goes with it, up to the byte that stands so much further on than
// they end: for each 64th byte and the last. It destroys R9 and R11.
#define PREFETCH(loop, further) \
	ADD  R7, R9, R11          \
	ADD  $(further), R11, R11 \
loop: \
	PRFM (R9), PLDL1KEEP      \
	ADD  $64, R9, R9          \
	CMP  R11, R9              \
	BLT  loop                 \
	PRFM (R11), PLDL1KEEP
