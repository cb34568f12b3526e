// 16 bytes of 0, then 16 of 0xff: the 16 bytes from r on keep the last r bytes of a load.
DATA tail16<>+0(SB)/8, $0
DATA tail16<>+8(SB)/8, $0
DATA tail16<>+16(SB)/8, $-1
DATA tail16<>+24(SB)/8, $-1
GLOBL tail16<>(SB), RODATA|NOPTR, $32
