// Package linear judges devices by their facts: a softmax regression on the exact tokens
// of package facts, and the rule that joins it with what a network says. In go a device's
// facts and the probabilities of a network, out come those of both, and which classes the
// device may be named as.
package linear

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/internal/plaintext"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/join"
)

// MaxTokens bounds what a hostile file can ask for; 440 captures of 27 classes have 300.
const MaxTokens = 1 << 16

// Model is a softmax regression: a class's logit is its bias and the weights of the tokens
// that are there, see [Model.Places]. It is read only once built.
type Model struct {
	Tokens []string `json:"tokens"` // sorted
	// Groups are the classes, each in one, those that facts do not tell apart together; a
	// class for what is of no other is in none.
	Groups [][]int `json:"groups"`
	// Telling is, of each token, the group whose devices alone had it in training, in three
	// captures or more; -1: it tells no group.
	Telling     []int   `json:"telling"`
	Temperature float64 `json:"temperature"` // logits are divided by it
	Captures    int     `json:"captures"`    // of validation that the temperature was fitted on

	Weights []float32 `json:"-"` // by token, of each the classes'
	Bias    []float32 `json:"-"` // by class
}

// Validate reports what keeps the model from being used for so many classes, of which none
// (-1: no class) is for what is of no other.
func (m *Model) Validate(classes, none int) error {
	switch n := len(m.Tokens); {
	case n < 1 || n > MaxTokens:
		return fmt.Errorf("%d tokens, want 1 to %d", n, MaxTokens)
	case len(m.Bias) != classes || len(m.Weights) != n*classes:
		return fmt.Errorf("%d biases and %d weights for %d tokens and %d classes", len(m.Bias), len(m.Weights), n, classes)
	case len(m.Telling) != n:
		return fmt.Errorf("%d of %d tokens tell a group or none", len(m.Telling), n)
	case !(m.Temperature > 0) || math.IsInf(m.Temperature, 0):
		return fmt.Errorf("temperature %v: want above 0", m.Temperature)
	}
	for i, t := range m.Tokens {
		if t == "" {
			return fmt.Errorf("token %d is empty", i)
		}
		if err := plaintext.Check(t); err != nil {
			return fmt.Errorf("token: %w", err)
		}
		if i > 0 && m.Tokens[i-1] >= t {
			return fmt.Errorf("token %q after %q: want sorted and unique", t, m.Tokens[i-1])
		}
		if g := m.Telling[i]; g < -1 || g >= len(m.Groups) {
			return fmt.Errorf("token %q tells group %d of %d", t, g, len(m.Groups))
		}
	}
	for _, v := range slices.Concat(m.Weights, m.Bias) {
		if !(v-v == 0) {
			return fmt.Errorf("a weight is %v: want finite ones", v)
		}
	}
	return m.validateGroups(classes, none)
}

func (m *Model) validateGroups(classes, none int) error {
	in := make([]int, classes)
	for _, group := range m.Groups {
		for _, c := range group {
			if c < 0 || c >= classes || c == none {
				return fmt.Errorf("class %d of %d is in a group", c, classes)
			}
			in[c]++
		}
	}
	for c, n := range in {
		if n != 1 && c != none {
			return fmt.Errorf("class %d is in %d groups", c, n)
		}
	}
	return nil
}

// words are the kinds of tokens in which a device says what its maker named; of others, as
// ports, what no known device had says nothing.
var words = []string{"agent", "asks", "dns", "host", "http", "offers", "server", "sni", "ssdp", "tplink", "txt", "upnp"}

// Unheard is the token of a device of whose words of a token's kind a model knows none; "" if
// the kind has no words.
func Unheard(token string) string {
	kind, _, _ := strings.Cut(token, ":")
	if !slices.Contains(words, kind) {
		return ""
	}
	return kind + ":?"
}

// Places are those of the tokens that have weights, ascending, for what a device says: tokens,
// sorted and each once. Of a kind of words of which it says unknown ones alone it is that of
// [Unheard].
func (m *Model) Places(tokens []string) []int {
	places := make([]int, 0, len(tokens))
	kind, known := "", true // of the words that come just before: they are sorted by kinds
	end := func() {
		if i, has := slices.BinarySearch(m.Tokens, kind); has && !known {
			places = append(places, i)
		}
	}
	for _, t := range tokens {
		of := Unheard(t)
		if of != kind {
			end()
			kind, known = of, of == ""
		}
		if i, has := slices.BinarySearch(m.Tokens, t); has && t != of {
			places, known = append(places, i), true
		}
	}
	end()
	slices.Sort(places)
	return places
}

// Logits writes the classes' logits, before calibration, for tokens, sorted and each once.
func (m *Model) Logits(tokens []string, logits []float64) {
	for c, b := range m.Bias {
		logits[c] = float64(b)
	}
	for _, i := range m.Places(tokens) {
		for c, w := range m.Weights[i*len(m.Bias):][:len(m.Bias)] {
			logits[c] += float64(w)
		}
	}
}

// Probabilities writes those of the classes for tokens, sorted and each once.
func (m *Model) Probabilities(tokens []string, probs []float32) {
	logits := make([]float64, len(probs)) // float32 could overflow
	m.Logits(tokens, logits)
	top, sum := slices.Max(logits), 0.0
	for c, l := range logits {
		logits[c] = math.Exp((l - top) / m.Temperature)
		sum += logits[c]
	}
	for c, p := range logits {
		probs[c] = float32(p / sum)
	}
}

// told marks the classes of the group that the most kinds of tokens tell, sorted as they are,
// and says how many do. Where two groups have as many none is told: the device contradicts
// itself.
func (m *Model) told(tokens []string, classes []bool) (kinds int) {
	clear(classes)
	count, newest := make([]int, len(m.Groups)), make([]string, len(m.Groups)) // by group
	for _, t := range tokens {
		i, known := slices.BinarySearch(m.Tokens, t)
		if !known || m.Telling[i] < 0 {
			continue
		}
		g := m.Telling[i]
		if kind, _, _ := strings.Cut(t, ":"); kind != newest[g] {
			count[g]++
			newest[g] = kind
		}
	}
	group := -1
	for g, n := range count {
		switch {
		case n > kinds:
			group, kinds = g, n
		case n == kinds:
			group = -1
		}
	}
	if group < 0 {
		return 0
	}
	for _, c := range m.Groups[group] {
		classes[c] = true
	}
	return kinds
}

// Judge joins a model with a network of the same classes. It is not safe for concurrent
// use.
type Judge struct {
	model      *Model
	none       int
	thresholds []float64
	levels     []string          // outermost ones, by class; "": the class has none above it
	makers     map[string]string // these by the token of their maker
	probs      []float32
	even       []float32
	joint      []float32
	named      []bool
}

// NewJudge joins a valid model with a network: none is the class for what is of no other,
// -1 if there is none; thresholds are the probabilities from which the network may name a
// class by itself; levels are the outermost levels of the classes, "" of those without one
// above them.
func NewJudge(m *Model, none int, thresholds []float64, levels []string) *Judge {
	j := (&Judge{model: m, none: none, thresholds: thresholds, levels: levels, makers: map[string]string{}}).Clone()
	for _, level := range levels {
		if level != "" {
			j.makers[facts.MakerToken(level)] = level
		}
	}
	return j
}

// Clone is the same Judge for another goroutine.
func (j *Judge) Clone() *Judge {
	c := *j
	classes := len(j.model.Bias)
	c.probs, c.even, c.joint, c.named = make([]float32, classes), make([]float32, classes), make([]float32, classes), make([]bool, classes)
	return &c
}

// Kept is how many of a device's windows, the last that count, are judged again when other facts
// are known of it.
const Kept = 16

// window is what is kept of a window.
type window struct {
	network []float32 // never changed
	none    float32   // what it gives none of the classes
}

// Device is what a Judge keeps of a device. The zero Device has not been seen.
type Device struct {
	network join.Mean // what the network says alone
	until   int64
	heard   bool   // there are facts, of this state:
	changes uint32 // of the set
	count   int    // facts by until
	probs   []float32
	telling []bool
	maker   string
	doubted bool      // one kind of words alone tells what it is, which its MAC's maker is not known to make
	kept    []window  // the oldest first
	revised []float64 // how much more their joint probabilities are than was said; nil: no more
}

// Clone is the same device, and goes its own way.
func (d *Device) Clone() *Device {
	c := *d
	c.network, c.probs, c.telling = d.network.Clone(), slices.Clone(d.probs), slices.Clone(d.telling)
	c.kept, c.revised = slices.Clone(d.kept), slices.Clone(d.revised)
	return &c
}

// Probabilities are those that the facts alone give; nil where there are none.
func (d *Device) Probabilities() []float32 {
	if !d.heard {
		return nil
	}
	return d.probs
}

// Row says that a row of the device's stream describes packets until that time, us since
// the Unix epoch. Facts first heard later are not looked at: what is judged with a row,
// live or from a file, is what was known when it happened.
func (d *Device) Row(until int64) { d.until = max(d.until, until) }

// Until is the time of [Device.Row].
func (d *Device) Until() int64 { return d.until }

// Hear takes what is known of the device; nil: nothing.
func (j *Judge) Hear(d *Device, s *facts.Set) {
	if s == nil {
		j.know(d, nil)
		d.maker = ""
		return
	}
	changes, count := s.State(d.until)
	if d.heard && changes == d.changes && count == d.count {
		return
	}
	d.changes, d.count = changes, count
	j.HearTokens(d, s.Tokens(d.until))
}

// HearTokens takes the tokens of what is known of the device.
func (j *Judge) HearTokens(d *Device, tokens []string) {
	if d.telling == nil {
		d.telling = make([]bool, len(j.joint))
	}
	j.model.Probabilities(tokens, j.probs)
	j.know(d, j.probs)
	kinds := j.model.told(tokens, d.telling)
	d.maker = ""
	listed := false
	for _, t := range tokens {
		if level, is := j.makers[t]; is {
			d.maker = level
		}
		listed = listed || facts.TellsMaker(t)
	}
	d.doubted = listed && kinds == 1
	for c, told := range d.telling {
		d.doubted = d.doubted && !(told && d.maker != "" && j.levels[c] == d.maker)
	}
}

// know has a device's facts give the classes other probabilities, nil: none, and judges the
// windows that are kept again by them.
func (j *Judge) know(d *Device, probs []float32) {
	heard := probs != nil
	if heard == d.heard && (!heard || slices.Equal(probs, d.probs)) {
		return
	}
	j.revise(d, -1)
	if d.heard = heard; heard {
		d.probs = append(d.probs[:0], probs...)
	}
	j.revise(d, 1)
}

// revise adds so many times what the windows that are kept are by the facts.
func (j *Judge) revise(d *Device, times float64) {
	if len(d.kept) > 0 && d.revised == nil {
		d.revised = make([]float64, len(j.joint))
	}
	for _, w := range d.kept {
		for c, p := range j.both(d, w) {
			d.revised[c] += times * float64(p)
		}
	}
}

// comes is a window that is new: none of the classes is as probable as the facts of now have it, or
// where there are none the network.
func (j *Judge) comes(d *Device, network []float32) window {
	w := window{network: network}
	switch {
	case j.none < 0:
	case d.heard:
		w.none = d.probs[j.none]
	default:
		w.none = network[j.none]
	}
	return w
}

// keep has a window judged again when other facts are known.
func (d *Device) keep(w window) {
	if len(d.kept) == Kept {
		d.kept = slices.Delete(d.kept, 0, 1)
	}
	w.network = slices.Clone(w.network)
	d.kept = append(d.kept, w)
}

// Maker is the outermost level that has the name of who made the device's MAC, and the
// probability that facts alone give its classes. "": none has, or of fewer than
// [join.LeastFlows] the network alone makes none of them.
func (j *Judge) Maker(d *Device) (level string, probability float64) {
	if c, _ := d.network.Best(); d.maker == "" || c >= 0 && c == j.none && d.network.Flows() < join.LeastFlows {
		return "", 0
	}
	for c, level := range j.levels {
		if level == d.maker {
			probability += float64(d.probs[c])
		}
	}
	return d.maker, min(1, probability) // rounded to float32 they can be more
}

// Presume is what may be said of a device of which the network has seen nothing: the level
// of [Judge.Maker] and its probability. "": there is none, or it has no more than half of it.
func (j *Judge) Presume(d *Device) (level string, probability float64) {
	if level, probability = j.Maker(d); probability <= 0.5 {
		return "", 0
	}
	return level, probability
}

// least keeps one of two from ruling a class out alone, by what it rounds to 0.
const least = 1e-12

// both is what the network says of a window with the facts, valid until the next call: none of the
// classes is as probable as it was when the window came, the others share the rest as the product of
// both, where the facts say the same of all classes of a group: they do not tell them apart.
// What the network gives to none of them counts for each of them alike: it does not know the
// traffic, and what little it leaves to some says nothing. Without facts it is the network's word.
func (j *Judge) both(d *Device, w window) []float32 {
	network := w.network
	if !d.heard {
		return network
	}
	sum, strange := 0.0, 0.0
	if j.none >= 0 {
		strange = float64(network[j.none]) / float64(len(network)-1)
	}
	said := j.evened(d.probs)
	product := func(c int) float64 { return max(float64(said[c]), least) * max(float64(network[c])+strange, least) }
	for c := range network {
		if c != j.none {
			sum += product(c)
		}
	}
	for c := range network {
		j.joint[c] = w.none
		if c != j.none {
			j.joint[c] = (1 - w.none) * float32(product(c)/sum)
		}
	}
	return j.joint
}

// evened are the facts' probabilities with those of each group shared evenly.
func (j *Judge) evened(probs []float32) []float32 {
	copy(j.even, probs)
	for _, group := range j.model.Groups {
		sum := float32(0)
		for _, c := range group {
			sum += probs[c]
		}
		for _, c := range group {
			j.even[c] = sum / float32(len(group))
		}
	}
	return j.even
}

// Window joins what the network alone says of a window, w, with the facts, in w's place: Probs;
// Named, the classes that the device may be named as now; with facts Maker and Told as [Judge.Maker]
// has them; and Revised, what the last [Kept] windows that count are more by what is known now than
// was said of them, where that has changed. What they give none of the classes stays: words tell
// which of them a device is, not that it was one. Probs and Named are valid until the next call.
//
// A device may be named as a class of the group that its facts tell, but
// where one kind of words does so alone, for a device whose MAC is of another maker, or of some
// maker where the class has no level to tell, only if the network finds it, in the mean, not too
// far from all that it knows; and
// the one that the network's windows so far reach the threshold of alone, if they rest on
// [join.LeastFlows] and, in the mean, not too far from all that it knows. Without facts no
// class is barred: nil.
func (j *Judge) Window(d *Device, w join.Window) join.Window {
	d.network.Join(w)
	w.Revised, d.revised = d.revised, nil
	came := j.comes(d, w.Probs)
	w.Probs = j.both(d, came)
	if !w.Again {
		d.keep(came)
	}
	if !d.heard {
		return w
	}
	if clear(j.named); !d.doubted || !d.network.Beyond() {
		copy(j.named, d.telling)
	}
	if c, p := d.network.Best(); c != j.none && d.network.Flows() >= join.LeastFlows && !d.network.Beyond() && p >= j.thresholds[c] {
		j.named[c] = true
	}
	w.Named = j.named
	w.Maker, w.Told = j.Maker(d)
	return w
}
