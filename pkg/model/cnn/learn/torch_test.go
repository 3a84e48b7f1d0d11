package learn

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
	"github.com/iotsense/iotsense/pkg/model/train"
)

var dump = flag.String("dump", "", "directory for the files that bench/peers/oracle_torch.py compares with PyTorch")

// TestDumpForTorch writes one step's inputs, weights and gradients, and the
// weights after some Adam steps, as model files.
func TestDumpForTorch(t *testing.T) {
	if *dump == "" {
		t.Skip("needs -dump DIR; bench/peers/oracle_torch.py then does the comparing")
	}
	const size, steps = 8, 30
	m, b, windows, labels := fixture(t, noDropout(cnn.DefaultArchitecture(5)), size, 2)
	n, err := newNetwork(b, modeltest.Net(m).Weights)
	if err != nil {
		t.Fatal(err)
	}
	scaler := cnn.NewScaler(m.Record, m.Scaling)
	part := b.K * b.Width
	m.Background = make([]float32, size*part)
	var names []string
	for i, w := range windows {
		if err := scaler.Window(m.Background[i*part:][:part], b.K, w); err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprint(labels[i]))
	}
	save := func(name string, w cnn.Weights) {
		t.Helper()
		c := *m
		c.Net = &cnn.Net{Arch: b.Architecture, Weights: w}
		if err := c.Save(filepath.Join(*dump, name+".safetensors")); err != nil {
			t.Fatal(err)
		}
	}
	adam := train.NewAdam(1e-3, 0, n.Values())
	for at := range steps {
		loss, err := n.gradients(windows, labels, 1)
		if err != nil {
			t.Fatal(err)
		}
		if at == 0 {
			m.Training.Options = map[string]string{
				"labels": strings.Join(names, ","), "loss": fmt.Sprint(loss), "steps": fmt.Sprint(steps),
			}
			save("before", modeltest.Net(m).Weights)
			save("gradient", gradientsOf(t, n))
		}
		step(t, n, adam)
	}
	save("after", weightsOf(n))
}
