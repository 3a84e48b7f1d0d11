package train

import (
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/model"
)

// A closed network leaves nothing behind: a process may train hundreds of them.
func TestClosedNetworkIsCollected(t *testing.T) {
	collected := make(chan struct{})
	func() {
		m, b, windows, labels := fixture(t, model.Architecture{K: 5, Filters: [2]int{2, 2}, Kernel1: 40, Kernel2: [2]int{3, 5}, Pool: [2]int{3, 3}, Hidden: 10}, 2, 1)
		n, err := newNetwork(b, m.Weights, 1e-3, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.train(windows, labels); err != nil {
			t.Fatal(err)
		}
		n.close()
		runtime.AddCleanup(b, func(c chan struct{}) { close(c) }, collected)
	}()
	for range 100 {
		runtime.GC()
		select {
		case <-collected:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatal("the network is still there after 100 collections")
}

// The averaged weights are those of the definition: each step's count for 1 - decay,
// and for more at first.
func TestAveragedWeights(t *testing.T) {
	arch := model.Architecture{K: 5, Filters: [2]int{2, 2}, Kernel1: 40, Kernel2: [2]int{3, 5}, Pool: [2]int{3, 3}, Hidden: 10}
	for _, decay := range []float64{0, 0.3, 0.999} {
		m, b, windows, labels := fixture(t, arch, 2, 1)
		n, err := newNetwork(b, m.Weights, 1e-2, decay)
		if err != nil {
			t.Fatal(err)
		}
		defer n.close()
		want := float64(m.Weights.Dense2[0])
		for step := 1.0; step <= 8; step++ {
			if _, err := n.train(windows, labels); err != nil {
				t.Fatal(err)
			}
			now := n.values()
			w := float64(now[len(now)-2][0])
			keep := min(decay, (1+step)/(10+step))
			want = keep*want + (1-keep)*w
			if got := float64(n.weights().Dense2[0]); math.Abs(got-want) > 1e-6 {
				t.Fatalf("decay %v, step %v: %v, want %v (weight %v)", decay, step, got, want, w)
			}
		}
	}
}
