package learn

import (
	"runtime"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// A closed network leaves nothing behind: a process may train hundreds of them.
func TestClosedNetworkIsCollected(t *testing.T) {
	collected := make(chan struct{})
	func() {
		m, b, windows, labels := fixture(t, cnn.Architecture{K: 5, Filters: [2]int{2, 2}, Kernel1: 40, Kernel2: [2]int{3, 5}, Pool: [2]int{3, 3}, Hidden: 10}, 2, 1)
		n, err := newNetwork(b, modeltest.Net(m).Weights)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.gradients(windows, labels, 1); err != nil {
			t.Fatal(err)
		}
		n.Close()
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
