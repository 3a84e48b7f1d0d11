//go:build !purego

#include "textflag.h"

// NEON loops. Columns are worked on in tiles whose accumulators stay in
// registers; within a column, products are added plane by plane and tap by tap,
// as in plain Go, each by one fused multiply-add.

// The assembler lacks these instructions:
// FMLA  Vacc.4S, Vx.4S, Vw.S[lane]
// FMAX  Vacc.4S, Vacc.4S, Vx.4S
// FADD  Vacc.4S, Vacc.4S, Vx.4S
// UCVTF Vv.4S, Vv.4S
// FMUL  Vd.4S, Vx.4S, Vw.S[lane]
#define FMLA(w, lane, x, acc) WORD $(0x4F801000 | ((lane)&1)<<21 | ((lane)>>1)<<11 | (w)<<16 | (x)<<5 | (acc))
#define FMAX(x, acc) WORD $(0x4E20F400 | (x)<<16 | (acc)<<5 | (acc))
#define FADD(x, acc) WORD $(0x4E20D400 | (x)<<16 | (acc)<<5 | (acc))
#define UCVTF(v) WORD $(0x6E21D800 | (v)<<5 | (v))
#define FMUL(w, lane, x, d) WORD $(0x4F809000 | ((lane)&1)<<21 | ((lane)>>1)<<11 | (w)<<16 | (x)<<5 | (d))

#define CLEAR(v) VEOR v.B16, v.B16, v.B16
#define CLEAR8(a, b, c, d, e, f, g, h) \
	CLEAR(a); CLEAR(b); CLEAR(c); CLEAR(d); CLEAR(e); CLEAR(f); CLEAR(g); CLEAR(h)

// func correlatePair(dst0, dst1 []float32, xs [][]float32, w []float32, taps int, bias0, bias1 float32)
//
// A tile is 32 columns of both filters: V0-V7 and V8-V15. The last tile is moved
// back to end with the last column; columns that two tiles cover come out the
// same from both. Fewer than 32 columns are taken 8 at a time.
//
//	R0, R1  dst0, dst1          R2, R3  plane headers, their number
//	R4      weights             R5      taps
//	R6      bytes of a plane    R7      byte offset of the tile
TEXT ·correlatePair(SB), NOSPLIT, $0-112
	MOVD dst0_base+0(FP), R0
	MOVD dst0_len+8(FP), R6
	MOVD dst1_base+24(FP), R1
	MOVD xs_base+48(FP), R2
	MOVD xs_len+56(FP), R3
	MOVD w_base+72(FP), R4
	MOVD taps+96(FP), R5
	FMOVS bias0+104(FP), F30
	FMOVS bias1+108(FP), F31
	VDUP V30.S[0], V30.S4
	VDUP V31.S[0], V31.S4
	VEOR V29.B16, V29.B16, V29.B16
	LSL  $2, R6
	MOVD $0, R7
	CMP  $128, R6
	BLT  narrow

wide:
	VMOV V30.B16, V0.B16
	VMOV V30.B16, V1.B16
	VMOV V30.B16, V2.B16
	VMOV V30.B16, V3.B16
	VMOV V30.B16, V4.B16
	VMOV V30.B16, V5.B16
	VMOV V30.B16, V6.B16
	VMOV V30.B16, V7.B16
	VMOV V31.B16, V8.B16
	VMOV V31.B16, V9.B16
	VMOV V31.B16, V10.B16
	VMOV V31.B16, V11.B16
	VMOV V31.B16, V12.B16
	VMOV V31.B16, V13.B16
	VMOV V31.B16, V14.B16
	VMOV V31.B16, V15.B16
	MOVD R4, R8
	MOVD R2, R9
	MOVD R3, R10

widePlane:
	MOVD (R9), R11
	ADD  R7, R11
	ADD  $24, R9
	MOVD R5, R12

wideTap:
	FLDPS (R8), (F24, F25)
	ADD  $64, R11, R13
	VLD1 (R11), [V16.S4, V17.S4, V18.S4, V19.S4]
	VLD1 (R13), [V20.S4, V21.S4, V22.S4, V23.S4]
	FMLA(24, 0, 16, 0)
	FMLA(25, 0, 16, 8)
	FMLA(24, 0, 17, 1)
	FMLA(25, 0, 17, 9)
	FMLA(24, 0, 18, 2)
	FMLA(25, 0, 18, 10)
	FMLA(24, 0, 19, 3)
	FMLA(25, 0, 19, 11)
	FMLA(24, 0, 20, 4)
	FMLA(25, 0, 20, 12)
	FMLA(24, 0, 21, 5)
	FMLA(25, 0, 21, 13)
	FMLA(24, 0, 22, 6)
	FMLA(25, 0, 22, 14)
	FMLA(24, 0, 23, 7)
	FMLA(25, 0, 23, 15)
	ADD  $8, R8
	ADD  $4, R11
	SUB  $1, R12
	CBNZ R12, wideTap
	SUB  $1, R10
	CBNZ R10, widePlane

	FMAX(29, 0)
	FMAX(29, 1)
	FMAX(29, 2)
	FMAX(29, 3)
	FMAX(29, 4)
	FMAX(29, 5)
	FMAX(29, 6)
	FMAX(29, 7)
	FMAX(29, 8)
	FMAX(29, 9)
	FMAX(29, 10)
	FMAX(29, 11)
	FMAX(29, 12)
	FMAX(29, 13)
	FMAX(29, 14)
	FMAX(29, 15)
	ADD  R7, R0, R13
	ADD  R7, R1, R14
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R13)
	VST1 [V4.S4, V5.S4, V6.S4, V7.S4], (R13)
	VST1.P [V8.S4, V9.S4, V10.S4, V11.S4], 64(R14)
	VST1 [V12.S4, V13.S4, V14.S4, V15.S4], (R14)

	ADD  $128, R7
	CMP  R6, R7
	BGE  done
	SUB  $128, R6, R13
	CMP  R13, R7
	BLE  wide
	MOVD R13, R7
	B    wide

narrow:
	VMOV V30.B16, V0.B16
	VMOV V30.B16, V1.B16
	VMOV V31.B16, V8.B16
	VMOV V31.B16, V9.B16
	MOVD R4, R8
	MOVD R2, R9
	MOVD R3, R10

narrowPlane:
	MOVD (R9), R11
	ADD  R7, R11
	ADD  $24, R9
	MOVD R5, R12

narrowTap:
	FLDPS (R8), (F24, F25)
	VLD1 (R11), [V16.S4, V17.S4]
	FMLA(24, 0, 16, 0)
	FMLA(25, 0, 16, 8)
	FMLA(24, 0, 17, 1)
	FMLA(25, 0, 17, 9)
	ADD  $8, R8
	ADD  $4, R11
	SUB  $1, R12
	CBNZ R12, narrowTap
	SUB  $1, R10
	CBNZ R10, narrowPlane

	FMAX(29, 0)
	FMAX(29, 1)
	FMAX(29, 8)
	FMAX(29, 9)
	ADD  R7, R0, R13
	ADD  R7, R1, R14
	VST1 [V0.S4, V1.S4], (R13)
	VST1 [V8.S4, V9.S4], (R14)
	ADD  $32, R7
	CMP  R6, R7
	BLT  narrow

done:
	RET

// func correlateRows(dst0, dst1 []float32, xs [][]float32, cols []int, w, shares []float32, planes, taps int, bias0, bias1 float32)
//
// A tile is 24 columns of both filters: a row's correlations grow in V0-V5 and
// V6-V11 and are then added to the sums in V12-V17 and V18-V23.
//
//	R0, R1  dst0, dst1          R2, R3   columns of rows, rows left
//	R4      weights             R5       taps
//	R6      bytes of dst        R7       byte offset of the tile
//	R8      shares of a row     R9       plane headers
//	R10     planes left         R11      plane
//	R12     taps left
TEXT ·correlateRows(SB), NOSPLIT, $0-168
	MOVD dst0_base+0(FP), R0
	MOVD dst0_len+8(FP), R6
	MOVD dst1_base+24(FP), R1
	MOVD taps+152(FP), R5
	LSL  $2, R6
	MOVD $0, R7

rowsTile:
	FMOVS bias0+160(FP), F12
	FMOVS bias1+164(FP), F18
	VDUP V12.S[0], V12.S4
	VDUP V18.S[0], V18.S4
	VMOV V12.B16, V13.B16
	VMOV V12.B16, V14.B16
	VMOV V12.B16, V15.B16
	VMOV V12.B16, V16.B16
	VMOV V12.B16, V17.B16
	VMOV V18.B16, V19.B16
	VMOV V18.B16, V20.B16
	VMOV V18.B16, V21.B16
	VMOV V18.B16, V22.B16
	VMOV V18.B16, V23.B16
	MOVD cols_base+72(FP), R2
	MOVD cols_len+80(FP), R3
	MOVD w_base+96(FP), R4
	MOVD shares_base+120(FP), R8
	MOVD xs_base+48(FP), R9

rowsRow:
	MOVD planes+144(FP), R10
	MOVD.P 8(R2), R13
	CMP  R13<<2, R7
	BGE  rowsConstant
	CLEAR8(V0, V1, V2, V3, V4, V5, V6, V7)
	CLEAR(V8)
	CLEAR(V9)
	CLEAR(V10)
	CLEAR(V11)

rowsPlane:
	MOVD (R9), R11
	ADD  R7, R11
	ADD  $24, R9
	MOVD R5, R12

rowsTap:
	FLDPS (R4), (F24, F25)
	ADD  $64, R11, R13
	VLD1 (R11), [V26.S4, V27.S4, V28.S4, V29.S4]
	VLD1 (R13), [V30.S4, V31.S4]
	FMLA(24, 0, 26, 0)
	FMLA(25, 0, 26, 6)
	FMLA(24, 0, 27, 1)
	FMLA(25, 0, 27, 7)
	FMLA(24, 0, 28, 2)
	FMLA(25, 0, 28, 8)
	FMLA(24, 0, 29, 3)
	FMLA(25, 0, 29, 9)
	FMLA(24, 0, 30, 4)
	FMLA(25, 0, 30, 10)
	FMLA(24, 0, 31, 5)
	FMLA(25, 0, 31, 11)
	ADD  $8, R4
	ADD  $4, R11
	SUB  $1, R12
	CBNZ R12, rowsTap
	SUB  $1, R10
	CBNZ R10, rowsPlane
	FADD(0, 12)
	FADD(1, 13)
	FADD(2, 14)
	FADD(3, 15)
	FADD(4, 16)
	FADD(5, 17)
	FADD(6, 18)
	FADD(7, 19)
	FADD(8, 20)
	FADD(9, 21)
	FADD(10, 22)
	FADD(11, 23)
	B    rowsNext

rowsConstant:
	FLDPS (R8), (F24, F25)
	VDUP V24.S[0], V24.S4
	VDUP V25.S[0], V25.S4
	FADD(24, 12)
	FADD(24, 13)
	FADD(24, 14)
	FADD(24, 15)
	FADD(24, 16)
	FADD(24, 17)
	FADD(25, 18)
	FADD(25, 19)
	FADD(25, 20)
	FADD(25, 21)
	FADD(25, 22)
	FADD(25, 23)
	ADD  R10<<4, R9
	ADD  R10<<3, R9
	MUL  R5, R10
	ADD  R10<<3, R4

rowsNext:
	ADD  $8, R8
	SUB  $1, R3
	CBNZ R3, rowsRow
	ADD  R7, R0, R13
	ADD  R7, R1, R14
	VST1.P [V12.S4, V13.S4, V14.S4, V15.S4], 64(R13)
	VST1 [V16.S4, V17.S4], (R13)
	VST1.P [V18.S4, V19.S4, V20.S4, V21.S4], 64(R14)
	VST1 [V22.S4, V23.S4], (R14)
	ADD  $96, R7
	CMP  R6, R7
	BLT  rowsTile
	RET

// func correlateOne(dst []float32, xs, ws [][]float32, taps int)
//
// A tile is 32 columns, V0-V7; what is left is taken 8 at a time.
//
//	R0      dst                 R2, R3  plane headers, their number
//	R4      kernel row headers  R5      taps
//	R6      bytes of dst left
//	R7      byte offset of the tile
TEXT ·correlateOne(SB), NOSPLIT, $0-80
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R6
	MOVD xs_base+24(FP), R2
	MOVD ws_base+48(FP), R4
	MOVD ws_len+56(FP), R3
	MOVD taps+72(FP), R5
	LSL  $2, R6
	MOVD $0, R7

tiles:
	CMP  $128, R6
	BLT  rest
	ADD  $64, R0, R13
	VLD1 (R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1 (R13), [V4.S4, V5.S4, V6.S4, V7.S4]
	MOVD R4, R14
	MOVD R2, R9
	MOVD R3, R10

tilePlane:
	MOVD (R14), R8
	MOVD (R9), R11
	ADD  R7, R11
	ADD  $24, R14
	ADD  $24, R9
	MOVD R5, R12

tileTap:
	FMOVS (R8), F24
	ADD  $64, R11, R13
	VLD1 (R11), [V16.S4, V17.S4, V18.S4, V19.S4]
	VLD1 (R13), [V20.S4, V21.S4, V22.S4, V23.S4]
	FMLA(24, 0, 16, 0)
	FMLA(24, 0, 17, 1)
	FMLA(24, 0, 18, 2)
	FMLA(24, 0, 19, 3)
	FMLA(24, 0, 20, 4)
	FMLA(24, 0, 21, 5)
	FMLA(24, 0, 22, 6)
	FMLA(24, 0, 23, 7)
	ADD  $4, R8
	ADD  $4, R11
	SUB  $1, R12
	CBNZ R12, tileTap
	SUB  $1, R10
	CBNZ R10, tilePlane

	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R0)
	ADD  $128, R7
	SUB  $128, R6
	B    tiles

rest:
	CBZ  R6, end
	VLD1 (R0), [V0.S4, V1.S4]
	MOVD R4, R14
	MOVD R2, R9
	MOVD R3, R10

restPlane:
	MOVD (R14), R8
	MOVD (R9), R11
	ADD  R7, R11
	ADD  $24, R14
	ADD  $24, R9
	MOVD R5, R12

restTap:
	FMOVS (R8), F24
	VLD1 (R11), [V16.S4, V17.S4]
	FMLA(24, 0, 16, 0)
	FMLA(24, 0, 17, 1)
	ADD  $4, R8
	ADD  $4, R11
	SUB  $1, R12
	CBNZ R12, restTap
	SUB  $1, R10
	CBNZ R10, restPlane

	VST1.P [V0.S4, V1.S4], 32(R0)
	ADD  $32, R7
	SUB  $32, R6
	B    rest

end:
	RET

// ENTRY leaves the address of an entry's row in R10 and its value in V31.
#define ENTRY \
	MOVW.P 4(R7), R10; \
	FMOVS.P 4(R8), F31; \
	MADD R1, R2, R10, R10; \
	SUB  $1, R9

// ROW16 adds 16 columns of the row to the sums from acc on, ROW8 adds 8.
#define ROW16(acc) \
	VLD1.P 64(R10), [V26.S4, V27.S4, V28.S4, V29.S4]; \
	FMLA(31, 0, 26, acc); \
	FMLA(31, 0, 27, acc+1); \
	FMLA(31, 0, 28, acc+2); \
	FMLA(31, 0, 29, acc+3)
#define ROW8(acc) \
	VLD1 (R10), [V26.S4, V27.S4]; \
	FMLA(31, 0, 26, acc); \
	FMLA(31, 0, 27, acc+1)

// SUM16 adds the sums from acc on to 16 columns of dst, SUM8 to 8.
#define SUM16(acc) \
	VLD1 (R0), [V26.S4, V27.S4, V28.S4, V29.S4]; \
	FADD(acc, 26); \
	FADD(acc+1, 27); \
	FADD(acc+2, 28); \
	FADD(acc+3, 29); \
	VST1.P [V26.S4, V27.S4, V28.S4, V29.S4], 64(R0)
#define SUM8(acc) \
	VLD1 (R0), [V26.S4, V27.S4]; \
	FADD(acc, 26); \
	FADD(acc+1, 27); \
	VST1.P [V26.S4, V27.S4], 32(R0)

// func dense(dst, w []float32, index []int32, value []float32)
//
// A tile is 104 columns, the paper's 100 hidden units, or 32 or 8; its sums stay
// in V0-V25 over all entries.
//
//	R0, R2  dst, w from the tile on    R1          bytes of a row
//	R3, R4  index, value               R5          their number
//	R6      columns left               R7, R8, R9  next index, value, entries left
//	R10     row
TEXT ·dense(SB), NOSPLIT, $0-96
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R6
	MOVD w_base+24(FP), R2
	MOVD index_base+48(FP), R3
	MOVD index_len+56(FP), R5
	MOVD value_base+72(FP), R4
	LSL  $2, R6, R1

tile13:
	CMP  $104, R6
	BLT  tile4
	CLEAR8(V0, V1, V2, V3, V4, V5, V6, V7)
	CLEAR8(V8, V9, V10, V11, V12, V13, V14, V15)
	CLEAR8(V16, V17, V18, V19, V20, V21, V22, V23)
	CLEAR(V24)
	CLEAR(V25)
	MOVD R3, R7
	MOVD R4, R8
	MOVD R5, R9

entry13:
	ENTRY
	ROW16(0)
	ROW16(4)
	ROW16(8)
	ROW16(12)
	ROW16(16)
	ROW16(20)
	ROW8(24)
	CBNZ R9, entry13

	SUM16(0)
	SUM16(4)
	SUM16(8)
	SUM16(12)
	SUM16(16)
	SUM16(20)
	SUM8(24)
	ADD  $416, R2
	SUB  $104, R6
	B    tile13

tile4:
	CMP  $32, R6
	BLT  tile1
	CLEAR8(V0, V1, V2, V3, V4, V5, V6, V7)
	MOVD R3, R7
	MOVD R4, R8
	MOVD R5, R9

entry4:
	ENTRY
	ROW16(0)
	ROW16(4)
	CBNZ R9, entry4

	SUM16(0)
	SUM16(4)
	ADD  $128, R2
	SUB  $32, R6
	B    tile4

tile1:
	CBZ  R6, denseDone
	CLEAR(V0)
	CLEAR(V1)
	MOVD R3, R7
	MOVD R4, R8
	MOVD R5, R9

entry1:
	ENTRY
	ROW8(0)
	CBNZ R9, entry1

	SUM8(0)
	ADD  $32, R2
	SUB  $8, R6
	B    tile1

denseDone:
	RET

// func maxInto(dst, src []float32)
//
// No value is negative, so their bits as integers have the order of the values.
TEXT ·maxInto(SB), NOSPLIT, $0-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	CMP  $8, R1
	BLT  maxSingles

maxLanes:
	VLD1 (R0), [V0.S4, V1.S4]
	VLD1.P 32(R2), [V2.S4, V3.S4]
	VUMAX V2.S4, V0.S4, V0.S4
	VUMAX V3.S4, V1.S4, V1.S4
	VST1.P [V0.S4, V1.S4], 32(R0)
	SUB  $8, R1
	CMP  $8, R1
	BGE  maxLanes

maxSingles:
	CBZ  R1, maxDone
	FMOVS (R0), F0
	FMOVS.P 4(R2), F2
	FMAXS F2, F0, F0
	FMOVS.P F0, 4(R0)
	SUB  $1, R1
	B    maxSingles

maxDone:
	RET

// func poolThree(dst, src []float32)
TEXT ·poolThree(SB), NOSPLIT, $0-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	CLEAR(V3)

pool:
	VLD3.P 48(R2), [V0.S4, V1.S4, V2.S4]
	FMAX(1, 0)
	FMAX(2, 0)
	FMAX(3, 0)
	VST1.P [V0.S4], 16(R0)
	SUB  $4, R1
	CBNZ R1, pool
	RET

// 1/255 and what float32 rounds away of it: v*1/255 is then rounded but once, to
// v/255.
DATA perOctet<>+0(SB)/4, $0x3b808081
DATA perOctet<>+4(SB)/4, $0xaf7efeff
GLOBL perOctet<>(SB), RODATA|NOPTR, $8

// func scaleOctets(dst []float32, src []byte)
TEXT ·scaleOctets(SB), NOSPLIT, $0-48
	MOVD dst_base+0(FP), R0
	MOVD src_base+24(FP), R1
	MOVD src_len+32(FP), R2
	MOVD $perOctet<>(SB), R3
	VLD1 (R3), [V4.D1]

octets:
	VLD1.P 8(R1), [V0.B8]
	VUXTL  V0.B8, V0.H8
	VUXTL2 V0.H8, V1.S4
	VUXTL  V0.H4, V0.S4
	UCVTF(0)
	UCVTF(1)
	FMUL(4, 1, 0, 2)
	FMUL(4, 1, 1, 3)
	FMLA(4, 0, 0, 2)
	FMLA(4, 0, 1, 3)
	VST1.P [V2.S4, V3.S4], 32(R0)
	SUB  $8, R2
	CBNZ R2, octets
	RET
