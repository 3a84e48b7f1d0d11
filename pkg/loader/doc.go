// Package loader joins the kernel half (bpf/) to Go: it loads the programs,
// attaches them to interfaces, reads their events, ends lives that are past
// their time, and reads the counters. It is the only package that imports
// cilium/ebpf.
//
// In go interface names and what a record needs ([Config]); out come the events
// of flows' lives, to a [flows.Sink], and counters ([Stats]). The package makes
// no record, knows no device and no model, and never changes or drops a packet.
//
// A life that the sweep ends is marked in the kernel, left alone until every
// program that may not have seen the mark is done, and only then read and
// deleted; see bpf/flow.h for what packets do meanwhile.
package loader
