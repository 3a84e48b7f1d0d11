package main

// This file tells people how far an experiment is.

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/experiment"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// watcher tells it on stderr.
type watcher struct{}

var _ experiment.Watcher = watcher{}

// Warn implements experiment.Watcher.
func (watcher) Warn(text string, args ...any) {
	for i, a := range args {
		if err, ok := a.(error); ok {
			args[i] = terminal.OneLine(err)
		}
	}
	terminal.Logger().Warn(text, args...)
}

// Begins implements experiment.Watcher.
func (watcher) Begins(line string) { fmt.Fprintln(os.Stderr, line) }

// Opened implements experiment.Watcher.
func (watcher) Opened(set *dataset.Set) { box.SayPassed(set.Passed()) }

// Files implements experiment.Watcher.
func (watcher) Files(what string) (func(done, total int, name string), func()) {
	return terminal.Progress(what)
}

// Training implements experiment.Watcher.
func (watcher) Training(name string) (func(train.Progress), func()) { return trainProgress(name) }

// Saves implements experiment.Watcher.
func (watcher) Saves(ctx context.Context) error { return terminal.Undoes(ctx) }

// Classified implements experiment.Watcher.
func (watcher) Classified(s dataset.CaptureSummary, k *classify.Classifier, bundle model.Bundle) {
	box.SayClassified(s, k, bundle)
}

// quiet is the longest time without a line where there is no terminal.
const quiet = time.Minute

// trainProgress shows batches on a terminal, or now and then elsewhere, and a line
// per epoch anywhere.
func trainProgress(service string) (show func(train.Progress), end func()) {
	name := "train"
	if service != "" {
		name += " " + service
	}
	var bar *progressbar.ProgressBar
	var said time.Duration // when the last line was printed
	onTerminal := term.IsTerminal(int(os.Stderr.Fd()))
	end = func() {
		if bar != nil {
			_ = bar.Finish() // a display that fails must not end the run
			bar = nil
		}
	}
	return func(p train.Progress) {
		if p.Ended {
			end()
			fmt.Fprintln(os.Stderr, progressLine(name, p))
			said = p.Elapsed
			return
		}
		if !onTerminal {
			if p.Elapsed-said >= quiet {
				fmt.Fprintln(os.Stderr, progressLine(name, p))
				said = p.Elapsed
			}
			return
		}
		if bar == nil {
			bar = progressbar.NewOptions(p.Batches, progressbar.OptionSetWriter(os.Stderr),
				progressbar.OptionSetDescription(fmt.Sprintf("%s: epoch %d", name, p.Epoch)),
				progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
		}
		_ = bar.Set(p.Batch)
	}, end
}

// progressLine is how far a run is, in the middle of an epoch or at its end.
func progressLine(name string, p train.Progress) string {
	figures := fmt.Sprintf("batch %d of %d, loss %.4f", p.Batch, p.Batches, p.Loss)
	if p.Ended {
		figures = fmt.Sprintf("loss %.4f, validation loss %.4f, accuracy %.3f, best epoch %d", p.Loss, p.ValLoss, p.ValAccuracy, p.BestEpoch)
	}
	return fmt.Sprintf("%s: epoch %d: %s, %v, at most %v left", name, p.Epoch, figures, p.Elapsed.Round(time.Second), p.Left.Round(time.Second))
}
