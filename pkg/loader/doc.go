// Package loader joins the kernel half (bpf/) to Go: it loads the programs,
// keeps them on interfaces, reads their events, ends lives that are past their
// time, and reads the counters. Below it are the compiled programs (object), what
// puts them on one interface (attach) and keeps them there (watch) in one network
// namespace (network), the clocks (clock), what the kernel can do (probe) and what a
// packet costs (measure).
//
// In go interface names and what a record needs ([Config]); out come the events
// of flows' lives, to a [flows.Sink], and counters ([Stats]). The package makes
// no record, knows no device and no model, and never changes or drops a packet.
//
// A life that the sweep ends is marked in the kernel, left alone until every
// program that may not have seen the mark is done, and only then read and
// deleted; see bpf/flow.h for what packets do meanwhile.
package loader
