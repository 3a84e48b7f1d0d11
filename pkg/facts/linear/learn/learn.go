// Package learn trains the softmax regression of package linear. In go tokens of devices
// with their classes, out comes a model; the same examples and seed give the same bits.
package learn

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/optimize"

	"github.com/iotsense/iotsense/pkg/facts/linear"
)

// anyClass is that of a sample of any class but none.
const anyClass = -1

// Example is what a device said of itself at some time.
type Example struct {
	Tokens []string // sorted, each once
	Class  int
	From   int     // number of its capture and device: of one, and of one class
	Unit   int     // number of its physical device, in all captures
	Weight float64 // share of the windows of its stream; a changed copy of a capture is another
}

// Config says what a model is of.
type Config struct {
	Classes int
	None    int     // class of what is of no other, -1: there is none
	Least   float64 // temperature, at least
	Seed    int64   // of chimeras
	// Models are by class what its devices call their model, in lower case; "": unknown.
	Models []string
}

const (
	// leastCaptures must have a token for the model to have it, or to be told by it.
	leastCaptures = 3
	// leastUnits of a class show that what one alone of them says is no word of the class.
	leastUnits = 3
	// penalty is of half the sum of the squared weights, beside the sum of the streams' mean
	// losses.
	penalty = 1
	// confused is the mean probability that the captures of each of two classes give to
	// the other from which on facts do not tell them apart.
	confused = 0.15
)

// ErrTooLittle is of examples with no token that three captures have.
var ErrTooLittle = errors.New("no fact is said in three captures or more")

// Train trains a model on some examples, and fits its temperature on others. Each stream
// counts as much as another, those of machines of no class less. The error is
// [ErrTooLittle] where no token is said often enough.
func Train(training, validation []Example, c Config) (*linear.Model, error) {
	abroad := c.abroad(training)
	heard := slices.Concat(training, abroad)
	m := &linear.Model{Tokens: vocabulary(heard, c.None), Temperature: 1, Bias: make([]float32, c.Classes)}
	m.Weights = make([]float32, len(m.Tokens)*c.Classes)
	if len(m.Tokens) == 0 {
		return nil, ErrTooLittle
	}
	d := &data{classes: c.Classes, none: c.None, tokens: len(m.Tokens)}
	d.take(m, c.with(training, 0))
	d.take(m, c.masked(training))
	d.take(m, abroad)
	if err := d.fit(m); err != nil {
		return nil, fmt.Errorf("fit: %w", err)
	}
	m.Groups = groups(m, training, c, nil, make([]bool, c.Classes))
	m.Telling = telling(m, heard)
	if len(validation) > 0 {
		if err := calibrate(m, validation, c); err != nil {
			return nil, fmt.Errorf("calibrate: %w", err)
		}
	}
	return m, m.Validate(c.Classes, c.None)
}

// vocabulary are the tokens of three captures or more that are not one unit's own, sorted, and
// those for other words of their kinds.
func vocabulary(examples []Example, none int) (tokens []string) {
	own := owned(examples, none)
	for t, from := range captures(examples) {
		if len(from) >= leastCaptures && !own[t] {
			tokens = append(tokens, t)
			if other := linear.Unheard(t); other != "" {
				tokens = append(tokens, other)
			}
		}
	}
	slices.Sort(tokens)
	return slices.Compact(tokens)
}

// owned are the tokens that one unit alone says, of a class with three units or more: as the
// name that it was given. To the next unit of its class they are other words, and are so in
// training. Machines of none are each their own.
func owned(examples []Example, none int) map[string]bool {
	type unit struct{ class, number int }
	units, said := map[unit]bool{}, map[string]map[unit]bool{}
	for _, e := range examples {
		u := unit{e.Class, e.Unit}
		units[u] = true
		for _, t := range e.Tokens {
			if said[t] == nil {
				said[t] = map[unit]bool{}
			}
			said[t][u] = true
		}
	}
	of := map[int]int{} // units by class
	for u := range units {
		of[u.class]++
	}
	own := map[string]bool{}
	for t, by := range said {
		for u := range by {
			own[t] = len(by) == 1 && u.class != none && of[u.class] >= leastUnits
		}
	}
	return own
}

// captures are those in which each token was said, with their classes.
func captures(examples []Example) map[string]map[int]int {
	of := map[string]map[int]int{}
	for _, e := range examples {
		for _, t := range e.Tokens {
			if of[t] == nil {
				of[t] = map[int]int{}
			}
			of[t][e.From] = e.Class
		}
	}
	return of
}

// data are examples as a fit takes them.
type data struct {
	classes, none, tokens int
	fixed                 []bool // by class: its weights stay; nil: of none
	sets                  []sample
}

// sample is one example; the place after the last token is the bias's.
type sample struct {
	tokens []int
	class  int
	weight float64
}

// take adds examples, those alike as one.
func (d *data) take(m *linear.Model, examples []Example) {
	known := map[string]int{}
	for _, e := range examples {
		s := sample{nil, e.Class, e.Weight}
		key := []string{fmt.Sprint(e.Class)}
		for _, i := range m.Places(e.Tokens) {
			s.tokens, key = append(s.tokens, i), append(key, m.Tokens[i])
		}
		s.tokens = append(s.tokens, d.tokens)
		text := strings.Join(key, "\n")
		at, ok := known[text]
		if !ok {
			known[text], d.sets = len(d.sets), append(d.sets, s)
			continue
		}
		d.sets[at].weight += e.Weight
	}
}

// fit gives a model the weights of the least loss, from those it has on.
func (d *data) fit(m *linear.Model) error {
	problem := optimize.Problem{
		Func: func(x []float64) float64 { return d.loss(x, nil) },
		Grad: func(gradient, x []float64) { d.loss(x, gradient) },
	}
	settings := &optimize.Settings{
		GradientThreshold: 1e-4, MajorIterations: 2000,
		Converger: &optimize.FunctionConverge{Relative: 1e-9, Iterations: 20},
	}
	start := make([]float64, 0, (d.tokens+1)*d.classes) // by token, the bias last, of each the classes'
	for _, w := range slices.Concat(m.Weights, m.Bias) {
		start = append(start, float64(w))
	}
	result, err := optimize.Minimize(problem, start, settings, &optimize.LBFGS{})
	if result == nil {
		return err
	}
	for i, w := range result.X { // a line search that finds nothing lower has come to the end
		if i < len(m.Weights) {
			m.Weights[i] = float32(w)
		} else {
			m.Bias[i-len(m.Weights)] = float32(w)
		}
	}
	return nil
}

// loss is the sum of the weighed cross-entropies and the penalty, and, if wanted, its
// gradient. The bias is free.
func (d *data) loss(x, gradient []float64) (loss float64) {
	clear(gradient)
	logits := make([]float64, d.classes)
	for _, s := range d.sets {
		clear(logits)
		for _, t := range s.tokens {
			for c, w := range x[t*d.classes:][:d.classes] {
				logits[c] += w
			}
		}
		whole, own := d.logSums(logits, s.class)
		loss += s.weight * (whole - own)
		if gradient == nil {
			continue
		}
		for c, l := range logits {
			logits[c] = s.weight * math.Exp(l-whole)
			if d.is(c, s.class) {
				logits[c] -= s.weight * math.Exp(l-own)
			}
		}
		for _, t := range s.tokens {
			for c, l := range logits {
				gradient[t*d.classes+c] += l
			}
		}
	}
	for i, w := range x[:d.tokens*d.classes] {
		loss += penalty * w * w / 2
		if gradient != nil {
			gradient[i] += penalty * w
		}
	}
	for i := range gradient {
		if d.fixed != nil && d.fixed[i%d.classes] {
			gradient[i] = 0
		}
	}
	return loss
}

// is reports whether a sample of a class may be of c.
func (d *data) is(c, class int) bool { return c == class || class == anyClass && c != d.none }

// logSums are the logarithms of the sums of the logits' exponentials: of all, and of those
// that a sample of a class may be of.
func (d *data) logSums(logits []float64, class int) (whole, own float64) {
	top, most := slices.Max(logits), math.Inf(-1)
	for c, l := range logits {
		if d.is(c, class) {
			most = max(most, l)
		}
	}
	for c, l := range logits {
		whole += math.Exp(l - top)
		if d.is(c, class) {
			own += math.Exp(l - most)
		}
	}
	return top + math.Log(whole), most + math.Log(own)
}

// groups are the classes that the model does not tell apart on what it was trained on,
// each in one. Those of a group before are; of two that are known it is known.
func groups(m *linear.Model, examples []Example, c Config, before [][]int, known []bool) (groups [][]int) {
	mean := make([][]float64, c.Classes) // by class: what its captures are taken for
	total := make([]float64, c.Classes)
	for i := range mean {
		mean[i] = make([]float64, c.Classes)
	}
	probs := make([]float32, c.Classes)
	for _, e := range examples {
		m.Probabilities(e.Tokens, probs)
		for other, p := range probs {
			mean[e.Class][other] += e.Weight * float64(p)
		}
		total[e.Class] += e.Weight
	}
	of := make([]int, c.Classes) // group of each class
	for i := range of {
		of[i] = i
	}
	for _, group := range before {
		for _, class := range group {
			of[class] = group[0]
		}
	}
	for i := range of {
		for j := range i {
			if i != c.None && j != c.None && !(known[i] && known[j]) && mean[i][j] >= confused*total[i] && mean[j][i] >= confused*total[j] && total[i] > 0 {
				from, to := of[i], of[j]
				for k := range of {
					if of[k] == from {
						of[k] = to
					}
				}
			}
		}
	}
	for first := range of {
		var group []int
		for i, g := range of {
			if g == first && i != c.None {
				group = append(group, i)
			}
		}
		if group != nil {
			groups = append(groups, group)
		}
	}
	return groups
}

// kinds of tokens that many makers' devices share by chance: they tell no group.
var untelling = []string{"oui:", "opt55:", "class:"}

// telling is, of each token, the group whose captures alone have it.
func telling(m *linear.Model, examples []Example) []int {
	group := map[int]int{}
	for g, classes := range m.Groups {
		for _, c := range classes {
			group[c] = g
		}
	}
	tells := slices.Repeat([]int{-1}, len(m.Tokens))
	for t, from := range captures(examples) {
		i, known := slices.BinarySearch(m.Tokens, t)
		if !known {
			continue
		}
		first := true
		for _, class := range from {
			g, of := group[class]
			if !of || !first && g != tells[i] {
				tells[i] = -1
				break
			}
			tells[i], first = g, false
		}
		if slices.ContainsFunc(untelling, func(kind string) bool { return strings.HasPrefix(t, kind) }) {
			tells[i] = -1
		}
	}
	return tells
}

// calibrate fits the temperature.
func calibrate(m *linear.Model, validation []Example, c Config) error {
	examples := c.with(validation, 1)
	logits := make([][]float64, len(examples))
	for i, e := range examples {
		logits[i] = make([]float64, c.Classes)
		m.Logits(e.Tokens, logits[i])
	}
	loss := func(x []float64) (loss float64) {
		t := math.Exp(x[0])
		for i, e := range examples {
			top, sum := slices.Max(logits[i]), 0.0
			for _, l := range logits[i] {
				sum += math.Exp((l - top) / t)
			}
			loss += e.Weight * (math.Log(sum) - (logits[i][e.Class]-top)/t)
		}
		return loss
	}
	result, err := optimize.Minimize(optimize.Problem{Func: loss}, []float64{0}, nil, &optimize.NelderMead{})
	if result == nil {
		return err
	}
	from := map[int]bool{}
	for _, e := range validation {
		from[e.From] = true
	}
	m.Temperature, m.Captures = max(c.Least, min(math.Exp(result.X[0]), 20)), len(from)
	return nil
}
