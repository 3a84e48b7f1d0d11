//go:build !purego

#include "textflag.h"

// The assembler lacks these instructions:
// FMAX  Vacc.4S, Vacc.4S, Vx.4S
// FADD  Vacc.4S, Vacc.4S, Vx.4S
#define FMAX(x, acc) WORD $(0x4E20F400 | (x)<<16 | (acc)<<5 | (acc))
#define FADD(x, acc) WORD $(0x4E20D400 | (x)<<16 | (acc)<<5 | (acc))

// ROW points R5 at the row of the next symbol, in the part of the table at R4, and R4
// at the next tap's part, 259*48*4 bytes further.
#define ROW \
	MOVWU.P 4(R6), R7; \
	ADD R7<<2, R4, R5; \
	ADD R8, R4

// BYTETAP adds a row to the sums of the 48 filters, V0-V11.
#define BYTETAP \
	ROW; \
	VLD1.P 64(R5), [V24.S4, V25.S4, V26.S4, V27.S4]; \
	FADD(24, 0); FADD(25, 1); FADD(26, 2); FADD(27, 3); \
	VLD1.P 64(R5), [V28.S4, V29.S4, V30.S4, V31.S4]; \
	FADD(28, 4); FADD(29, 5); FADD(30, 6); FADD(31, 7); \
	VLD1 (R5), [V24.S4, V25.S4, V26.S4, V27.S4]; \
	FADD(24, 8); FADD(25, 9); FADD(26, 10); FADD(27, 11)

// func strongest(best *[ByteFilters]float32, table *ByteTable, rows []uint32, positions int)
//
//	V0-V11   sums of a position      V12-V23  the largest so far
//	R2, R3   symbols, positions left
TEXT ·strongest(SB), NOSPLIT, $0-48
	MOVD best+0(FP), R0
	MOVD table+8(FP), R1
	MOVD rows_base+16(FP), R2
	MOVD positions+40(FP), R3
	MOVD $49728, R8
	MOVD R0, R5
	VLD1.P 64(R5), [V12.S4, V13.S4, V14.S4, V15.S4]
	VLD1.P 64(R5), [V16.S4, V17.S4, V18.S4, V19.S4]
	VLD1 (R5), [V20.S4, V21.S4, V22.S4, V23.S4]

position:
	MOVD R1, R4
	MOVD R2, R6
	ROW
	VLD1.P 64(R5), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R5), [V4.S4, V5.S4, V6.S4, V7.S4]
	VLD1 (R5), [V8.S4, V9.S4, V10.S4, V11.S4]
	BYTETAP
	BYTETAP
	BYTETAP
	BYTETAP
	BYTETAP
	BYTETAP
	BYTETAP
	FMAX(0, 12); FMAX(1, 13); FMAX(2, 14); FMAX(3, 15)
	FMAX(4, 16); FMAX(5, 17); FMAX(6, 18); FMAX(7, 19)
	FMAX(8, 20); FMAX(9, 21); FMAX(10, 22); FMAX(11, 23)
	ADD  $8, R2
	SUBS $1, R3
	BNE  position

	MOVD R0, R5
	VST1.P [V12.S4, V13.S4, V14.S4, V15.S4], 64(R5)
	VST1.P [V16.S4, V17.S4, V18.S4, V19.S4], 64(R5)
	VST1 [V20.S4, V21.S4, V22.S4, V23.S4], (R5)
	RET
