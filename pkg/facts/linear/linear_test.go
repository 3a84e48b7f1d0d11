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
			j := linear.NewJudge(made(), 3, []float64{.8, .8, .8, .8}, make([]string, 4))
			var d linear.Device
			if tt.tokens != nil {
				j.HearTokens(&d, tt.tokens)
			}
			var both join.Window
			for _, w := range tt.windows {
				both = j.Window(&d, join.Window{Probs: w})
			}
			for c, want := range tt.want {
				if math.Abs(float64(both.Probs[c])-want) > 1e-6 {
					t.Errorf("%v, want %v", both.Probs, tt.want)
					break
				}
			}
			if !slices.Equal(both.Named, tt.named) {
				t.Errorf("named %v, want %v", both.Named, tt.named)
			}
		})
	}
}

// Which of a group's classes a device is, the network says: its facts do not tell them apart.
func TestFactsSayNothingWithinAGroup(t *testing.T) {
	j, d := linear.NewJudge(made(), 3, []float64{.8, .8, .8, .8}, make([]string, 4)), linear.Device{}
	j.HearTokens(&d, []string{"dns:twin.example"})
	if p := d.Probabilities(); p[0] < 2*p[1] {
		t.Fatalf("alone they say %v", p)
	}
	for _, network := range [][]float32{{.2, .6, .2, 0}, {.4, .4, .2, 0}} {
		p := slices.Clone(j.Window(&d, join.Window{Probs: network}).Probs)
		if got, want := p[1]/p[0], network[1]/network[0]; math.Abs(float64(got-want)) > 1e-6 || p[2] > p[0] {
			t.Errorf("%v with the facts is %v", network, p)
		}
	}
}

// said is windows of a device, and what it says before some of them; nil: nothing more.
var said = []struct {
	tokens []string
	probs  []float32
	again  bool
}{
	{nil, []float32{.25, .25, .25, .25}, false},
	{[]string{"oui:maker"}, []float32{.1, .3, .2, .4}, false},
	{nil, []float32{.1, .7, .1, .1}, true},
	{nil, []float32{.3, .3, .3, .1}, false},
	{[]string{"dns:twin.example", "oui:maker"}, []float32{.1, .1, .1, .7}, true},
	{[]string{"dns:other.example"}, []float32{.6, .2, .1, .1}, false},
	{[]string{"dns:twin.example"}, []float32{.2, .5, .3, 0}, false},
}

// The mean is what it would be had a device said all that it has before its first window.
func TestEarlierWindowsAreJudgedAgain(t *testing.T) {
	j := linear.NewJudge(made(), -1, []float64{.8, .8, .8, .8}, make([]string, 4))
	var d, early, knows linear.Device
	var mean, stale, want join.Mean
	for i, w := range said {
		if w.tokens != nil {
			j.HearTokens(&d, w.tokens)
		}
		if i == 3 {
			early = *d.Clone()
		}
		both := j.Window(&d, join.Window{Probs: w.probs, Again: w.again})
		if (both.Revised != nil) != (w.tokens != nil) {
			t.Errorf("window %d revises %v", i, both.Revised)
		}
		mean.Join(both)
		both.Revised = nil
		stale.Join(both)
	}
	j.HearTokens(&knows, said[len(said)-1].tokens)
	for _, w := range said {
		want.Join(j.Window(&knows, join.Window{Probs: w.probs, Again: w.again}))
	}
	far := 0.0
	for c := range 4 {
		if math.Abs(mean.Probability(c)-want.Probability(c)) > 1e-6 {
			t.Errorf("class %d: %v, want %v", c, mean.Probability(c), want.Probability(c))
		}
		far = max(far, math.Abs(stale.Probability(c)-want.Probability(c)))
	}
	if far < .05 {
		t.Errorf("as judged before it is as far as %v", far)
	}
	j.HearTokens(&early, said[4].tokens)
	if both := j.Window(&early, join.Window{Probs: said[3].probs}); both.Revised == nil {
		t.Error("a copy does not judge again")
	}
}

// No word makes familiar what was strange when it came, or strange what was not.
func TestEarlierWindowsStayStrange(t *testing.T) {
	j := linear.NewJudge(made(), 3, []float64{.8, .8, .8, .8}, make([]string, 4))
	for _, tt := range []struct{ before, after string }{{"oui:maker", "dns:other.example"}, {"dns:other.example", "oui:maker"}} {
		var d linear.Device
		var mean join.Mean
		first := float32(0)
		for _, token := range []string{tt.before, tt.after, tt.before, tt.after} {
			j.HearTokens(&d, []string{token})
			mean.Join(j.Window(&d, join.Window{Probs: []float32{.3, .3, .4, 0}, Again: mean.Flows() > 0}))
			if first == 0 {
				first = d.Probabilities()[3]
			}
			if p := mean.Probability(3); math.Abs(p-float64(first)) > 1e-6 {
				t.Errorf("%s, now %s: %v, want %v", tt.before, token, p, first)
			}
		}
	}
}

// So many windows are judged again; where the facts are forgotten, as the network alone judges
// them.
func TestKeptWindows(t *testing.T) {
	j := linear.NewJudge(made(), -1, []float64{.8, .8, .8, .8}, make([]string, 4))
	w := join.Window{Probs: []float32{.3, .3, .3, .1}}
	for _, tt := range []struct{ windows, again, then int }{
		{1, 1, 2}, {linear.Kept, linear.Kept, linear.Kept}, {linear.Kept + 3, linear.Kept, linear.Kept},
	} {
		var d linear.Device
		for range tt.windows {
			j.Window(&d, w)
		}
		j.HearTokens(&d, []string{"dns:other.example"})
		revised := func(want float64) {
			both := j.Window(&d, w)
			got := 0.0
			if both.Revised != nil {
				got = both.Revised[2]
			}
			if math.Abs(got-want) > 1e-6 {
				t.Errorf("%d windows: %v more, want %v", tt.windows, got, want)
			}
		}
		each := float64(j.Window(d.Clone(), w).Probs[2]) - .3
		if each < .3 {
			t.Fatalf("the facts make but %v more of a window", each)
		}
		revised(float64(tt.again) * each)
		j.Hear(&d, nil)
		revised(-float64(tt.then) * each)
	}
}

// Windows whose flows are near-identical to earlier ones make no network sure.
func TestWindowAgain(t *testing.T) {
	j := linear.NewJudge(made(), 3, []float64{.8, .8, .8, .8}, make([]string, 4))
	var d linear.Device
	j.HearTokens(&d, []string{"oui:maker"})
	for i, again := range []bool{false, true, true, false, true, false} {
		named := j.Window(&d, join.Window{Probs: []float32{.05, .9, .05, 0}, Again: again}).Named
		if named[1] != (i == 5) {
			t.Errorf("window %d: named %v", i, named)
		}
	}
}

// A network that is sure of what is far from all that it knows names nothing.
func TestWindowBeyond(t *testing.T) {
	j := linear.NewJudge(made(), 3, []float64{.8, .8, .8, .8}, make([]string, 4))
	for _, distance := range []float64{.9, 1.1} {
		var d linear.Device
		j.HearTokens(&d, []string{"oui:maker"})
		var named []bool
		for range join.LeastFlows {
			named = j.Window(&d, join.Window{Probs: []float32{.05, .9, .05, 0}, Distance: distance, Measured: true}).Named
		}
		if named[1] != (distance < 1) {
			t.Errorf("distance %v: named %v", distance, named)
		}
		j.HearTokens(&d, []string{"dns:twin.example"})
		if named = j.Window(&d, join.Window{Probs: []float32{.05, .9, .05, 0}, Distance: distance, Measured: true}).Named; !named[1] {
			t.Errorf("distance %v, and a fact: named %v", distance, named)
		}
	}
}

// A device that says what tells several groups is of the one that the most kinds of words tell.
func TestContradictions(t *testing.T) {
	m := &linear.Model{
		Tokens:  []string{"dns:a", "dns:b", "dns:b.b", "host:a", "to:tcp/7", "txt:b"},
		Groups:  [][]int{{0}, {1}},
		Telling: []int{0, 1, 1, 0, -1, 1}, Temperature: 1, Captures: 3,
		Weights: make([]float32, 12), Bias: make([]float32, 2),
	}
	for _, tt := range []struct {
		tokens []string
		named  []bool
	}{
		{[]string{"to:tcp/7"}, []bool{false, false}},
		{[]string{"dns:a"}, []bool{true, false}},
		{[]string{"dns:a", "dns:b"}, []bool{false, false}},
		{[]string{"dns:b", "dns:b.b", "host:a"}, []bool{false, false}},
		{[]string{"dns:b", "host:a", "txt:b"}, []bool{false, true}},
		{[]string{"dns:a", "dns:b", "dns:b.b", "host:a"}, []bool{true, false}},
	} {
		j, d := linear.NewJudge(m, -1, []float64{2, 2}, make([]string, 2)), linear.Device{}
		j.HearTokens(&d, tt.tokens)
		if named := j.Window(&d, join.Window{Probs: []float32{.5, .5}}).Named; !slices.Equal(named, tt.named) {
			t.Errorf("%v: named %v, want %v", tt.tokens, named, tt.named)
		}
	}
}

// One kind of words does not make a device of another maker than its MAC's of what behaves like
// nothing known.
func TestOneWordOfAnotherMaker(t *testing.T) {
	for _, tt := range []struct {
		name     string
		tokens   []string
		level    string // of the class that is told
		distance float64
		named    bool
	}{
		{"its maker's", []string{"dns:other.example", "oui:maker"}, "Maker", 1.1, true},
		{"another's", []string{"dns:other.example", "oui:chips"}, "Maker", 1.1, false},
		{"another's, near", []string{"dns:other.example", "oui:chips"}, "Maker", .9, true},
		{"nobody's", []string{"dns:other.example", "oui:random"}, "Maker", 1.1, true},
		{"another's, by two kinds of words", []string{"dns:other.example", "host:other", "oui:chips"}, "Maker", 1.1, true},
		{"of a class whose maker is not known", []string{"dns:other.example", "oui:chips"}, "", 1.1, false},
		{"of such a class, near", []string{"dns:other.example", "oui:chips"}, "", .9, true},
		{"nobody's, of such a class", []string{"dns:other.example", "oui:random"}, "", 1.1, true},
	} {
		m := made()
		m.Tokens = []string{"dns:other.example", "host:other", "oui:maker"}
		m.Telling = []int{1, 1, -1}
		j, d := linear.NewJudge(m, 3, []float64{2, 2, 2, 2}, []string{"", "", tt.level, ""}), linear.Device{}
		j.HearTokens(&d, tt.tokens)
		if named := j.Window(&d, join.Window{Probs: []float32{.2, .2, .5, .1}, Distance: tt.distance, Measured: true}).Named; named[2] != tt.named {
			t.Errorf("%s: named %v", tt.name, named)
		}
	}
}

// What joins is presumed to be of its MAC's maker if the facts have the rest of it for less than
// that. Once the network takes it for none of them its maker says nothing.
func TestPresume(t *testing.T) {
	levels := []string{"Maker", "Maker", "Other", ""}
	for _, tt := range []struct {
		tokens []string
		level  string
	}{
		{nil, ""},
		{[]string{"oui:maker"}, "Maker"},
		{[]string{"oui:other"}, ""}, // a quarter
		{[]string{"oui:chips"}, ""},
		{[]string{"dns:other.example", "oui:maker"}, ""},
	} {
		m := made()
		m.Bias[3], m.Weights[10] = 0, 0
		j, d := linear.NewJudge(m, 3, []float64{.8, .8, .8, .8}, levels), linear.Device{}
		if tt.tokens != nil {
			j.HearTokens(&d, tt.tokens)
		}
		if level, p := j.Presume(&d); level != tt.level || (level != "") != (p > 0.5) || p > 1 {
			t.Errorf("%v: %q, %v, want %q", tt.tokens, level, p, tt.level)
		}
	}
	j, d := linear.NewJudge(made(), 3, []float64{.8, .8, .8, .8}, levels), linear.Device{}
	j.HearTokens(&d, []string{"oui:maker"})
	for i, probs := range [][]float32{{.1, .2, .3, .4}, {.4, .3, .2, .1}} {
		j.Window(&d, join.Window{Probs: probs})
		if maker, p := j.Maker(&d); (maker == "Maker") != (i == 1) || (p > 0) != (i == 1) {
			t.Errorf("after %d windows: maker %q, %v", i+1, maker, p)
		}
	}
}

// The level that has the name of a MAC's maker, or a word of it.
func TestMaker(t *testing.T) {
	levels := []string{"TP-Link", "eQ-3", "", ""}
	j := linear.NewJudge(made(), 3, []float64{.8, .8, .8, .8}, levels)
	var d linear.Device
	for _, tt := range []struct{ maker, want string }{{"TP-LINK", "TP-Link"}, {"eQ-3 Entwicklung", "eQ-3"}, {"Link", ""}, {"", ""}} {
		j.HearTokens(&d, facts.Tokens([]facts.Fact{{Kind: facts.Maker, Value: tt.maker}}))
		if level, p := j.Maker(&d); level != tt.want || level == "" && p > 0 || level != "" && math.Abs(p-float64(d.Probabilities()[slices.Index(levels, level)])) > 1e-9 {
			t.Errorf("%q: level %q with %v of %v, want %q", tt.maker, level, p, d.Probabilities(), tt.want)
		}
	}
	j.HearTokens(&d, []string{"oui:eq3"})
	j.Hear(&d, nil)
	if level, p := j.Maker(&d); level != "" || p != 0 {
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
	j := linear.NewJudge(made(), 3, []float64{.8, .8, .8, .8}, make([]string, 4))
	var d linear.Device
	hears := func(want ...bool) {
		t.Helper()
		j.Hear(&d, c.Of("device"))
		if named := j.Window(&d, join.Window{Probs: []float32{.25, .25, .25, .25}}).Named; !slices.Equal(named, want) {
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
	hears(false, false, false, false) // it says what tells another group as well
	if d.Probabilities() == nil {
		t.Error("the facts say nothing alone")
	}
	if j.Hear(&d, nil); d.Probabilities() != nil {
		t.Error("what was forgotten is still heard")
	}
}

func BenchmarkWindow(b *testing.B) {
	const classes, none = 28, 27
	m := &linear.Model{
		Tokens: []string{"dns:a.example", "dns:b.example"}, Telling: []int{0, 1}, Temperature: 1,
		Weights: make([]float32, 2*classes), Bias: make([]float32, classes),
	}
	m.Weights[0], m.Weights[classes+1] = 4, 4
	for c := range none {
		m.Groups = append(m.Groups, []int{c})
	}
	j := linear.NewJudge(m, none, make([]float64, classes), make([]string, classes))
	c := facts.NewCollector(0)
	for i := range 64 {
		c.Sample("device", true, 1, &flows.Sample{
			Life:  flows.Life{Key: flows.Key{A: flows.End{Port: 10_000}, B: flows.End{Port: uint16(i + 1)}, Proto: 17, HasPorts: true}},
			FromA: true, Payload: []byte("x"),
		})
	}
	window := join.Window{Probs: slices.Repeat([]float32{1. / classes}, classes)}
	for _, bench := range []struct {
		name string
		hear func(d *linear.Device, i int)
	}{
		{"known", func(d *linear.Device, _ int) { j.Hear(d, c.Of("device")) }},
		{"first", func(d *linear.Device, _ int) { *d = linear.Device{}; d.Row(2); j.Hear(d, c.Of("device")) }},
		{"again", func(d *linear.Device, i int) { j.HearTokens(d, m.Tokens[i%2:][:1]) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			var d linear.Device
			d.Row(2)
			for range linear.Kept {
				j.Window(&d, window)
			}
			for i := 0; b.Loop(); i++ {
				bench.hear(&d, i)
				j.Window(&d, window)
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
