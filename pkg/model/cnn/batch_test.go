package cnn_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// sameBits reports whether two predictions are equal to the last bit.
func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// batch is the arguments of a call.
type batch struct {
	memories []model.Memory
	rows     []flows.Row
	probs    [][]float32
}

func (b *batch) add(m model.Memory, row flows.Row, classes int) {
	b.memories, b.rows, b.probs = append(b.memories, m), append(b.rows, row), append(b.probs, make([]float32, classes))
}

// Whatever rows share a batch, each comes out as it does alone, though its device is
// there twice, and whether or not its memory was trimmed.
func TestBatchEqualsOneByOne(t *testing.T) {
	onEach(t, func(t *testing.T, arch cnn.Architecture, path conv.Path) {
		r := rand.New(rand.NewPCG(21, 22))
		m := modeltest.Model(r, arch, 9)
		one, many := newEngineOn(t, m, path), newEngineOn(t, m, path)
		type device struct {
			rows      []flows.Row
			one, many cnn.Memory
		}
		devices := make([]device, 7)
		for i := range devices {
			devices[i].rows = stream(r, 24)
		}
		want := make([]float32, 9)
		sizes := []int{1, 8, 9, 33}
		switch {
		case testing.Short():
			sizes = []int{9}
		case arch == cnn.DefaultArchitecture(5):
			sizes = nil
			for size := range 34 {
				sizes = append(sizes, size)
			}
		}
		for _, size := range sizes {
			var b batch
			var alone [][]float32
			for range size {
				d := &devices[r.IntN(len(devices))]
				row := d.rows[0]
				d.rows = append(d.rows[1:], row)
				if r.IntN(5) == 0 {
					d.one.Trim()
				}
				if err := one.Next(&d.one, row, want); err != nil {
					t.Fatal(err)
				}
				alone = append(alone, slices.Clone(want))
				b.add(&d.many, row, 9)
			}
			if r.IntN(3) == 0 {
				b.memories[0].Trim()
			}
			if err := many.NextBatch(b.memories, b.rows, b.probs); err != nil {
				t.Fatal(err)
			}
			for i, want := range alone {
				if !sameBits(b.probs[i], want) {
					t.Fatalf("row %d of %d: %v, want the bits of %v", i, size, b.probs[i], want)
				}
			}
		}
	})
}

// A row that fails is named and leaves its memory as it was; the others come out.
func TestBatchWithFailures(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	m := modeltest.Model(r, cnn.DefaultArchitecture(5), 3)
	one, many := newEngine(t, m), newEngine(t, m)
	const devices = 20
	streams := make([][]flows.Row, devices)
	memories, alone := make([]model.Memory, devices), make([]cnn.Memory, devices)
	for i := range streams {
		streams[i], memories[i] = modeltest.Stream(r, 8), &cnn.Memory{}
	}
	want := make([]float32, 3)
	for step := range 8 {
		var b batch
		for i, rows := range streams {
			b.add(memories[i], rows[step], 3)
		}
		bad := map[int]string{}
		if step == 6 {
			b.rows[3].Record = nil
			bad = map[int]string{3: "no record"}
		}
		err := many.NextBatch(b.memories, b.rows, b.probs)
		if (err != nil) != (len(bad) > 0) {
			t.Fatalf("step %d: error %v", step, err)
		}
		for i, what := range bad {
			if line := lineWith(err, what); !strings.Contains(line, fmt.Sprintf("row %d of the batch", i)) {
				t.Errorf("%q is not said of row %d: %v", what, i, err)
			}
		}
		for i, rows := range streams {
			if _, failed := bad[i]; failed {
				continue
			}
			if err := one.Next(&alone[i], rows[step], want); err != nil {
				t.Fatal(err)
			}
			if !sameBits(b.probs[i], want) {
				t.Fatalf("step %d, row %d: %v, want %v", step, i, b.probs[i], want)
			}
		}
	}
	for name, call := range map[string]func() error{
		"memories":      func() error { return many.NextBatch(memories[:1], streams[0][:2], make([][]float32, 2)) },
		"probabilities": func() error { return many.NextBatch(memories[:2], streams[0][:2], make([][]float32, 1)) },
		"room":          func() error { return many.NextBatch(memories[:1], streams[0][:1], [][]float32{make([]float32, 2)}) },
		"a memory of another network": func() error {
			return many.NextBatch([]model.Memory{nil}, streams[0][:1], [][]float32{make([]float32, 3)})
		},
	} {
		if call() == nil {
			t.Errorf("%s: one for two rows, and no error", name)
		}
	}
}

// A row whose outputs overflow fails in a batch as it does alone.
func TestBatchRefusesWeightsThatOverflow(t *testing.T) {
	r := rand.New(rand.NewPCG(25, 26))
	m := modeltest.Model(r, cnn.DefaultArchitecture(5), 3)
	for i := range modeltest.Net(m).Weights.Dense2 {
		modeltest.Net(m).Weights.Dense2[i] = 3e38
	}
	var b batch
	for _, row := range modeltest.Stream(r, 2) {
		b.add(&cnn.Memory{}, row, 3)
	}
	err := newEngine(t, m).NextBatch(b.memories, b.rows, b.probs)
	if err == nil || !strings.Contains(err.Error(), "row 1 of the batch: output 0") {
		t.Errorf("error %v", err)
	}
}

func lineWith(err error, what string) string {
	for line := range strings.Lines(err.Error()) {
		if strings.Contains(line, what) {
			return line
		}
	}
	return ""
}
