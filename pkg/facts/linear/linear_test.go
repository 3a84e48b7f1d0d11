package linear_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/facts/linear"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
)

// made is a model of two twins, another class and one for none of them, of which only a
// twin's token and the other's tell something.
func made() *linear.Model {
	return &linear.Model{
		Tokens: []string{"dns:other.example", "dns:twin.example", "oui:maker"},
		Groups: [][]int{{0, 1}, {2}}, Telling: []int{1, 0, -1}, Temperature: 2, Captures: 3,
		Weights: []float32{
			0, 0, 4, 0,
			4, 2, 0, 0,
			1, 1, 1, 0,
		},
		Bias: []float32{0, 0, 0, 1},
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(m *linear.Model)
		want   string // "": nothing is wrong
	}{
		{"as it is", func(*linear.Model) {}, ""},
		{"no token", func(m *linear.Model) { m.Tokens = nil }, "0 tokens"},
		{"a weight too few", func(m *linear.Model) { m.Weights = m.Weights[1:] }, "11 weights for 3 tokens and 4 classes"},
		{"a bias too few", func(m *linear.Model) { m.Bias = m.Bias[1:] }, "3 biases"},
		{"a token that says nothing of groups", func(m *linear.Model) { m.Telling = m.Telling[1:] }, "2 of 3 tokens"},
		{"a cold temperature", func(m *linear.Model) { m.Temperature = 0 }, "temperature 0"},
		{"no temperature", func(m *linear.Model) { m.Temperature = math.NaN() }, "temperature NaN"},
		{"tokens out of order", func(m *linear.Model) { slices.Reverse(m.Tokens) }, "want sorted and unique"},
		{"an empty token", func(m *linear.Model) { m.Tokens[0] = "" }, "token 0 is empty"},
		{"a token that is no text", func(m *linear.Model) { m.Tokens[0] = "\x1b[31m" }, "token"},
		{"a group that is not there", func(m *linear.Model) { m.Telling[2] = 2 }, `"oui:maker" tells group 2 of 2`},
		{"a weight that is no number", func(m *linear.Model) { m.Weights[3] = float32(math.NaN()) }, "NaN"},
		{"an infinite bias", func(m *linear.Model) { m.Bias[3] = float32(math.Inf(1)) }, "+Inf"},
		{"none of them in a group", func(m *linear.Model) { m.Groups[1] = []int{2, 3} }, "class 3 of 4"},
		{"a class that is not there", func(m *linear.Model) { m.Groups[1] = []int{2, 4} }, "class 4 of 4"},
		{"a class in two groups", func(m *linear.Model) { m.Groups[1] = []int{2, 1} }, "class 1 is in 2 groups"},
		{"a class in no group", func(m *linear.Model) { m.Groups[1] = nil }, "class 2 is in 0 groups"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := made()
			tt.change(m)
			err := m.Validate(4, 3)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// What is finite gives finite probabilities, however large.
func TestHugeWeights(t *testing.T) {
	m := made()
	for i := range m.Weights {
		m.Weights[i] = math.MaxFloat32
	}
	m.Weights[0], m.Temperature = -math.MaxFloat32, 1e-300
	probs := make([]float32, 4)
	m.Probabilities(m.Tokens, probs)
	sum := float32(0)
	for _, p := range probs {
		sum += p
	}
	if math.Abs(float64(sum)-1) > 1e-6 {
		t.Errorf("%v", probs)
	}
}

// A window's verdict is the product of both, but none of them is the facts' alone; a name
// wants a fact of its group, or the network's own certainty over its windows so far.
func TestWindow(t *testing.T) {
	e := func(x float64) float64 { return math.Exp(x / 2) }
	total := e(1) + e(1) + e(5) + e(1)
	none, a, b := e(1)/total, e(1)*(.3+.1/3), e(5)*(.3+.1/3)
	none2 := e(1) / (e(0) + e(0) + e(4) + e(1))
	for _, tt := range []struct {
		name    string
		tokens  []string // nil: nothing is known
		windows [][]float32
		want    []float64
		named   []bool
	}{
		{"nothing known", nil, [][]float32{{.25, .25, .25, .25}}, []float64{.25, .25, .25, .25}, nil},
		{"the maker alone", []string{"oui:maker"}, [][]float32{{.1, .3, .2, .4}}, []float64{.75 * (.1 + .4/3), .75 * (.3 + .4/3), .75 * (.2 + .4/3), .25}, []bool{false, false, false, false}},
		{"a fact of one class", []string{"dns:other.example", "oui:maker"}, [][]float32{{.3, .3, .3, .1}},
			[]float64{(1 - none) * a / (2*a + b), (1 - none) * a / (2*a + b), (1 - none) * b / (2*a + b), none}, []bool{false, false, true, false}},
		{"a fact of twins", []string{"dns:twin.example"}, [][]float32{{0, 1, 0, 0}}, nil, []bool{true, true, false, false}},
		{"a network that is sure of too few flows", []string{"oui:maker"}, [][]float32{{.05, .9, .05, 0}, {.05, .9, .05, 0}}, nil, []bool{false, false, false, false}},
		{"a network that is sure", []string{"oui:maker"}, [][]float32{{.05, .9, .05, 0}, {.05, .9, .05, 0}, {.05, .9, .05, 0}}, nil, []bool{false, true, false, false}},
		{"a network that was not", []string{"oui:maker"}, [][]float32{{.9, .05, .05, 0}, {.05, .9, .05, 0}, {.05, .9, .05, 0}}, nil, []bool{false, false, false, false}},
		{"a network that is sure of none", []string{"oui:maker"}, [][]float32{{0, 0, 0, 1}}, nil, []bool{false, false, false, false}},
		{"a network that is nearly sure of none", []string{"dns:other.example"}, [][]float32{{.001, 0, 0, .999}},
			[]float64{0: (1 - none2) * e(0) * (.001 + .333) / (e(0)*(.001+.333+.333) + e(4)*.333)}, []bool{false, false, true, false}},
		{"zeros alone", []string{"oui:maker"}, [][]float32{{0, 0, 0, 1}}, []float64{.25, .25, .25, .25}, []bool{false, false, false, false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := linear.NewJudge(made(), 3, []float64{.8, .8, .8, .8}, nil)
			var d linear.Device
			if tt.tokens != nil {
				j.HearTokens(&d, tt.tokens)
			}
			var joint []float32
			var named []bool
			for _, w := range tt.windows {
				joint, named = j.Window(&d, join.Window{Probs: w})
			}
			for c, want := range tt.want {
				if math.Abs(float64(joint[c])-want) > 1e-6 {
					t.Errorf("%v, want %v", joint, tt.want)
					break
				}
			}
			if !slices.Equal(named, tt.named) {
				t.Errorf("named %v, want %v", named, tt.named)
			}
		})
	}
}

// Windows whose flows are near-identical to earlier ones make no network sure.
func TestWindowAgain(t *testing.T) {
	j := linear.NewJudge(made(), 3, []float64{.8, .8, .8, .8}, nil)
	var d linear.Device
	j.HearTokens(&d, []string{"oui:maker"})
	for i, again := range []bool{false, true, true, false, true, false} {
		_, named := j.Window(&d, join.Window{Probs: []float32{.05, .9, .05, 0}, Again: again})
		if named[1] != (i == 5) {
			t.Errorf("window %d: named %v", i, named)
		}
	}
}

// A network that is sure of what is far from all that it knows names nothing.
func TestWindowBeyond(t *testing.T) {
	j := linear.NewJudge(made(), 3, []float64{.8, .8, .8, .8}, nil)
	for _, distance := range []float64{.9, 1.1} {
		var d linear.Device
		j.HearTokens(&d, []string{"oui:maker"})
		var named []bool
		for range join.LeastFlows {
			_, named = j.Window(&d, join.Window{Probs: []float32{.05, .9, .05, 0}, Distance: distance, Measured: true})
		}
		if named[1] != (distance < 1) {
			t.Errorf("distance %v: named %v", distance, named)
		}
		j.HearTokens(&d, []string{"dns:twin.example"})
		if _, named = j.Window(&d, join.Window{Probs: []float32{.05, .9, .05, 0}, Distance: distance, Measured: true}); !named[1] {
			t.Errorf("distance %v, and a fact: named %v", distance, named)
		}
	}
}

// The level that has the name of a MAC's maker, or a word of it.
func TestMaker(t *testing.T) {
	j := linear.NewJudge(made(), 3, []float64{.8, .8, .8, .8}, []string{"TP-Link", "eQ-3"})
	var d linear.Device
	for _, tt := range []struct{ maker, want string }{{"TP-LINK", "TP-Link"}, {"eQ-3 Entwicklung", "eQ-3"}, {"Link", ""}, {"", ""}} {
		if j.HearTokens(&d, facts.Tokens([]facts.Fact{{Kind: facts.Maker, Value: tt.maker}})); d.Maker() != tt.want {
			t.Errorf("%q: level %q, want %q", tt.maker, d.Maker(), tt.want)
		}
	}
	j.HearTokens(&d, []string{"oui:eq3"})
	if j.Hear(&d, nil); d.Maker() != "" {
		t.Error("what was forgotten still has a maker")
	}
}

// A window is judged by the facts of its time, whatever has been heard since.
func TestHearsNothingOfLater(t *testing.T) {
	c := facts.NewCollector(0)
	ask := func(at int64, name string) {
		question := []byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00")
		for _, label := range strings.Split(name, ".") {
			question = append(append(question, byte(len(label))), label...)
		}
		c.Sample("device", true, at, &flows.Sample{
			Life:  flows.Life{Key: flows.Key{A: flows.End{Port: 10_000}, B: flows.End{Port: 53}, Proto: 17, HasPorts: true}},
			FromA: true, Payload: append(question, 0, 0, 1, 0, 1),
		})
	}
	ask(5, "a.twin.example")
	ask(9, "other.example")
	j := linear.NewJudge(made(), 3, []float64{.8, .8, .8, .8}, nil)
	var d linear.Device
	hears := func(want ...bool) {
		t.Helper()
		j.Hear(&d, c.Of("device"))
		if _, named := j.Window(&d, join.Window{Probs: []float32{.25, .25, .25, .25}}); !slices.Equal(named, want) {
			t.Errorf("named %v, want %v", named, want)
		}
	}
	d.Row(4)
	hears(false, false, false, false)
	d.Row(5)
	hears(true, true, false, false)
	d.Row(1) // a row that ended before
	hears(true, true, false, false)
	d.Row(9)
	hears(true, true, true, false)
	if d.Probabilities() == nil {
		t.Error("the facts say nothing alone")
	}
	if j.Hear(&d, nil); d.Probabilities() != nil {
		t.Error("what was forgotten is still heard")
	}
}

func BenchmarkWindow(b *testing.B) {
	j := linear.NewJudge(made(), 3, []float64{.8, .8, .8, .8}, nil)
	var d linear.Device
	c := facts.NewCollector(0)
	for i := range 64 {
		c.Sample("device", true, 1, &flows.Sample{
			Life:  flows.Life{Key: flows.Key{A: flows.End{Port: 10_000}, B: flows.End{Port: uint16(i + 1)}, Proto: 17, HasPorts: true}},
			FromA: true, Payload: []byte("x"),
		})
	}
	for _, bench := range []struct {
		name string
		rows int64 // that nothing new is heard
	}{{"known", 1 << 40}, {"new", 1}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := int64(0); b.Loop(); i++ {
				var fresh linear.Device
				if i%bench.rows == 0 {
					d = fresh
				}
				d.Row(2)
				j.Hear(&d, c.Of("device"))
				j.Window(&d, join.Window{Probs: []float32{.25, .25, .25, .25}})
			}
		})
	}
}

// Of a kind of words of which a device says unknown ones alone stands one place, of others
// none; what a device can call itself is no such token.
func TestPlaces(t *testing.T) {
	m := &linear.Model{Tokens: []string{"dns:?", "dns:a.example", "sni:?", "sni:a.example", "to:udp/53"}}
	for _, tt := range []struct {
		tokens []string
		want   []int
	}{
		{nil, []int{}},
		{[]string{"at:udp/9", "opt55:01", "oui:other"}, []int{}},
		{[]string{"dns:a.example", "dns:b.example", "sni:b.example", "sni:c.example", "to:udp/53"}, []int{1, 2, 4}},
		{[]string{"dns:b.example", "host:b", "sni:a.example"}, []int{0, 3}},
		{[]string{"dns:?", "dns:a.example", "sni:?"}, []int{1, 2}},
	} {
		if got := m.Places(tt.tokens); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %v, want %v", tt.tokens, got, tt.want)
		}
	}
}
