// Package train trains a network on labelled streams, whatever network it is (paper
// IV-A): epochs, Adam, averaged weights, early stopping, checkpoints, calibration.
//
// In go examples of a [dataset.Store] and a [Design], out comes a [model.Model].
// Gradients are the design's affair; package learn below model/cnn has the paper's.
// Adam is our own (adam.go), because a checkpoint holds its state. Nothing on the
// packet path imports this package.
package train
