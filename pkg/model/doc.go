// Package model holds what every model has, whatever network is in it: class names,
// the record it was made for, scaling, calibration, thresholds, and the file.
//
// In go rows of devices' streams, out come class probabilities. The package neither
// trains (that is pkg/model/train) nor scores (pkg/model/score), and it never imports
// gorgonia, so the packet path stays small. What is between a row and its logits is a
// [Net]; package networks has the kinds there are.
//
//	flows.Step -> Runner, with the device's Memory -> logits -> Engine -> probabilities
//	                ^                                             ^
//	                Net                  of a Model (safetensors file)
package model
