// Package naming sets what a model says of devices beside what other programs say of the
// same packets: maker, kind and model of each, right, wrong or not said, at some times
// after the device's first packet. In go labelled captures, programs that are installed
// and a table of what their words mean; out come counts.
package naming
