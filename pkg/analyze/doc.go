// Package analyze describes a labelled data set as the paper's section III does:
// records per class (Table III), entropy of metadata (Fig. 2) and of payload
// bytes (Figs 3 and 4), transitions between services (Fig. 5) and the shares its
// text quotes. With [Config.Leaks] it also measures what would let a model
// recognise a unit, or a split's copies, instead of a type.
//
// In go labelled records in the order of each device's stream, out comes one
// [Result]. Only counters are kept, with a limit on each, so memory does not grow
// with the number of records; the same records give the same Result. The package
// reads no file, trains nothing and draws nothing: pictures are package report's.
package analyze
