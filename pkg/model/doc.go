// Package model holds the paper's convolutional network (section IV-A): its
// file, its scaling and the engine that runs it on live traffic.
//
// In goes a [flows.Window] of raw records, out come class probabilities. The
// package neither trains (that is pkg/model/train) nor scores (pkg/model/score),
// and it never imports gorgonia, so the packet path stays small.
//
//	flows.Window -> Scaler -> Engine -> probabilities
//	                  ^         ^
//	                  Model (safetensors file)
package model
