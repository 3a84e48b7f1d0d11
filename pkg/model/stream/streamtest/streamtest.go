// Package streamtest makes random models of the stream network for tests, and computes
// what they answer by the network's definition.
package streamtest

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
	"github.com/iotsense/iotsense/pkg/model/stream"
)

// Architecture is the stream network with a few ports of its own.
func Architecture() stream.Architecture {
	a := stream.DefaultArchitecture()
	a.OwnPorts, a.RemotePorts = []int32{68, 123, 5353}, []int32{53, 80, 443}
	return a
}

// Model is a random model of the stream network with n classes.
func Model(r *rand.Rand, a stream.Architecture, n int) *model.Model {
	m := modeltest.Bare(n)
	net := &stream.Net{Arch: a}
	slots := net.Weights.Slots()
	for i, t := range a.Tensors(n) {
		values := make([]float32, t.Size())
		for j := range values {
			values[j] = (r.Float32()*2 - 1) * float32(math.Sqrt(3/float64(t.Size()/t.Shape[len(t.Shape)-1])))
		}
		if len(t.Shape) == 1 {
			for j := range values {
				values[j] *= 0.1
			}
		}
		*slots[i] = values
	}
	m.Net = net
	return m
}

// Net is the stream network of a model.
func Net(m *model.Model) *stream.Net { return m.Net.(*stream.Net) }

// Logits is the stream network written as its definition, for the last of a
// device's rows: float64, no cleverness.
func Logits(m *model.Model, rows []flows.Row) []float64 {
	net := Net(m)
	var vectors [][]float64
	for _, row := range rows[max(0, len(rows)-net.Arch.Flows):] {
		vectors = append(vectors, flowVector(m, row))
	}
	joined := slices.Clone(vectors[len(vectors)-1])
	for i := range joined {
		sum := 0.0
		for _, v := range vectors {
			sum += v[i]
		}
		joined = append(joined, sum/float64(len(vectors)))
	}
	for i := range vectors[0] {
		most := 0.0
		for _, v := range vectors {
			most = max(most, v[i])
		}
		joined = append(joined, most)
	}
	w := &net.Weights
	return modeltest.Product(positive(modeltest.Product(joined, w.Dense1, w.Dense1Bias)), w.Dense2, w.Dense2Bias)
}

// flowVector is the vector of one row.
func flowVector(m *model.Model, row flows.Row) []float64 {
	net := Net(m)
	w, a := &net.Weights, net.Arch
	var embedded [][]float32
	for _, v := range row.Tokens(nil, m.Record.Payload) {
		symbol := int(v)
		switch v {
		case flows.PayloadStart:
			symbol = 256
		case flows.PayloadEnd:
			symbol = 257
		}
		embedded = append(embedded, w.Embedding[symbol*stream.Embedding:][:stream.Embedding])
	}
	vector := make([]float64, stream.Filters)
	for at := 0; at < len(embedded); at += stream.Stride {
		for f := range vector {
			sum := 0.0
			for tap := 0; tap < stream.Taps && at+tap < len(embedded); tap++ {
				for e, v := range embedded[at+tap] {
					sum += float64(v) * float64(w.Kernel[(tap*stream.Embedding+e)*stream.Filters+f])
				}
			}
			vector[f] = max(vector[f], sum)
		}
	}
	for f, b := range w.KernelBias {
		vector[f] += float64(b)
	}
	var flow stream.Flow
	if err := stream.NewReader(a, m.Record, m.Scaling).Read(&flow, row); err != nil {
		panic(err) // a test asked for a row that cannot be read
	}
	numbers := make([]float64, stream.Numbers)
	for i, v := range flow.Numbers {
		numbers[i] = float64(v)
	}
	tokens := make([]float64, a.Buckets)
	for _, t := range flow.Tokens {
		tokens[t]++
	}
	vector = append(vector, modeltest.Product(numbers, w.Numbers, w.NumbersBias)...)
	return positive(append(vector, modeltest.Product(tokens, w.Tokens, w.TokensBias)...))
}

func positive(v []float64) []float64 {
	for i, x := range v {
		v[i] = max(x, 0)
	}
	return v
}
