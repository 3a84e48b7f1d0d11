package join

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// means are some that outputs of one model, of two, with and without facts give.
func means() []Mean {
	random := rand.New(rand.NewPCG(1, 2))
	list := make([]Mean, 20)
	for i := range list {
		for range i {
			w := Window{Probs: make([]float32, 9), Held: i % 3, Again: i%5 == 1, Distance: random.Float64(), Measured: i%3 > 0, Maker: []string{"", "TP-Link"}[i%2], Told: random.Float64()}
			for c := range w.Probs {
				w.Probs[c] = float32(random.Float64())
				if i%4 == 0 && c < 3 {
					w.Probs[c] = Lacking
				}
			}
			if i%2 == 0 {
				w.Named = make([]bool, 9)
				w.Named[random.IntN(9)] = true
			}
			list[i].Join(w)
		}
	}
	return list
}

// A mean comes out as it went in, to seven digits, with what lies behind it; of another
// number of classes, or cut, it is refused.
func TestPack(t *testing.T) {
	for i, m := range means() {
		packed := m.Append([]byte{7})[1:]
		var got Mean
		rest, ok := got.Unpack(append(packed[:len(packed):len(packed)], 42), 9)
		if !ok || !bytes.Equal(rest, []byte{42}) {
			t.Fatalf("mean %d: %v, rest %v", i, ok, rest)
		}
		class, p := m.Best()
		if is, q := got.Best(); is != class || q-p > 1e-6 || p-q > 1e-6 {
			t.Errorf("mean %d: class %d with %v, want %d with %v", i, is, q, class, p)
		}
		want := m
		want.sum, want.distance, want.told = slices.Clone(m.sum), float64(float32(m.distance)), float64(float32(m.told))
		for c, sum := range m.sum {
			want.sum[c] = float64(float32(sum))
		}
		if len(want.named) == 0 {
			want.named = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("mean %d: %+v, want %+v", i, got, want)
		}
		if again := got.Append(nil); !bytes.Equal(again, packed) {
			t.Errorf("mean %d: packed anew %x, want %x", i, again, packed)
		}
		for n := range packed {
			if _, ok := got.Unpack(packed[:n], 9); ok {
				t.Errorf("mean %d: taken with %d of %d bytes", i, n, len(packed))
			}
		}
		if _, ok := got.Unpack(packed, 8); ok && len(m.sum) > 0 {
			t.Errorf("mean %d: taken for one of 8 classes", i)
		}
	}
}

// Whatever the bytes, what is taken for a mean can be judged, and is packed as it was read.
func FuzzUnpack(f *testing.F) {
	for _, m := range means() {
		f.Add(m.Append(nil))
	}
	paths := make([][]string, 9)
	for i := range paths {
		paths[i] = []string{"TP-Link", "plug"}[:i%3]
	}
	levels := NewLevels(paths, -1, func(int) float64 { return 0.8 }, 0.8)
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Mean
		rest, ok := m.Unpack(b, 9)
		if !ok {
			return
		}
		if v := levels.Verdict(&m); !(v.Sum >= 0 && v.Sum <= 1+1e-6) {
			t.Errorf("%+v: level with %v", m, v.Sum)
		}
		var again Mean
		if _, ok := again.Unpack(append(m.Append(nil), rest...), 9); !ok || !reflect.DeepEqual(again, m) {
			t.Errorf("%+v, and of what it is packed to %+v", m, again)
		}
	})
}
