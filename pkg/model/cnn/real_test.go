package cnn_test

import (
	"context"
	"flag"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

var every = flag.Int("every", 25, "check one in this many real windows against the full forward pass")

// Real windows, as successive windows of their devices, through the paper's
// model: the incremental engine says what the full forward pass says, and in
// batches of 33 it says the same again.
func TestNextOnRealWindows(t *testing.T) {
	set, err := dataset.Open(dataset.Options{Manifest: filepath.Join(testenv.Data(t), "manifest.csv"), Splits: []string{"test"}})
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := embedded.Paper()
	if err != nil {
		t.Fatal(err)
	}
	m := bundle[""]
	e, many, sliding, ref := newEngine(t, m), newEngine(t, m), newEngine(t, m), newEngine(t, m)
	sliding.runner.ComputePadding()
	scaler := cnn.NewScaler(m.Record, m.Scaling)
	d := modeltest.Dims(m)
	input, logits := make([]float32, m.Net.Span()*d.Width), make([]float32, d.Classes)
	probs, slow := make([]float32, d.Classes), make([]float32, d.Classes)
	type memories struct{ fast, shared, sliding cnn.Memory }
	var together batch
	var alone [][]float32
	compare := func() {
		if err := many.NextBatch(together.memories, together.rows, together.probs); err != nil {
			t.Fatal(err)
		}
		for i, want := range alone {
			if !sameBits(together.probs[i], want) {
				t.Fatalf("a window of %s is %v in a batch, want the bits of %v", together.rows[i].Device, together.probs[i], want)
			}
		}
		together, alone = batch{}, nil
	}
	devices := map[string]*memories{}
	n, checked, worst, step := 0, 0, 0.0, *every
	if testing.Short() {
		step *= 20
	}
	windows := map[string][]flows.Row{}
	_, err = set.Steps(context.Background(), m.Record.Stream(), func(x dataset.Example) error {
		key, row := x.Capture+x.Name, x.Step.Row
		windows[key] = append(windows[key], row)
		window := windows[key][max(0, len(windows[key])-m.Net.Span()):]
		s := devices[key]
		if s == nil {
			s = &memories{}
			devices[key] = s
		}
		if err := e.Next(&s.fast, row, probs); err != nil {
			return err
		}
		together.add(&s.shared, row, d.Classes)
		if alone = append(alone, slices.Clone(probs)); len(alone) == 33 {
			compare()
		}
		if n++; n%step >= 3 { // three successive windows of each stretch
			s.sliding = cnn.Memory{}
			return nil
		}
		checked++
		if err := scaler.Window(input, m.Net.Span(), window); err != nil {
			return err
		}
		if err := ref.runner.Forward(input, logits); err != nil {
			return err
		}
		for _, r := range window[min(s.sliding.Rows(), len(window)-1):] {
			if err := sliding.Next(&s.sliding, r, slow); err != nil {
				return err
			}
		}
		for i, l := range sliding.Logits() {
			if math.Float32bits(l) != math.Float32bits(logits[i]) {
				t.Fatalf("window %d of %s: logit %d is %v, want the bits of %v", n, key, i, l, logits[i])
			}
		}
		l := make([]float64, len(logits))
		for i, v := range logits {
			l[i] = float64(v)
		}
		for i, want := range softmax64(l, m.Temperature()) {
			worst = max(worst, math.Abs(want-float64(probs[i])))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	compare()
	if checked == 0 || worst > 1e-6 {
		t.Errorf("over %d of %d windows a probability is %g away from the full forward pass", checked, n, worst)
	}
	t.Logf("%d of %d windows checked, largest difference %.1e", checked, n, worst)
}

// A memory's size follows its present rows: it forgets that there was a longer one.
func TestMemorySize(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	e := newEngine(t, modeltest.Model(r, cnn.DefaultArchitecture(5), 27))
	median, full := []int{331, 330}, []int{1000, 1000, 1000} // the data set's median row has 665 payload values
	for _, c := range []struct {
		name   string
		before []int
		row    []int
		limit  int
	}{
		{"median rows", median, median, 24 << 10},
		{"median rows after full ones", full, median, 24 << 10},
		{"full rows", full, full, 80 << 10},
	} {
		var rows []flows.Row
		for range 5 {
			rows = append(rows, flows.Row{Record: modeltest.Record(r, c.before...)})
		}
		for range 5 {
			rows = append(rows, flows.Row{Record: modeltest.Record(r, c.row...)})
		}
		var m cnn.Memory
		probs := make([]float32, 27)
		for _, row := range rows {
			if err := e.Next(&m, row, probs); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%s: %d bytes", c.name, m.Bytes())
		if got := m.Bytes(); got > c.limit {
			t.Errorf("%s: a memory of %d bytes, want at most %d", c.name, got, c.limit)
		}
	}
}
