//go:build !purego

#include "textflag.h"

// BYTETAP adds the row of the symbol at SI, tap t from there, to the sums of the 48
// filters, Y0-Y5. A tap's part of the table has 259*48*4 bytes.
#define BYTETAP(t) \
	MOVL (4*t)(SI), AX; \
	VADDPS (49728*t)(BX)(AX*4), Y0, Y0; \
	VADDPS (49728*t+32)(BX)(AX*4), Y1, Y1; \
	VADDPS (49728*t+64)(BX)(AX*4), Y2, Y2; \
	VADDPS (49728*t+96)(BX)(AX*4), Y3, Y3; \
	VADDPS (49728*t+128)(BX)(AX*4), Y4, Y4; \
	VADDPS (49728*t+160)(BX)(AX*4), Y5, Y5

// func strongest(best *[ByteFilters]float32, table *ByteTable, rows []uint32, positions int)
//
//	Y0-Y5    sums of a position      Y6-Y11   the largest so far
//	SI, CX   symbols, positions left
TEXT ·strongest(SB), NOSPLIT, $0-48
	MOVQ best+0(FP), DI
	MOVQ table+8(FP), BX
	MOVQ rows_base+16(FP), SI
	MOVQ positions+40(FP), CX
	VMOVUPS (DI), Y6
	VMOVUPS 32(DI), Y7
	VMOVUPS 64(DI), Y8
	VMOVUPS 96(DI), Y9
	VMOVUPS 128(DI), Y10
	VMOVUPS 160(DI), Y11

position:
	MOVL (SI), AX
	VMOVUPS (BX)(AX*4), Y0
	VMOVUPS 32(BX)(AX*4), Y1
	VMOVUPS 64(BX)(AX*4), Y2
	VMOVUPS 96(BX)(AX*4), Y3
	VMOVUPS 128(BX)(AX*4), Y4
	VMOVUPS 160(BX)(AX*4), Y5
	BYTETAP(1)
	BYTETAP(2)
	BYTETAP(3)
	BYTETAP(4)
	BYTETAP(5)
	BYTETAP(6)
	BYTETAP(7)
	VMAXPS Y6, Y0, Y6               // of 0 and -0 the one before
	VMAXPS Y7, Y1, Y7
	VMAXPS Y8, Y2, Y8
	VMAXPS Y9, Y3, Y9
	VMAXPS Y10, Y4, Y10
	VMAXPS Y11, Y5, Y11
	ADDQ $8, SI
	DECQ CX
	JNZ  position

	VMOVUPS Y6, (DI)
	VMOVUPS Y7, 32(DI)
	VMOVUPS Y8, 64(DI)
	VMOVUPS Y9, 96(DI)
	VMOVUPS Y10, 128(DI)
	VMOVUPS Y11, 160(DI)
	VZEROUPPER
	RET
