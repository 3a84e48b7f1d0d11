// Package bench measures what naming a device costs: inference alone, and the
// whole path from packet to verdict. In go a model and windows or frames, out
// come rates, times and memory. It never prints, and never judges a figure.
//
// What is measured is what runs live: the engine of package model, the table and
// the assembler of package flows, the classifier. Nothing here computes a result
// of its own or remembers one.
package bench
