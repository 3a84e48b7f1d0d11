package learn

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/facts/linear"
)

// said is captures of classes: two twins that say the same but for the order of chance, two
// others, and machines of none.
func said(captures int) (list []Example) {
	from := 0
	add := func(class int, weight float64, tokens ...string) {
		slices.Sort(tokens)
		list = append(list, Example{tokens, class, from, 0, weight})
	}
	for range captures {
		for class, tokens := range [][]string{
			{"oui:twins", "dns:twin.example", "to:udp/53"}, {"oui:twins", "dns:twin.example", "to:udp/53"},
			{"oui:third", "sni:third.example", "to:udp/53", "opt55:0103"}, {"oui:fourth", "host:fourth", "to:udp/53"},
		} {
			add(class, 1, tokens[0])
			add(class, 9, tokens...)
			from++
		}
		add(4, 1000, "oui:gateway", "to:udp/53", "agent:phone")
		from++
	}
	return list
}

func config() Config { return Config{Classes: 5, None: 4, Least: .8, Seed: 1} }

func TestTrain(t *testing.T) {
	training := said(8)
	training = append(training, Example{[]string{"dns:once.example", "oui:third"}, 2, 900, 0, 1}, Example{[]string{"dns:once.example"}, 2, 901, 0, 1})
	m, err := Train(training, said(2), config())
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(m.Tokens, "dns:once.example") || !slices.Contains(m.Tokens, "agent:phone") {
		t.Errorf("tokens %q", m.Tokens)
	}
	if want := [][]int{{0, 1}, {2}, {3}}; !reflect.DeepEqual(m.Groups, want) {
		t.Errorf("groups %v, want %v", m.Groups, want)
	}
	tells := map[string]int{}
	for i, g := range m.Telling {
		if g >= 0 {
			tells[m.Tokens[i]] = g
		}
	}
	if want := map[string]int{"dns:twin.example": 0, "sni:third.example": 1, "host:fourth": 2}; !reflect.DeepEqual(tells, want) {
		t.Errorf("what tells groups: %v, want %v", tells, want)
	}
	if m.Captures != 10 || m.Temperature < .8 {
		t.Errorf("temperature %v of %d captures", m.Temperature, m.Captures)
	}
	probs := make([]float32, 5)
	for _, tt := range []struct {
		class  int
		tokens []string
	}{
		{2, []string{"oui:third", "sni:third.example", "to:udp/53"}},
		{3, []string{"host:fourth", "oui:fourth", "to:udp/53"}},
		{4, []string{"agent:phone", "oui:gateway", "to:udp/53"}},
		{4, []string{"dns:twin.example", "host:fourth", "oui:random", "sni:third.example"}}, // says all at once
	} {
		m.Probabilities(tt.tokens, probs)
		if best := slices.Index(probs, slices.Max(probs)); best != tt.class {
			t.Errorf("%q: %v, want class %d", tt.tokens, probs, tt.class)
		}
	}
	m.Probabilities([]string{"dns:twin.example", "oui:twins", "to:udp/53"}, probs)
	if math.Abs(float64(probs[0]-probs[1])) > 1e-3 || probs[0] < .3 {
		t.Errorf("twins: %v", probs)
	}
}

// A MAC that names no maker is neither for nor against classes whose devices all had one,
// though strangers that had none were learned from.
func TestNoMaker(t *testing.T) {
	training := said(20)
	for from := range 20 {
		tokens := []string{"agent:phone", "oui:random", "to:udp/53"}
		training = append(training, Example{tokens, 4, 1000 + from, 0, 1000})
	}
	m, err := Train(training, nil, config())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(m.Tokens, "oui:random") {
		t.Fatalf("tokens %q", m.Tokens)
	}
	probs := make([]float32, 5)
	for _, tt := range []struct {
		class  int
		tokens []string
	}{{2, []string{"opt55:0103", "sni:third.example", "to:udp/53"}}, {3, []string{"host:fourth", "to:udp/53"}}} {
		for _, maker := range noMaker {
			m.Probabilities(append([]string{maker}, tt.tokens...), probs)
			if best := slices.Index(probs, slices.Max(probs)); best != tt.class {
				t.Errorf("%s, %s: %v, want class %d", maker, tt.tokens, probs, tt.class)
			}
		}
	}
	if m.Probabilities([]string{"agent:phone", "oui:random", "to:udp/53"}, probs); slices.Max(probs) != probs[4] {
		t.Errorf("a phone: %v", probs)
	}
}

// What does as a device of a class does, and says no word of its kind that one has said, is
// of none; a word that the class has said outweighs those that nobody has.
func TestWordsThatNobodyHasSaid(t *testing.T) {
	m, err := Train(said(8), said(2), config())
	if err != nil {
		t.Fatal(err)
	}
	probs := make([]float32, 5)
	for _, tt := range []struct {
		class  int
		tokens []string
	}{
		{2, []string{"opt55:0103", "oui:third", "to:udp/53"}},
		{4, []string{"dns:other.example", "opt55:0103", "oui:third", "to:udp/53"}},
		{2, []string{"dns:other.example", "opt55:0103", "oui:third", "sni:third.example", "to:udp/53"}},
		{2, []string{"at:udp/9", "opt55:0103", "oui:third", "to:udp/53"}}, // no word
	} {
		m.Probabilities(tt.tokens, probs)
		if best := slices.Index(probs, slices.Max(probs)); best != tt.class {
			t.Errorf("%q: %v, want class %d", tt.tokens, probs, tt.class)
		}
	}
	for i, token := range m.Tokens {
		if linear.Unheard(token) == token && m.Telling[i] >= 0 {
			t.Errorf("%s tells group %d", token, m.Telling[i])
		}
	}
}

// What one alone of three units says is no word of their class: another unit's are as little.
func TestNamesOfUnits(t *testing.T) {
	training := said(8)
	for from := range 12 {
		tokens := []string{fmt.Sprint("host:plug", from%leastUnits), "opt55:0103", "sni:plug.example", "to:udp/53"}
		training = append(training, Example{tokens, 5, 2000 + from, from % leastUnits, 10})
	}
	c := config()
	c.Classes++
	m, err := Train(training, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(m.Tokens, "host:plug0") || !slices.Contains(m.Tokens, "host:fourth") { // of which there is one unit
		t.Errorf("tokens %q", m.Tokens)
	}
	probs := make([]float32, 6)
	m.Probabilities([]string{"host:plug9", "opt55:0103", "sni:plug.example", "to:udp/53"}, probs)
	if probs[5] < 0.9 {
		t.Errorf("the next unit: %v", probs)
	}
}

// Who says no word that is known but its model's name is of the class that ends in it.
func TestModelAbroad(t *testing.T) {
	c := config()
	c.Models = []string{2: "hs110", 4: ""}
	m, err := Train(said(8), said(2), c)
	if err != nil {
		t.Fatal(err)
	}
	probs := make([]float32, 5)
	for _, tt := range []struct {
		class  int
		tokens []string
	}{
		{2, []string{"dns:other.example", "opt55:0103", "oui:third", "tplink:hs110", "to:udp/53"}},
		{4, []string{"dns:other.example", "opt55:0103", "oui:third", "tplink:kl125", "to:udp/53"}},
		{4, []string{"dns:other.example", "opt55:0103", "oui:third", "to:udp/53"}},
	} {
		m.Probabilities(tt.tokens, probs)
		if best := slices.Index(probs, slices.Max(probs)); best != tt.class {
			t.Errorf("%q: %v, want class %d", tt.tokens, probs, tt.class)
		}
	}
	if i := slices.Index(m.Tokens, "tplink:hs110"); i < 0 || m.Telling[i] != slices.IndexFunc(m.Groups, func(g []int) bool { return g[0] == 2 }) {
		t.Errorf("tokens %q tell %v", m.Tokens, m.Telling)
	}
}

// The same examples and seed give the same bits, another seed other ones.
func TestTrainIsRepeatable(t *testing.T) {
	first, err := Train(said(4), said(2), config())
	if err != nil {
		t.Fatal(err)
	}
	again, err := Train(said(4), said(2), config())
	if err != nil || !reflect.DeepEqual(first, again) {
		t.Errorf("another model, %v", err)
	}
	c := config()
	c.Seed = 2
	if other, err := Train(said(4), said(2), c); err != nil || reflect.DeepEqual(first, other) {
		t.Errorf("the seed draws nothing, %v", err)
	}
}

// The gradient is that of the loss.
func TestGradient(t *testing.T) {
	d := &data{classes: 3, none: 2, tokens: 2, sets: []sample{{[]int{0, 2}, 1, .5}, {[]int{0, 1, 2}, 0, 2}, {[]int{2}, 2, 1}, {[]int{1, 2}, anyClass, 3}}}
	x, gradient := []float64{.1, -.2, .3, .5, 0, -1, .2, .4, -.1}, make([]float64, 9)
	d.loss(x, gradient)
	for i := range x {
		const h = 1e-6
		up, down := slices.Clone(x), slices.Clone(x)
		up[i] += h
		down[i] -= h
		if want := (d.loss(up, nil) - d.loss(down, nil)) / (2 * h); math.Abs(gradient[i]-want) > 1e-6 {
			t.Errorf("gradient of value %d is %v, want %v", i, gradient[i], want)
		}
	}
}

func TestTooLittle(t *testing.T) {
	var few []Example
	for i := range 4 {
		few = append(few, Example{[]string{fmt.Sprint("dns:", i)}, i % 2, i, 0, 1})
	}
	if _, err := Train(few, nil, Config{Classes: 2, None: -1}); !errors.Is(err, ErrTooLittle) {
		t.Errorf("%v", err)
	}
}
