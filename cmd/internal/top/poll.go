package top

// This file asks the sensor.

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/iotsense/iotsense/pkg/api/page"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	askEvery = 2 * time.Second
	// mostFlows are asked for at a time: with more open ones the sensor's work of telling
	// them would be seen in what it uses.
	mostFlows = 4096
)

// sensor is who is asked: a client of a running one.
type sensor interface {
	Stats(context.Context) (v1.Stats, error)
	Devices(context.Context) ([]v1.DeviceVerdict, error)
	Flows(context.Context) ([]v1.Flow, int, error)
	Facts(ctx context.Context, device string) ([]v1.Fact, error)
	Explanation(ctx context.Context, device string, q v1.ExplanationRequest) (*v1.Explanation, error)
	Correct(ctx context.Context, device, do string, word v1.Correction) (v1.Corrected, error)
}

// look is what the sensor said at a time, or why it did not.
type look struct {
	at      time.Time
	stats   v1.Stats
	devices []v1.DeviceVerdict
	flows   []v1.Flow // nil: too many are open
	err     error
}

// look asks for all that the list shows.
func (m *model) look() (l look) {
	l.at = time.Now()
	if l.stats, l.err = m.sensor.Stats(m.ctx); l.err != nil {
		return l
	}
	if l.stats.Flows.Open <= mostFlows {
		if l.flows, _, l.err = m.sensor.Flows(m.ctx); l.err != nil {
			return l
		}
	}
	l.devices, l.err = m.sensor.Devices(m.ctx)
	return l
}

func (m *model) askAll() tea.Msg { return m.look() }

// rates are the packets a second of each device between two looks, from its open flows: a
// flow that has ended meanwhile is without its last packets. They are nil where two looks
// cannot be compared.
func rates(before, now *look) map[string]float64 {
	took := now.at.Sub(before.at).Seconds()
	if before.flows == nil || now.flows == nil || took <= 0 || before.stats.Sensor != now.stats.Sensor {
		return nil
	}
	type flow struct {
		device, remote, on string
		proto              uint8
		own, other         int32
		began              int64
	}
	of := func(f *v1.Flow) flow {
		return flow{*f.Device, f.Remote, f.Interface, f.Proto, f.DevPort, f.RemPort, f.FirstSeen.UnixMicro()}
	}
	counted := map[flow]uint64{}
	for i := range before.flows {
		if f := &before.flows[i]; f.Device != nil {
			counted[of(f)] = f.Packets
		}
	}
	all := map[string]float64{}
	for i := range now.flows {
		if f := &now.flows[i]; f.Device != nil {
			all[*f.Device] += float64(f.Packets-min(f.Packets, counted[of(f)])) / took
		}
	}
	return all
}

// told is what the sensor says of the device that is open.
type told struct {
	device string
	facts  []v1.Fact
	err    error
}

func (m *model) askFacts(device string) tea.Cmd {
	return func() tea.Msg {
		t := told{device: device}
		t.facts, t.err = m.sensor.Facts(m.ctx, device)
		page.SortFacts(t.facts)
		return t
	}
}

// explained is why a device is taken for what it is.
type explained struct {
	device string
	why    *v1.Explanation
	err    error
}

func (m *model) askWhy(device string) tea.Cmd {
	return func() tea.Msg {
		e := explained{device: device}
		e.why, e.err = m.sensor.Explanation(m.ctx, device, v1.ExplanationRequest{})
		return e
	}
}

// labelled is what became of a name that was given.
type labelled struct {
	device, label string
	done          v1.Corrected
	err           error
}

func (m *model) give(device, label string) tea.Cmd {
	return func() tea.Msg {
		l := labelled{device: device, label: label}
		l.done, l.err = m.sensor.Correct(m.ctx, device, v1.DoLabel, v1.Correction{Label: label})
		return l
	}
}
