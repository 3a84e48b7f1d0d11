package capturebench

// This file makes medians and ranges of runs.

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Result is a whole measurement.
type Result struct {
	Machine     Machine    `json:"machine"`
	DurationS   float64    `json:"duration_s"`
	Repetitions int        `json:"repetitions"`
	Seed        uint64     `json:"seed"`
	Interface   string     `json:"interface"` // empty: a private pair
	Hook        string     `json:"hook"`
	Tools       []About    `json:"tools"`
	Scenarios   []Scenario `json:"scenarios"`
	Rows        []Row      `json:"rows"`
	Runs        []Run      `json:"runs"`
}

// About is a tool of a measurement.
type About struct {
	Tool
	Version string `json:"version"`
	Missing string `json:"missing"` // what it lacks to be measured; empty: nothing
}

// Range is the middle of several runs, the least and the greatest.
type Range struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// Text is the median with its range, "-" for none; write gives a figure's text.
func (r *Range) Text(write func(float64) string) string {
	switch {
	case r == nil:
		return "-"
	case r.Low == r.High:
		return write(r.Median)
	}
	return fmt.Sprintf("%s (%s-%s)", write(r.Median), write(r.Low), write(r.High))
}

// Row is a tool in a scenario. A figure is null where no run has it.
type Row struct {
	Scenario string `json:"scenario"`
	Tool     string `json:"tool"`
	Runs     int    `json:"runs"`        // that went well
	Failed   int    `json:"failed_runs"` // that did not

	Packets     *Range `json:"packets"`         // on the interface
	Counted     *Range `json:"counted_packets"` // by the tool
	LossPercent *Range `json:"loss_percent"`    // of those on the interface; what it counted too much is no loss
	// CPUPercent is of a core, over the time of the traffic: what was used while the tool came
	// to rest counts, what it uses without traffic does so for that time alone.
	CPUPercent  *Range `json:"cpu_percent"`
	PerPacketUS *Range `json:"cpu_us_per_packet"`    // the tool's tree, for each packet that it counted
	NetUS       *Range `json:"net_us_per_packet"`    // less what the same tool uses without traffic
	UserUS      *Range `json:"user_us_per_packet"`   // of cpu_us_per_packet, in user space
	KernelUS    *Range `json:"kernel_us_per_packet"` // the sensor's programs, which run on the sender's account
	// OthersUS is what the traffic's own processes used for each packet, more than with no
	// tool: what capturing costs in the kernel falls on who sends.
	OthersUS *Range `json:"others_us_per_packet"`
	// MachineUS is the same of the whole machine.
	MachineUS      *Range `json:"machine_us_per_packet"`
	SoftirqPercent *Range `json:"softirq_percent"` // of what the machine used
	PeakRSSMB      *Range `json:"rss_peak_mb"`
	DrainMS        *Range `json:"drain_ms"`   // from the last packet until the tool was at rest
	EndCPUMS       *Range `json:"end_cpu_ms"` // used from SIGTERM on
	// OfPypcap is cpu_us_per_packet with kernel_us_per_packet, by that of pypcap with dpkt in the
	// same scenario (without its cost in the kernel): medians. NetOfPypcap is the same of
	// net_us_per_packet.
	OfPypcap    *float64 `json:"of_pypcap"`
	NetOfPypcap *float64 `json:"net_of_pypcap"`
}

// rangeOf is nil for no value.
func rangeOf(values []float64) *Range {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	return &Range{values[(len(values)-1)/2], values[0], values[len(values)-1]}
}

// Row is a tool's row in a scenario; nil: there is none.
func (r *Result) Row(scenario, tool string) *Row {
	i := slices.IndexFunc(r.Rows, func(row Row) bool { return row.Scenario == scenario && row.Tool == tool })
	if i < 0 {
		return nil
	}
	return &r.Rows[i]
}

// summarise makes the rows: first those of no tool and of no traffic, which others take
// their differences to.
func (r *Result) summarise(tools []Tool) {
	idle, alone := map[string]float64{}, map[string]baseline{}
	for _, s := range r.Scenarios {
		for _, t := range tools {
			if at := rangeOf(r.values(s.Name, t.Name, func(m *Run) (float64, bool) { return m.CPUS / m.WindowS, true })); at != nil && s.Group == groupIdle {
				idle[t.Name] = at.Median
			}
			if t.Name == None {
				alone[s.Name] = baseline{
					traffic: median(r.values(s.Name, None, perInterface(func(m *Run) float64 { return m.TrafficCPUS }))),
					machine: median(r.values(s.Name, None, perInterface(func(m *Run) float64 { return m.MachineCPUS }))),
				}
			}
		}
	}
	for _, s := range r.Scenarios {
		for i := range tools {
			b, measured := alone[s.Name]
			rate, known := idle[tools[i].Name]
			row := r.row(s.Name, &tools[i], s.Group == groupLoopback, &reference{b, measured, rate, known})
			r.Rows = append(r.Rows, row)
		}
	}
	r.compare()
}

// compare sets what a row is of pypcap's.
func (r *Result) compare() {
	for i := range r.Rows {
		row := &r.Rows[i]
		base := r.Row(row.Scenario, Pypcap)
		if base == nil {
			continue
		}
		of := func(own, other *Range) *float64 {
			if own == nil || other == nil || other.Median == 0 {
				return nil
			}
			sum := own.Median
			if row.KernelUS != nil {
				sum += row.KernelUS.Median
			}
			ratio := sum / other.Median
			return &ratio
		}
		row.OfPypcap, row.NetOfPypcap = of(row.PerPacketUS, base.PerPacketUS), of(row.NetUS, base.NetUS)
	}
}

// baseline is what a packet costs where no tool runs, in seconds.
type baseline struct{ traffic, machine float64 }

// reference is what a row is less.
type reference struct {
	baseline
	measured bool    // the scenario has runs with no tool
	idle     float64 // of a core, that the tool uses without traffic
	known    bool    // the tool has runs without traffic
}

// perInterface is a figure for each packet on the interface.
func perInterface(figure func(*Run) float64) func(*Run) (float64, bool) {
	return func(m *Run) (float64, bool) { return figure(m) / float64(m.OnInterface), m.OnInterface > 0 }
}

// values are a figure of all good runs of a tool in a scenario, those for the kernel's
// statistics apart.
func (r *Result) values(scenario, tool string, figure func(*Run) (float64, bool)) (list []float64) {
	for i := range r.Runs {
		m := &r.Runs[i]
		if m.Scenario != scenario || m.Tool != tool || m.Failed != "" || m.Repetition >= r.Repetitions {
			continue
		}
		if v, ok := figure(m); ok {
			list = append(list, v)
		}
	}
	return list
}

// median is the middle one; 0 of none.
func median(values []float64) float64 {
	if m := rangeOf(values); m != nil {
		return m.Median
	}
	return 0
}

// handled is how many of the interface's packets a tool has counted; the interface's own
// where it cannot say.
func (t *Tool) handled(m *Run, loopback bool) uint64 {
	switch {
	case t.CountLags:
		return m.OnInterface
	case loopback && t.TwiceOnLoopback:
		return m.Count.Packets / 2
	}
	return m.Count.Packets
}

func (r *Result) row(scenario string, t *Tool, loopback bool, less *reference) Row {
	const us, ms = 1e6, 1e3
	row := Row{Scenario: scenario, Tool: t.Name}
	each := func(figure func(*Run) (float64, bool)) *Range { return rangeOf(r.values(scenario, t.Name, figure)) }
	plain := func(figure func(*Run) float64) *Range {
		return each(func(m *Run) (float64, bool) { return figure(m), true })
	}
	perCounted := func(figure func(*Run) float64) *Range {
		return each(func(m *Run) (float64, bool) {
			n := t.handled(m, loopback)
			return us * figure(m) / float64(n), n > 0 && m.OnInterface > 0
		})
	}
	row.count(r)
	row.Packets = plain(func(m *Run) float64 { return float64(m.OnInterface) })
	row.SoftirqPercent = each(func(m *Run) (float64, bool) { return 100 * m.SoftirqS / m.MachineCPUS, m.MachineCPUS > 0 })
	if t.command == nil {
		return row
	}
	row.Counted = plain(func(m *Run) float64 { return float64(m.Count.Packets) })
	row.LossPercent = each(func(m *Run) (float64, bool) {
		return 100 * float64(max(0, m.Lost)) / float64(m.OnInterface), m.OnInterface > 0 && !t.CountLags
	})
	used := func(m *Run) float64 { return max(0, m.CPUS-less.idle*(m.WindowS-m.TrafficS)) }
	row.CPUPercent = plain(func(m *Run) float64 { return 100 * used(m) / m.TrafficS })
	row.PerPacketUS = perCounted(used)
	row.UserUS = perCounted(func(m *Run) float64 { return m.UserS })
	if less.known {
		row.NetUS = perCounted(func(m *Run) float64 { return max(0, m.CPUS-less.idle*m.WindowS) })
	}
	if less.measured {
		row.OthersUS = each(perInterface(func(m *Run) float64 { return us * (m.TrafficCPUS - less.traffic*float64(m.OnInterface)) }))
		row.MachineUS = each(perInterface(func(m *Run) float64 { return us * (m.MachineCPUS - less.machine*float64(m.OnInterface)) }))
	}
	row.KernelUS = r.kernelUS(scenario, t.Name)
	row.PeakRSSMB = plain(func(m *Run) float64 { return m.PeakRSSMB })
	row.DrainMS = plain(func(m *Run) float64 { return ms * m.DrainS })
	row.EndCPUMS = plain(func(m *Run) float64 { return ms * m.EndS })
	return row
}

// count says how many runs went well.
func (row *Row) count(r *Result) {
	for i := range r.Runs {
		m := &r.Runs[i]
		switch {
		case m.Scenario != row.Scenario || m.Tool != row.Tool || m.Repetition >= r.Repetitions:
		case m.Failed != "":
			row.Failed++
		default:
			row.Runs++
		}
	}
}

// kernelUS is of the runs with the kernel's statistics.
func (r *Result) kernelUS(scenario, tool string) *Range {
	var list []float64
	for i := range r.Runs {
		m := &r.Runs[i]
		if m.Scenario == scenario && m.Tool == tool && m.KernelNS != nil {
			list = append(list, *m.KernelNS/1e3)
		}
	}
	return rangeOf(list)
}

// versionOf is the rest of the line that begins with the tool's name.
func versionOf(lines, tool string) string {
	for line := range strings.Lines(lines) {
		if name, version, _ := strings.Cut(strings.TrimSpace(line), " "); name == tool {
			return version
		}
	}
	return ""
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(string(text), "\n")
	return cmp.Or(strings.TrimSpace(line), "unknown")
}
