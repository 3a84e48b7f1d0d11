package classify

// This file runs a model over the captures of a data set.

import (
	"context"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// MaxFileDevices is how many devices of a capture are judged, far more than a network
// has: a file of invented ones must not take all memory.
const MaxFileDevices = 1 << 20

// Captures runs the model over the records of a data set, a Classifier for each capture,
// all with one engine; records of files come without facts, and with opts.NoFacts those of
// captures. each takes every record before its verdict, may be nil; done each
// capture once it is read, with its Classifier, nil where it gave no record. The error is
// that of [dataset.Set.Records].
func Captures(ctx context.Context, set *dataset.Set, bundle model.Bundle, opts Options, each func(flows.LabelledRecord) error, done func(dataset.CaptureSummary, *Classifier) error) error {
	opts.MaxDevices = MaxFileDevices
	var known *facts.Collector // of the capture that is read
	begin := func() { known = facts.NewCollector(MaxFileDevices) }
	begin()
	if !opts.NoFacts {
		opts.Facts = func(device string) *facts.Set { return known.Of(device) }
		set.Observe(begin, func(device string, sent bool, at int64, s *flows.Sample) { known.Sample(device, sent, at, s) })
		defer set.Observe(nil, nil)
	}
	one, err := New(bundle, opts)
	if err != nil {
		return err
	}
	classifiers := map[string]*Classifier{} // by capture
	return set.Records(ctx, func(r flows.LabelledRecord) error {
		k := classifiers[r.Capture]
		if k == nil {
			k = one.Another()
			classifiers[r.Capture] = k
		}
		if each != nil {
			if err := each(r); err != nil {
				return err
			}
		}
		return k.Record(r.Record)
	}, func(s dataset.CaptureSummary) error {
		k := classifiers[s.Name]
		delete(classifiers, s.Name)
		if k != nil {
			defer k.End()
		}
		defer begin() // records of files have none
		return done(s, k)
	})
}
