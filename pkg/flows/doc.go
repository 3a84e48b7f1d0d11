// Package flows turns packets into custom-flow records and records into rows of
// devices' streams: the paper's section III, settled in one place.
//
// In go parsed packets, from a capture file ([Table]), or the life events that
// the kernel half already made of them (package loader). Both meet in the
// [Assembler], so a record cannot depend on where its packets came from. Out
// come [Record] values in the order of their first packets, per device, and
// from those the next [Step] of a device's stream.
//
//	file   -> capture -> Parse -> Table -\
//	                                      >- Sample, Close -> Assembler -> Record -> Streams -> Step
//	kernel -> loader --------------------/
//
// The package touches neither the kernel nor a file, never scales a value and knows
// no model: rows carry raw values, scaling belongs to package model.
package flows
