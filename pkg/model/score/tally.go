package score

// This file counts verdicts by capture and joins those of a device.

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/iotsense/iotsense/pkg/join"
)

// none stands for no verdict in place of a class's number.
const none = -1

// cell is a place in a confusion matrix, by the classes' numbers.
type cell struct{ truth, given int }

// tally is what is counted in one window mode.
type tally struct {
	classes    *classes
	captures   map[string]*capture
	confidence *confidence
	moments    [len(momentSeconds) + 1]struct{ windows, right int }
}

// capture is what is counted of one capture.
type capture struct {
	windows map[cell]int
	devices map[string]*device
}

// device is one device of one capture.
type device struct {
	truth          int
	windows, right int
	path           string                            // said of one without a window; "": nothing
	joined         [len(momentSeconds) + 1]join.Mean // by the moment their windows were over
	last           int                               // of these with a window
}

func newTally(c *classes) *tally {
	return &tally{classes: c, captures: map[string]*capture{}, confidence: newConfidence()}
}

// device finds or makes the counts of a device in a capture.
func (t *tally) device(in, name, label string) (*capture, *device) {
	c := t.captures[in]
	if c == nil {
		c = &capture{map[cell]int{}, map[string]*device{}}
		t.captures[in] = c
	}
	d := c.devices[name]
	if d == nil {
		d = &device{truth: t.classes.of(label)}
		c.devices[name] = d
	}
	return c, d
}

// add counts a window of merged classes.
func (t *tally) add(w *Output) {
	c, d := t.device(w.Capture, w.Device, w.Label)
	truth, best := t.classes.of(w.Label), join.Best(w.Probs)
	given := t.classes.outputs[best]
	right := given == truth
	c.windows[cell{truth, given}]++
	t.confidence.add(right, t.classes.thresholds[best], float64(w.Probs[best]), w.Local)
	at := momentOf(w.Since)
	d.windows++
	t.moments[at].windows++
	if right {
		d.right++
		t.moments[at].right++
	}
	d.last = max(d.last, at)
	d.joined[d.last].Revise(w.Revised) // what revises was known by then, and no sooner
	window := w.Window
	window.Revised = nil
	d.joined[at].Join(window)
}

// verdict joins a device's windows.
func (d *device) verdict() (all join.Mean) {
	for _, j := range d.joined {
		all.Merge(j)
	}
	return all
}

// given is the number of the class that a joined verdict gives.
func (t *tally) given(j join.Mean) int {
	if best, _ := j.Best(); best >= 0 {
		return t.classes.outputs[best]
	}
	return none
}

// tables are the confusion matrices of windows and of joined verdicts.
func (t *tally) tables(names []string) (windows, devices *table) {
	windows, devices = newTable(names), newTable(names)
	for _, c := range t.captures {
		k := t.count(c)
		t.fill(windows, k.windows)
		t.fill(devices, k.devices)
	}
	return windows, devices
}

// fill adds cells to a table.
func (t *tally) fill(to *table, cells map[cell]int) {
	for k, n := range cells {
		to.add(t.name(k.truth), t.name(k.given), n)
	}
}

// counted is one capture's cells, and its classes: the stratum it is drawn from.
type counted struct {
	stratum          string
	windows, devices map[cell]int
}

func (t *tally) count(c *capture) counted {
	k := counted{windows: c.windows, devices: map[cell]int{}}
	labels := map[string]bool{}
	for _, d := range c.devices {
		k.devices[cell{d.truth, t.given(d.verdict())}]++
		labels[t.name(d.truth)] = true
	}
	k.stratum = fmt.Sprintf("%q", keys(labels))
	return k
}

// name is a class's name, "" for none.
func (t *tally) name(class int) string {
	if class == none {
		return ""
	}
	return t.classes.names[class]
}

func (t *tally) summary(names []string) Summary {
	windows, devices := t.tables(names)
	s := Summary{Accuracy: windows.accuracy(), MacroF1: windows.macroF1()}
	s.Devices.Accuracy, s.Devices.MacroF1 = devices.accuracy(), devices.macroF1()
	right := 0
	for i := range names {
		right += devices.counts[i][i]
	}
	for _, c := range t.captures {
		s.Devices.Count += len(c.devices)
		for _, d := range c.devices {
			t.answer(d, &s.Devices)
		}
		if len(c.windows) > 0 {
			s.CapturesCovered++
		}
		for _, n := range c.windows {
			s.Windows += n
		}
	}
	s.Devices.WithWindow = s.Devices.Count - s.Devices.WithoutWindow
	s.Devices.AccuracyWithWindow = ratio(float64(right), float64(s.Devices.WithWindow))
	return s
}

// answer counts what a reader of a device's verdict sees.
func (t *tally) answer(d *device, to *Devices) {
	all := d.verdict()
	v := t.classes.levels.Verdict(&all)
	t.safe(v, d, &to.SafeRight, &to.SafeWrong)
	switch given := t.given(all); {
	case given == none:
		to.WithoutWindow++
		switch {
		case d.path == "":
		case t.belongs(d):
			to.SafeRight++
		default:
			to.SafeWrong++
		}
	case !v.Known:
		to.Refused++
	case given == d.truth:
		to.NamedRight++
	default:
		to.NamedWrong++
	}
}

// deviceError is the expected calibration error of the joined verdicts, in the order of
// captures and devices, so that sums are the same every time.
func (t *tally) deviceError() *float64 {
	var c calibration
	for _, name := range keys(t.captures) {
		devices := t.captures[name].devices
		for _, address := range keys(devices) {
			d := devices[address]
			all := d.verdict()
			if best, probability := all.Best(); best >= 0 {
				c.add(t.classes.outputs[best] == d.truth, probability)
			}
		}
	}
	return c.gap()
}

// DeviceScore is the joined verdict on one device of one capture.
type DeviceScore struct {
	Capture     string   `json:"capture"`
	Device      string   `json:"device"`
	Label       string   `json:"label"` // the truth
	Given       *string  `json:"given"` // nil without a window
	Confidence  *float64 `json:"confidence"`
	Probability *float64 `json:"probability"` // of the truth; 0 if the model lacks it
	Windows     int      `json:"windows"`
	Right       int      `json:"right"` // windows whose own argmax was the truth
}

// maxWorst is how many verdicts Result.Worst holds.
const maxWorst = 25

// worst lists the devices whose joined verdict gives the truth the least
// probability: those without a window first.
func (t *tally) worst() []DeviceScore {
	list := []DeviceScore{}
	for name, c := range t.captures {
		for address, d := range c.devices {
			list = append(list, t.describe(name, address, d))
		}
	}
	slices.SortFunc(list, func(a, b DeviceScore) int {
		return cmp.Or(cmp.Compare(or(a.Probability, -1), or(b.Probability, -1)), strings.Compare(a.Capture, b.Capture), strings.Compare(a.Device, b.Device))
	})
	return list[:min(maxWorst, len(list))]
}

func (t *tally) describe(in, address string, d *device) DeviceScore {
	v := DeviceScore{Capture: in, Device: address, Label: t.name(d.truth), Windows: d.windows, Right: d.right}
	all := d.verdict()
	best, confidence := all.Best()
	if best < 0 {
		return v
	}
	name := t.name(t.classes.outputs[best])
	probability := all.Probability(slices.Index(t.classes.outputs, d.truth))
	v.Given, v.Confidence, v.Probability = &name, &confidence, &probability
	return v
}

func or(v *float64, other float64) float64 {
	if v == nil {
		return other
	}
	return *v
}

// momentSeconds are the moments of Result.BySeconds.
var momentSeconds = [...]int{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600}

// momentOf is the index of the first moment not before since, or the number of
// moments.
func momentOf(since time.Duration) int {
	for i, s := range momentSeconds {
		if since <= time.Duration(s)*time.Second {
			return i
		}
	}
	return len(momentSeconds)
}

// Moment says how good verdicts are some seconds after each device's first packet.
type Moment struct {
	Seconds        int      `json:"seconds"`
	Devices        int      `json:"devices"`         // with a window by then
	Accuracy       *float64 `json:"accuracy"`        // right joined verdicts of the windows so far / all devices
	Windows        int      `json:"windows"`         // since the moment before
	WindowAccuracy *float64 `json:"window_accuracy"` // of these
	SafeRight      int      `json:"safe_right"`      // joined verdicts of the windows so far, at the deepest level that is safe
	SafeWrong      int      `json:"safe_wrong"`      // the same
}

// bySeconds follows the joined verdicts in time, to the moment that has all windows.
func (t *tally) bySeconds() []Moment {
	list, left, devices := []Moment{}, 0, 0
	for _, m := range t.moments {
		left += m.windows
	}
	var with, right, safeRight, safeWrong [len(momentSeconds)]int
	for _, c := range t.captures {
		for _, d := range c.devices {
			devices++
			var all join.Mean
			for i := range momentSeconds {
				all.Merge(d.joined[i])
				if given := t.given(all); given != none {
					with[i]++
					if given == d.truth {
						right[i]++
					}
				}
				t.safe(t.classes.levels.Verdict(&all), d, &safeRight[i], &safeWrong[i])
			}
		}
	}
	for i, seconds := range momentSeconds {
		if left == 0 {
			break
		}
		m := t.moments[i]
		left -= m.windows
		list = append(list, Moment{seconds, with[i], ratio(float64(right[i]), float64(devices)), m.windows, ratio(float64(m.right), float64(m.windows)), safeRight[i], safeWrong[i]})
	}
	return list
}

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
