package api

// This file writes what stats tells in Prometheus' text format, version 0.0.4. No metric has
// a label for a flow, and one for a device where that is asked for alone: the number of series has
// a bound that no traffic moves.

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

const metricsContent = "text/plain; version=0.0.4; charset=utf-8"

// maxSeries is how many devices have series of their own, where that is asked for: those seen last.
const maxSeries = 256

// exposed is the answer to v1.MetricsPath; each has devices in it.
func exposed(ctx context.Context, ask func(context.Context) (v1.Stats, error), list func(context.Context) ([]v1.DeviceVerdict, error), each bool) (t text, err error) {
	devices, err := list(ctx)
	if err != nil {
		return t, err
	}
	stats, err := ask(ctx)
	if err != nil {
		return t, err
	}
	var e exposition
	e.sensor(&stats)
	states := map[v1.State]int{}
	for i := range devices {
		states[devices[i].State]++
	}
	for _, s := range v1.States {
		e.add("devices", "gauge", "devices that are remembered, by the state of their verdict", strconv.Itoa(states[s]), "state", string(s))
	}
	if each {
		e.devices(devices)
	}
	return text{bytes: e.bytes()}, nil
}

// devices adds gauges of each device.
func (e *exposition) devices(all []v1.DeviceVerdict) {
	list := slices.SortedFunc(slices.Values(all), func(a, b v1.DeviceVerdict) int {
		return cmp.Or(b.LastSeen.Compare(a.LastSeen.Time), strings.Compare(a.Device, b.Device))
	})
	none := ""
	for i := range list[:min(len(list), maxSeries)] {
		d := &list[i]
		e.add("device_info", "gauge", "a device, what it is called and taken for; always 1", "1",
			"device", d.Device, "name", *cmp.Or(d.Name, &none), "label", *cmp.Or(d.Label, &none), "state", string(d.State))
		e.add("device_bytes", "gauge", "IP bytes of a device's ended flows", strconv.FormatUint(d.Bytes, 10), "device", d.Device)
		if !d.LastSeen.IsZero() {
			e.add("device_last_seen_seconds", "gauge", "when a device was seen last, since 1970", strconv.FormatInt(d.LastSeen.Unix(), 10), "device", d.Device)
		}
	}
}

// exposition is a text in the making.
type exposition struct {
	families []*family
}

// family is a metric with all its series, which stand together.
type family struct {
	name, kind, help string
	series           []string
}

// sensor adds all that stats tells.
func (e *exposition) sensor(s *v1.Stats) {
	model := ""
	if s.Model != nil {
		model = *s.Model
	}
	e.add("sensor_info", "gauge", "the process that counts, and its model; always 1", "1", "sensor", s.Sensor, "model", model)
	for _, c := range v1.Counters(*s) {
		e.counter("", c)
	}
	for i := range s.Interfaces {
		one := &s.Interfaces[i]
		e.add("interface_info", "gauge", "an interface and where packets are seen on it; always 1", "1", "interface", one.Name, "hook", one.Hook)
		for _, c := range v1.Counters(*one) {
			e.counter("interface_", c, "interface", one.Name)
		}
	}
}

// counter adds a counter, or another figure, under the name that its key gives: with the
// unit in full and, of what only rises, _total.
func (e *exposition) counter(prefix string, c v1.Counter, labels ...string) {
	key, kind, help := prefix+strings.ReplaceAll(c.Key, ".", "_"), "counter", c.Meaning()
	name, scale := key, 1.0
	for _, unit := range []struct {
		short, long string
		scale       float64
	}{{"_ns_total", "_seconds", 1e-9}, {"_s", "_seconds", 1}} {
		if short, ok := strings.CutSuffix(key, unit.short); ok {
			name, scale = short+unit.long, unit.scale
			break
		}
	}
	value, counts := number(c.Value, scale)
	if !counts {
		return
	}
	switch c.Metric {
	case "gauge":
		kind = "gauge"
	case "":
		name += "_total"
	default:
		under, last, _ := strings.Cut(c.Key, ".")
		name, help, labels = prefix+under+"_total", c.Under+", by "+c.Metric, append(labels, c.Metric, last)
	}
	e.add(name, kind, help, value, labels...)
}

// number is a figure as text; false for what is none, or has none.
func number(value any, scale float64) (string, bool) {
	switch n := value.(type) {
	case *uint64:
		if n == nil {
			return "", false
		}
		return strconv.FormatFloat(float64(*n)*scale, 'g', -1, 64), true
	case uint64:
		return strconv.FormatUint(n, 10), true
	case float64:
		return strconv.FormatFloat(n*scale, 'g', -1, 64), true
	case bool:
		if n {
			return "1", true
		}
		return "0", true
	}
	return "", false
}

// What the format wants of a label's value, and of a help text.
var (
	quoting  = strings.NewReplacer("\\", "\\\\", "\n", "\\n", "\"", "\\\"")
	escaping = strings.NewReplacer("\\", "\\\\", "\n", "\\n")
)

// add adds a series; labels are names and values by turns.
func (e *exposition) add(name, kind, help, value string, labels ...string) {
	var of *family
	for _, f := range e.families {
		if f.name == name {
			of = f
		}
	}
	if of == nil {
		of = &family{name: name, kind: kind, help: help}
		e.families = append(e.families, of)
	}
	var pairs []string
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, labels[i]+`="`+quoting.Replace(strings.ToValidUTF8(labels[i+1], "\ufffd"))+`"`)
	}
	series := ""
	if pairs != nil {
		series = "{" + strings.Join(pairs, ",") + "}"
	}
	of.series = append(of.series, series+" "+value)
}

func (e *exposition) bytes() []byte {
	var out strings.Builder
	for _, f := range e.families {
		name := "iotsense_" + f.name
		fmt.Fprintf(&out, "# HELP %s %s\n# TYPE %s %s\n", name, escaping.Replace(f.help), name, f.kind)
		for _, s := range f.series {
			fmt.Fprintf(&out, "%s%s\n", name, s)
		}
	}
	return []byte(out.String())
}
