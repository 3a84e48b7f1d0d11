//go:build !purego

#include "textflag.h"

// AVX2 loops. Columns are worked on in tiles whose accumulators stay in
// registers; within a column, products are added plane by plane and tap by tap,
// as in plain Go, each by one fused multiply-add.

// PAIRTAP adds the products of 32 columns of the plane at R15 with a tap of both
// filters at AX, tap t from there.
#define PAIRTAP(t) \
	VBROADCASTSS (8*t)(AX), Y8; \
	VBROADCASTSS (8*t+4)(AX), Y9; \
	VMOVUPS (4*t)(R15), Y10; \
	VMOVUPS (4*t+32)(R15), Y11; \
	VMOVUPS (4*t+64)(R15), Y12; \
	VMOVUPS (4*t+96)(R15), Y13; \
	VFMADD231PS Y8, Y10, Y0; \
	VFMADD231PS Y9, Y10, Y4; \
	VFMADD231PS Y8, Y11, Y1; \
	VFMADD231PS Y9, Y11, Y5; \
	VFMADD231PS Y8, Y12, Y2; \
	VFMADD231PS Y9, Y12, Y6; \
	VFMADD231PS Y8, Y13, Y3; \
	VFMADD231PS Y9, Y13, Y7

// func correlatePair(dst0, dst1 []float32, xs [][]float32, w []float32, taps int, bias0, bias1 float32)
//
// A tile is 32 columns of both filters: Y0-Y3 and Y4-Y7. The last tile is moved
// back to end with the last column; columns that two tiles cover come out the
// same from both. Fewer than 32 columns are taken 8 at a time.
//
//	DI, SI  dst0, dst1          R8, R9   plane headers, their number
//	R10     weights             R11      taps
//	R12     bytes of a plane    R13      byte offset of the tile
TEXT ·correlatePair(SB), NOSPLIT, $0-112
	MOVQ dst0_base+0(FP), DI
	MOVQ dst0_len+8(FP), R12
	MOVQ dst1_base+24(FP), SI
	MOVQ xs_base+48(FP), R8
	MOVQ xs_len+56(FP), R9
	MOVQ w_base+72(FP), R10
	MOVQ taps+96(FP), R11
	VBROADCASTSS bias0+104(FP), Y14
	VBROADCASTSS bias1+108(FP), Y15
	SHLQ $2, R12
	XORQ R13, R13
	CMPQ R12, $128
	JLT  narrow

wide:
	VMOVAPS Y14, Y0
	VMOVAPS Y14, Y1
	VMOVAPS Y14, Y2
	VMOVAPS Y14, Y3
	VMOVAPS Y15, Y4
	VMOVAPS Y15, Y5
	VMOVAPS Y15, Y6
	VMOVAPS Y15, Y7
	MOVQ R10, AX
	MOVQ R8, BX
	MOVQ R9, DX

widePlane:
	MOVQ (BX), R15
	ADDQ R13, R15
	ADDQ $24, BX
	MOVQ R11, CX

wideTaps:
	PAIRTAP(0)
	PAIRTAP(1)
	PAIRTAP(2)
	PAIRTAP(3)
	PAIRTAP(4)
	ADDQ $40, AX
	ADDQ $20, R15
	SUBQ $5, CX
	JNZ  wideTaps
	DECQ DX
	JNZ  widePlane

	VXORPS Y8, Y8, Y8
	VMAXPS Y8, Y0, Y0
	VMAXPS Y8, Y1, Y1
	VMAXPS Y8, Y2, Y2
	VMAXPS Y8, Y3, Y3
	VMAXPS Y8, Y4, Y4
	VMAXPS Y8, Y5, Y5
	VMAXPS Y8, Y6, Y6
	VMAXPS Y8, Y7, Y7
	VMOVUPS Y0, (DI)(R13*1)
	VMOVUPS Y1, 32(DI)(R13*1)
	VMOVUPS Y2, 64(DI)(R13*1)
	VMOVUPS Y3, 96(DI)(R13*1)
	VMOVUPS Y4, (SI)(R13*1)
	VMOVUPS Y5, 32(SI)(R13*1)
	VMOVUPS Y6, 64(SI)(R13*1)
	VMOVUPS Y7, 96(SI)(R13*1)

	ADDQ $128, R13
	CMPQ R13, R12
	JGE  done
	LEAQ -128(R12), AX
	CMPQ R13, AX
	JLE  wide
	MOVQ AX, R13
	JMP  wide

narrow:
	VMOVAPS Y14, Y0
	VMOVAPS Y15, Y4
	MOVQ R10, AX
	MOVQ R8, BX
	MOVQ R9, DX

narrowPlane:
	MOVQ (BX), R15
	ADDQ R13, R15
	ADDQ $24, BX
	MOVQ R11, CX

narrowTap:
	VBROADCASTSS (AX), Y8
	VBROADCASTSS 4(AX), Y9
	VMOVUPS (R15), Y10
	VFMADD231PS Y8, Y10, Y0
	VFMADD231PS Y9, Y10, Y4
	ADDQ $8, AX
	ADDQ $4, R15
	DECQ CX
	JNZ  narrowTap
	DECQ DX
	JNZ  narrowPlane

	VXORPS Y8, Y8, Y8
	VMAXPS Y8, Y0, Y0
	VMAXPS Y8, Y4, Y4
	VMOVUPS Y0, (DI)(R13*1)
	VMOVUPS Y4, (SI)(R13*1)
	ADDQ $32, R13
	CMPQ R13, R12
	JLT  narrow

done:
	VZEROUPPER
	RET

// ROWTAP adds the products of 24 columns of the plane at R14 with a tap of both
// filters at AX, tap t from there.
#define ROWTAP(t) \
	VBROADCASTSS (8*t)(AX), Y12; \
	VBROADCASTSS (8*t+4)(AX), Y13; \
	VMOVUPS (4*t)(R14), Y14; \
	VMOVUPS (4*t+32)(R14), Y15; \
	VFMADD231PS Y12, Y14, Y0; \
	VFMADD231PS Y13, Y14, Y3; \
	VMOVUPS (4*t+64)(R14), Y14; \
	VFMADD231PS Y12, Y15, Y1; \
	VFMADD231PS Y13, Y15, Y4; \
	VFMADD231PS Y12, Y14, Y2; \
	VFMADD231PS Y13, Y14, Y5

// func correlateRows(dst0, dst1 []float32, xs [][]float32, cols []int, w, shares []float32, planes, taps int, bias0, bias1 float32)
//
// A tile is 24 columns of both filters: a row's correlations grow in Y0-Y2 and
// Y3-Y5 and are then added to the sums in Y6-Y8 and Y9-Y11.
//
//	DI, SI  dst0, dst1          R8, R9   columns of rows, their number
//	R10     planes left         R11      taps
//	R12     bytes of dst        R13      byte offset of the tile
//	BX      plane headers       DX       row
//	R15     shares              AX, CX   weights, taps left
//	R14     plane
TEXT ·correlateRows(SB), NOSPLIT, $0-168
	MOVQ dst0_base+0(FP), DI
	MOVQ dst0_len+8(FP), R12
	MOVQ dst1_base+24(FP), SI
	MOVQ cols_base+72(FP), R8
	MOVQ cols_len+80(FP), R9
	MOVQ taps+152(FP), R11
	SHLQ $2, R12
	XORQ R13, R13

rowsTile:
	VBROADCASTSS bias0+160(FP), Y6
	VBROADCASTSS bias1+164(FP), Y9
	VMOVAPS Y6, Y7
	VMOVAPS Y6, Y8
	VMOVAPS Y9, Y10
	VMOVAPS Y9, Y11
	MOVQ xs_base+48(FP), BX
	MOVQ w_base+96(FP), AX
	MOVQ shares_base+120(FP), R15
	XORQ DX, DX

rowsRow:
	MOVQ planes+144(FP), R10
	MOVQ (R8)(DX*8), CX
	SHLQ $2, CX
	CMPQ R13, CX
	JGE  rowsConstant
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5

rowsPlane:
	MOVQ (BX), R14
	ADDQ R13, R14
	ADDQ $24, BX
	MOVQ R11, CX

rowsTaps:
	ROWTAP(0)
	ROWTAP(1)
	ROWTAP(2)
	ROWTAP(3)
	ROWTAP(4)
	ADDQ $40, AX
	ADDQ $20, R14
	SUBQ $5, CX
	JNZ  rowsTaps
	DECQ R10
	JNZ  rowsPlane
	VADDPS Y0, Y6, Y6
	VADDPS Y1, Y7, Y7
	VADDPS Y2, Y8, Y8
	VADDPS Y3, Y9, Y9
	VADDPS Y4, Y10, Y10
	VADDPS Y5, Y11, Y11
	JMP  rowsNext

rowsConstant:
	VBROADCASTSS (R15)(DX*8), Y12
	VBROADCASTSS 4(R15)(DX*8), Y13
	VADDPS Y12, Y6, Y6
	VADDPS Y12, Y7, Y7
	VADDPS Y12, Y8, Y8
	VADDPS Y13, Y9, Y9
	VADDPS Y13, Y10, Y10
	VADDPS Y13, Y11, Y11
	LEAQ (R10)(R10*2), CX
	LEAQ (BX)(CX*8), BX
	IMULQ R11, R10
	LEAQ (AX)(R10*8), AX

rowsNext:
	INCQ DX
	CMPQ DX, R9
	JLT  rowsRow
	VMOVUPS Y6, (DI)(R13*1)
	VMOVUPS Y7, 32(DI)(R13*1)
	VMOVUPS Y8, 64(DI)(R13*1)
	VMOVUPS Y9, (SI)(R13*1)
	VMOVUPS Y10, 32(SI)(R13*1)
	VMOVUPS Y11, 64(SI)(R13*1)
	ADDQ $96, R13
	CMPQ R13, R12
	JLT  rowsTile
	VZEROUPPER
	RET

// func correlateOne(dst []float32, xs, ws [][]float32, taps int)
//
// A tile is 40 columns, Y0-Y4; what is left is taken 8 at a time.
//
//	DI      dst                 R8, R9   plane headers, their number
//	R10     kernel row headers  R11      taps
//	R12     bytes of dst        R13      byte offset of the tile
TEXT ·correlateOne(SB), NOSPLIT, $0-80
	MOVQ dst_base+0(FP), DI
	MOVQ dst_len+8(FP), R12
	MOVQ xs_base+24(FP), R8
	MOVQ ws_base+48(FP), R10
	MOVQ ws_len+56(FP), R9
	MOVQ taps+72(FP), R11
	SHLQ $2, R12
	XORQ R13, R13

tiles:
	LEAQ 160(R13), AX
	CMPQ AX, R12
	JGT  rest
	VMOVUPS (DI)(R13*1), Y0
	VMOVUPS 32(DI)(R13*1), Y1
	VMOVUPS 64(DI)(R13*1), Y2
	VMOVUPS 96(DI)(R13*1), Y3
	VMOVUPS 128(DI)(R13*1), Y4
	MOVQ R8, BX
	MOVQ R10, SI
	MOVQ R9, DX

tilePlane:
	MOVQ (SI), AX
	MOVQ (BX), R15
	ADDQ R13, R15
	ADDQ $24, SI
	ADDQ $24, BX
	MOVQ R11, CX

tileTap:
	VBROADCASTSS (AX), Y8
	VFMADD231PS (R15), Y8, Y0
	VFMADD231PS 32(R15), Y8, Y1
	VFMADD231PS 64(R15), Y8, Y2
	VFMADD231PS 96(R15), Y8, Y3
	VFMADD231PS 128(R15), Y8, Y4
	ADDQ $4, AX
	ADDQ $4, R15
	DECQ CX
	JNZ  tileTap
	DECQ DX
	JNZ  tilePlane

	VMOVUPS Y0, (DI)(R13*1)
	VMOVUPS Y1, 32(DI)(R13*1)
	VMOVUPS Y2, 64(DI)(R13*1)
	VMOVUPS Y3, 96(DI)(R13*1)
	VMOVUPS Y4, 128(DI)(R13*1)
	ADDQ $160, R13
	JMP  tiles

rest:
	CMPQ R13, R12
	JGE  end
	VMOVUPS (DI)(R13*1), Y0
	MOVQ R8, BX
	MOVQ R10, SI
	MOVQ R9, DX

restPlane:
	MOVQ (SI), AX
	MOVQ (BX), R15
	ADDQ R13, R15
	ADDQ $24, SI
	ADDQ $24, BX
	MOVQ R11, CX

restTap:
	VBROADCASTSS (AX), Y8
	VFMADD231PS (R15), Y8, Y0
	ADDQ $4, AX
	ADDQ $4, R15
	DECQ CX
	JNZ  restTap
	DECQ DX
	JNZ  restPlane

	VMOVUPS Y0, (DI)(R13*1)
	ADDQ $32, R13
	JMP  rest

end:
	VZEROUPPER
	RET

// ROWn adds 8n columns of the row at R10 times Y15 to the sums from Y0 on.
#define ROW1 \
	VFMADD231PS (R10), Y15, Y0
#define ROW4 \
	ROW1; \
	VFMADD231PS 32(R10), Y15, Y1; \
	VFMADD231PS 64(R10), Y15, Y2; \
	VFMADD231PS 96(R10), Y15, Y3
#define ROW13 \
	ROW4; \
	VFMADD231PS 128(R10), Y15, Y4; \
	VFMADD231PS 160(R10), Y15, Y5; \
	VFMADD231PS 192(R10), Y15, Y6; \
	VFMADD231PS 224(R10), Y15, Y7; \
	VFMADD231PS 256(R10), Y15, Y8; \
	VFMADD231PS 288(R10), Y15, Y9; \
	VFMADD231PS 320(R10), Y15, Y10; \
	VFMADD231PS 352(R10), Y15, Y11; \
	VFMADD231PS 384(R10), Y15, Y12

// ENTRY leaves the address of an entry's row in R10 and its value in Y15.
#define ENTRY \
	MOVLQSX (R8)(DX*4), R10; \
	VBROADCASTSS (R9)(DX*4), Y15; \
	IMULQ R12, R10; \
	ADDQ SI, R10; \
	INCQ DX

#define ADDTO(at, acc) \
	VADDPS at(DI), acc, acc; \
	VMOVUPS acc, at(DI)

// func dense(dst, w []float32, index []int32, value []float32)
//
// A tile is 104 columns, the paper's 100 hidden units, or 32 or 8; its sums stay
// in Y0-Y12 over all entries.
//
//	DI, SI  dst, w from the tile on   R12      bytes of a row
//	R8, R9  index, value              CX, DX   their number, the next
//	BX      columns left              R10      row
TEXT ·dense(SB), NOSPLIT, $0-96
	MOVQ dst_base+0(FP), DI
	MOVQ dst_len+8(FP), BX
	MOVQ w_base+24(FP), SI
	MOVQ index_base+48(FP), R8
	MOVQ index_len+56(FP), CX
	MOVQ value_base+72(FP), R9
	LEAQ (BX*4), R12

tile13:
	CMPQ BX, $104
	JLT  tile4
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	VXORPS Y8, Y8, Y8
	VXORPS Y9, Y9, Y9
	VXORPS Y10, Y10, Y10
	VXORPS Y11, Y11, Y11
	VXORPS Y12, Y12, Y12
	XORQ DX, DX

entry13:
	ENTRY
	ROW13
	CMPQ DX, CX
	JLT  entry13

	ADDTO(0, Y0)
	ADDTO(32, Y1)
	ADDTO(64, Y2)
	ADDTO(96, Y3)
	ADDTO(128, Y4)
	ADDTO(160, Y5)
	ADDTO(192, Y6)
	ADDTO(224, Y7)
	ADDTO(256, Y8)
	ADDTO(288, Y9)
	ADDTO(320, Y10)
	ADDTO(352, Y11)
	ADDTO(384, Y12)
	ADDQ $416, DI
	ADDQ $416, SI
	SUBQ $104, BX
	JMP  tile13

tile4:
	CMPQ BX, $32
	JLT  tile1
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	XORQ DX, DX

entry4:
	ENTRY
	ROW4
	CMPQ DX, CX
	JLT  entry4

	ADDTO(0, Y0)
	ADDTO(32, Y1)
	ADDTO(64, Y2)
	ADDTO(96, Y3)
	ADDQ $128, DI
	ADDQ $128, SI
	SUBQ $32, BX
	JMP  tile4

tile1:
	TESTQ BX, BX
	JZ   denseDone
	VXORPS Y0, Y0, Y0
	XORQ DX, DX

entry1:
	ENTRY
	ROW1
	CMPQ DX, CX
	JLT  entry1

	ADDTO(0, Y0)
	ADDQ $32, DI
	ADDQ $32, SI
	SUBQ $8, BX
	JMP  tile1

denseDone:
	VZEROUPPER
	RET

DATA lanes<>+0(SB)/4, $0
DATA lanes<>+4(SB)/4, $1
DATA lanes<>+8(SB)/4, $2
DATA lanes<>+12(SB)/4, $3
DATA lanes<>+16(SB)/4, $4
DATA lanes<>+20(SB)/4, $5
DATA lanes<>+24(SB)/4, $6
DATA lanes<>+28(SB)/4, $7
GLOBL lanes<>(SB), RODATA|NOPTR, $32

// func listLanes(index []int32, value, x []float32, first, stride int, order *[256][8]uint8) int
//
// 8 values at a time: those that are not zero move to the front, all 8 are
// stored, and the next 8 are stored behind those that count.
//
//	R8, R9  index, value   SI, CX  x, values left   DX  length of the list
//	R10     order          Y5, Y6  rows, their step to the next 8
TEXT ·listLanes(SB), NOSPLIT, $0-104
	MOVQ index_base+0(FP), R8
	MOVQ value_base+24(FP), R9
	MOVQ x_base+48(FP), SI
	MOVQ x_len+56(FP), CX
	VPBROADCASTD first+72(FP), Y5
	VPBROADCASTD stride+80(FP), Y6
	MOVQ order+88(FP), R10
	VPMULLD lanes<>(SB), Y6, Y7
	VPADDD Y7, Y5, Y5
	VPSLLD $3, Y6, Y6
	VPXOR Y4, Y4, Y4
	XORQ DX, DX

eight:
	VMOVUPS (SI), Y0
	VCMPPS $4, Y4, Y0, Y1
	VMOVMSKPS Y1, AX
	VPMOVZXBD (R10)(AX*8), Y2
	VPERMPS Y0, Y2, Y0
	VPERMD Y5, Y2, Y3
	VMOVUPS Y0, (R9)(DX*4)
	VMOVDQU Y3, (R8)(DX*4)
	POPCNTL AX, AX
	ADDQ AX, DX
	VPADDD Y6, Y5, Y5
	ADDQ $32, SI
	SUBQ $8, CX
	JNZ  eight
	MOVQ DX, ret+96(FP)
	VZEROUPPER
	RET

// func maxInto(dst, src []float32)
TEXT ·maxInto(SB), NOSPLIT, $0-48
	MOVQ dst_base+0(FP), DI
	MOVQ dst_len+8(FP), CX
	MOVQ src_base+24(FP), SI
	XORQ BX, BX
	MOVQ CX, DX
	ANDQ $~7, DX

maxLanes:
	CMPQ BX, DX
	JGE  maxSingle
	VMOVUPS (DI)(BX*4), Y0
	VMAXPS (SI)(BX*4), Y0, Y0
	VMOVUPS Y0, (DI)(BX*4)
	ADDQ $8, BX
	JMP  maxLanes

maxSingle:
	CMPQ BX, CX
	JGE  maxDone
	VMOVSS (DI)(BX*4), X0
	VMAXSS (SI)(BX*4), X0, X0
	VMOVSS X0, (DI)(BX*4)
	INCQ BX
	JMP  maxSingle

maxDone:
	VZEROUPPER
	RET

// The lanes of a poolThree result before they are put in order.
DATA poolOrder<>+0(SB)/4, $0
DATA poolOrder<>+4(SB)/4, $3
DATA poolOrder<>+8(SB)/4, $6
DATA poolOrder<>+12(SB)/4, $1
DATA poolOrder<>+16(SB)/4, $4
DATA poolOrder<>+20(SB)/4, $7
DATA poolOrder<>+24(SB)/4, $2
DATA poolOrder<>+28(SB)/4, $5
GLOBL poolOrder<>(SB), RODATA|NOPTR, $32

// func poolThree(dst, src []float32)
//
// Of the maxima that start at columns 0-7, 8-15 and 16-23, every third is wanted:
// lanes 0, 3, 6 of the first, 1, 4, 7 of the second, 2, 5 of the third.
TEXT ·poolThree(SB), NOSPLIT, $0-48
	MOVQ dst_base+0(FP), DI
	MOVQ dst_len+8(FP), CX
	MOVQ src_base+24(FP), SI
	VMOVUPS poolOrder<>(SB), Y4
	VPXOR Y5, Y5, Y5

pool:
	VMOVUPS (SI), Y0
	VMOVUPS 32(SI), Y1
	VMOVUPS 64(SI), Y2
	VMAXPS 4(SI), Y0, Y0
	VMAXPS 36(SI), Y1, Y1
	VMAXPS 68(SI), Y2, Y2
	VMAXPS 8(SI), Y0, Y0
	VMAXPS 40(SI), Y1, Y1
	VMAXPS 72(SI), Y2, Y2
	VBLENDPS $0x92, Y1, Y0, Y0
	VBLENDPS $0x24, Y2, Y0, Y0
	VPERMPS Y0, Y4, Y0
	VPMAXSD Y5, Y0, Y0
	VMOVUPS Y0, (DI)
	ADDQ $96, SI
	ADDQ $32, DI
	SUBQ $8, CX
	JNZ  pool
	VZEROUPPER
	RET

// 1/255 and what float32 rounds away of it: v*1/255 is then rounded but once, to
// v/255.
DATA perOctet<>+0(SB)/4, $0x3b808081
DATA perOctet<>+4(SB)/4, $0xaf7efeff
GLOBL perOctet<>(SB), RODATA|NOPTR, $8

// func scaleOctets(dst []float32, src []byte)
TEXT ·scaleOctets(SB), NOSPLIT, $0-48
	MOVQ dst_base+0(FP), DI
	MOVQ src_base+24(FP), SI
	MOVQ src_len+32(FP), CX
	VBROADCASTSS perOctet<>+0(SB), Y4
	VBROADCASTSS perOctet<>+4(SB), Y5

octets:
	VPMOVZXBD (SI), Y0
	VCVTDQ2PS Y0, Y0
	VMULPS Y5, Y0, Y1
	VFMADD231PS Y4, Y0, Y1
	VMOVUPS Y1, (DI)
	ADDQ $8, SI
	ADDQ $32, DI
	SUBQ $8, CX
	JNZ  octets
	VZEROUPPER
	RET
