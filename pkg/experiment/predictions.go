package experiment

// This file writes what a model says of each window, to compute other figures from.

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
)

// predictions writes the lines of one reading of the data.
type predictions struct {
	to      *csv.Writer
	change  string
	classes int
}

// joined is a device's verdict so far.
type joined struct {
	join.Mean
	windows int
}

// newPredictions begins the lines of a reading; those of the data as it is, with a header.
func newPredictions(to io.Writer, change string, labels []string) *predictions {
	p := &predictions{csv.NewWriter(to), change, len(labels)}
	if change == "" {
		_ = p.to.Write(append([]string{"change", "capture", "device", "label", "window", "padded", "named", "level", "again", "distance"}, labels...)) // flush tells
	}
	return p
}

// window writes what the model says of a window.
func (p *predictions) window(in *reading, truth flows.LabelledRecord, j classify.Judged, padded bool) {
	of := in.joined[j.Device]
	if of == nil {
		of = &joined{}
		in.joined[j.Device] = of
	}
	of.Join(j.Window)
	of.windows++
	d := dataset.Device{Name: j.Device, Label: truth.Label}
	said := []string{strconv.Itoa(of.windows), strconv.FormatBool(padded), "", "", strconv.FormatBool(j.Again), away(j.Distance, j.Measured)}
	p.write(truth.Capture, d, said, func(i int) float64 { return float64(j.Probs[i]) })
}

// device writes the joined verdict on a device, as window 0; without probabilities
// where it had none. level is the path of the level that it is at, nil: at none.
func (p *predictions) device(in *reading, capture string, d dataset.Device, level *string) {
	probability, said := func(int) float64 { return join.Lacking }, []string{"0", "", "", "", "", ""}
	if level != nil {
		said[3] = *level
	}
	if in != nil && in.joined[d.Name] != nil {
		of := &in.joined[d.Name].Mean
		probability, said[2], said[5] = of.Probability, p.named(of), away(of.Distance())
	}
	p.write(capture, d, said, probability)
}

// away is a distance, "" if there is none.
func away(distance float64, ok bool) string {
	if !ok {
		return ""
	}
	return strconv.FormatFloat(distance, 'g', 6, 64)
}

// named are the places of the classes that a device may be named as; "" of all, a dash of
// none.
func (p *predictions) named(of *join.Mean) string {
	var places []string
	if of.Gathering() {
		return "-"
	}
	for class := range p.classes {
		if of.Names(class) {
			places = append(places, strconv.Itoa(class))
		}
	}
	if len(places) == p.classes {
		return ""
	}
	return cmp.Or(strings.Join(places, " "), "-")
}

// write writes a line: the device, what is said behind it, probabilities.
func (p *predictions) write(capture string, d dataset.Device, said []string, probability func(class int) float64) {
	line := append([]string{p.change, capture, d.Name, d.Label}, said...)
	for i := range p.classes {
		text := ""
		if v := probability(i); v >= 0 {
			text = strconv.FormatFloat(v, 'g', 6, 64)
		}
		line = append(line, text)
	}
	_ = p.to.Write(line) // flush tells
}

// flush ends the lines of a capture.
func (p *predictions) flush() error {
	p.to.Flush()
	if err := p.to.Error(); err != nil {
		return fmt.Errorf("predictions: %w", err)
	}
	return nil
}
