package learn

import (
	"math"
	"reflect"
	"slices"
	"testing"
)

// A class that is added is told by what its captures say, what the others say tells them as
// before, and what both say tells neither. Weights of the others keep every bit.
func TestAdd(t *testing.T) {
	old, err := Train(said(4), said(2), config())
	if err != nil {
		t.Fatal(err)
	}
	const added = 2 // before what were the third class, the fourth and none
	var training []Example
	for from := range 5 {
		tokens := []string{"host:fourth", "oui:new", "sni:new.example", "to:udp/53"}
		training = append(training, Example{tokens[1:2], added, from, 0, 0.1}, Example{tokens, added, from, 0, 0.9})
	}
	c := config()
	c.Classes, c.None = 6, 5
	m, err := Add(old, []int{added}, training, c)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Add(old, []int{added}, training, c); err != nil || !reflect.DeepEqual(m, again) {
		t.Errorf("the same examples and seed give another model, %v", err)
	}
	place := []int{0, 1, 3, 4, 5}
	for i, class := range place {
		same := m.Bias[class] == old.Bias[i]
		for at, token := range old.Tokens {
			row, _ := slices.BinarySearch(m.Tokens, token)
			same = same && m.Weights[row*6+class] == old.Weights[at*5+i]
		}
		if !same {
			t.Errorf("weights of class %d are others than before", i)
		}
	}
	if want := [][]int{{0, 1}, {2}, {3}, {4}}; !reflect.DeepEqual(m.Groups, want) {
		t.Errorf("groups %v, want %v", m.Groups, want)
	}
	tells := map[string]int{}
	for i, g := range m.Telling {
		if g >= 0 {
			tells[m.Tokens[i]] = g
		}
	}
	if want := map[string]int{"dns:twin.example": 0, "sni:new.example": 1, "sni:third.example": 2}; !reflect.DeepEqual(tells, want) {
		t.Errorf("what tells groups: %v, want %v", tells, want)
	}
	if m.Temperature != old.Temperature || m.Captures != old.Captures {
		t.Errorf("temperature %v of %d captures", m.Temperature, m.Captures)
	}
	probs := make([]float32, 6)
	for _, tt := range []struct {
		class  int
		tokens []string
	}{
		{added, training[1].Tokens},
		{3, []string{"oui:third", "sni:third.example", "to:udp/53"}},
		{4, []string{"host:fourth", "oui:fourth", "to:udp/53"}},
		{5, []string{"agent:phone", "oui:gateway", "to:udp/53"}},
		{5, []string{"dns:twin.example", "host:fourth", "oui:random", "sni:third.example"}},
	} {
		m.Probabilities(tt.tokens, probs)
		if best := slices.Index(probs, slices.Max(probs)); best != tt.class {
			t.Errorf("%q: %v, want class %d", tt.tokens, probs, tt.class)
		}
	}
}

// A class that says what one of the model's says, no more and no less, is of its group.
func TestAddTwin(t *testing.T) {
	old, err := Train(said(4), nil, config())
	if err != nil {
		t.Fatal(err)
	}
	var training []Example
	for from := range 5 {
		training = append(training, Example{[]string{"host:fourth", "oui:fourth", "to:udp/53"}, 4, from, 0, 1})
	}
	c := config()
	c.Classes, c.None = 6, 5
	m, err := Add(old, []int{4}, training, c)
	if err != nil {
		t.Fatal(err)
	}
	if want := [][]int{{0, 1}, {2}, {3, 4}}; !reflect.DeepEqual(m.Groups, want) {
		t.Errorf("groups %v, want %v", m.Groups, want)
	}
	at, _ := slices.BinarySearch(m.Tokens, "host:fourth")
	if m.Telling[at] != 2 {
		t.Errorf("host:fourth tells group %d of %v", m.Telling[at], m.Groups)
	}
	probs := make([]float32, 6)
	m.Probabilities(training[0].Tokens, probs)
	if math.Abs(float64(probs[3]-probs[4])) > .25 || probs[3]+probs[4] < .6 {
		t.Errorf("twins: %v", probs)
	}
}
