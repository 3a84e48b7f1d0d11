package capturebench

// This file lists the tools: how each is started, and how it says what it has counted.

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Tool is a program that watches an interface until SIGTERM.
type Tool struct {
	Name string `json:"name"`
	Does string `json:"does"` // with each packet
	// Ours is one of the sensor: it is asked through its socket whether it is attached.
	Ours bool `json:"-"`
	// TwiceOnLoopback: it sees what goes out there and, as the same packet, what comes in.
	TwiceOnLoopback bool `json:"twice_on_loopback"`
	// CountLags: what it says at its end leaves out the last packets, which wait for more; so
	// its count tells no loss.
	CountLags bool `json:"count_lags"`

	command []string // %v: venv, %p: scripts, %s: sensor, %i: interface, %o: its socket, %x: hook, %m: model
	count   func(output string) (Count, error)
	needs   []string // files that are there once it is installed, or names in PATH
}

// Count is what a tool has seen. TCP, UDP and Other are 0 where it tells no protocol.
type Count struct {
	Packets uint64 `json:"packets"`
	TCP     uint64 `json:"tcp"`
	UDP     uint64 `json:"udp"`
	Other   uint64 `json:"other"`
}

// Names of the arms that the others are held against.
const (
	None    = "none"    // no tool at all: what the traffic costs by itself
	Pypcap  = "pypcap"  // the paper's winner
	Counter = "count"   // the sensor, counting only
	Records = "records" // the sensor, making records
	Classes = "classify"
)

// Tools are all there are.
func Tools() []Tool {
	python := func(script string) []string { return []string{"%v/bin/python", "%p/" + script} }
	sensor := func(model string, more ...string) []string {
		return append([]string{"%s", "run", "-i", "%i", "--hook", "%x", "--pin", "", "--socket", "%o", "--json", "--model", model}, more...)
	}
	return []Tool{
		{Name: None, Does: "nothing: no tool runs"},
		{Name: Counter, Ours: true, count: sensorCount, command: sensor("none", "--packets", "0"),
			Does: "counts packets by flow and protocol in the kernel; each flow's totals come to user space"},
		{Name: Records, Ours: true, count: sensorCount, command: sensor("none"),
			Does: "count, and a record of each flow with sizes, times and payload of its first ten packets"},
		{Name: Classes, Ours: true, count: sensorCount, command: sensor("%m"),
			Does: "records, what devices say of themselves, and the model's verdict on each device"},
		{Name: "pyshark", count: scriptCount, command: append(python("pyshark_count.py"), "%i"), needs: []string{"%v/bin/python", "tshark"},
			Does: "dissects every packet in tshark, reads its XML in Python, counts protocols"},
		{Name: "scapy", TwiceOnLoopback: true, count: scriptCount, command: append(python("scapy_count.py"), "%i"), needs: []string{"%v/bin/python"},
			Does: "makes objects of every packet's layers, counts protocols"},
		{Name: Pypcap, count: scriptCount, command: append(python("pypcap_count.py"), "%i"), needs: []string{"%v/bin/python"},
			Does: "dpkt parses every packet, counts protocols; immediate mode, as in the paper"},
		{Name: "pypcap-ring", count: scriptCount, command: append(python("pypcap_count.py"), "%i", "--ring"), needs: []string{"%v/bin/python"},
			Does: "the same without immediate mode, a ring of 32 MB"},
		{Name: "nfstream", CountLags: true, count: scriptCount, command: append(python("nfstream_count.py"), "%i"), needs: []string{"%v/bin/python"},
			Does: "makes flows of packets in C, with what nDPI says of their protocol"},
		{Name: "tcpdump", count: tcpdumpCount, command: []string{"tcpdump", "-n", "-i", "%i", "-w", "/dev/null"}, needs: []string{"tcpdump"},
			Does: "copies every packet to /dev/null, counts none by protocol"},
		{Name: "libpcap", count: scriptCount, command: []string{"%v/libpcap_count", "%i"}, needs: []string{"%v/libpcap_count"},
			Does: "counts protocols, in C"},
		{Name: "gopacket", TwiceOnLoopback: true, count: scriptCount, command: []string{"%v/gopacket_count", "%i"}, needs: []string{"%v/gopacket_count"},
			Does: "decodes headers from an AF_PACKET ring, counts protocols, in Go"},
		{Name: "softflowd", CountLags: true, count: softflowdCount, command: []string{"%p/softflowd_count.sh", "%i"}, needs: []string{"softflowd"},
			Does: "makes flows of packets, exports NetFlow, in C"},
	}
}

// ParseTools takes names of tools as [ParseScenarios] those of scenarios.
func ParseTools(list string) ([]Tool, error) {
	return pick(list, Tools(), func(t *Tool) []string { return []string{t.Name, "all"} })
}

// places are where the parts of command lines are.
type places struct{ venv, scripts, sensor, iface, socket, hook, model string }

// expand puts places into a part of a command line.
func (p *places) expand(s string) string {
	return strings.NewReplacer("%v", p.venv, "%p", p.scripts, "%s", p.sensor, "%i", p.iface, "%o", p.socket, "%x", p.hook, "%m", p.model).Replace(s)
}

func (p *places) commandOf(t *Tool) (line []string) {
	for _, part := range t.command {
		line = append(line, p.expand(part))
	}
	return line
}

// missing says what a tool lacks; "": nothing.
func (p *places) missing(t *Tool) string {
	for _, need := range t.needs {
		name := p.expand(need)
		if filepath.Base(name) == name {
			if _, err := exec.LookPath(name); err != nil {
				return fmt.Sprintf("%s is not in PATH", name)
			}
		} else if _, err := os.Stat(name); err != nil {
			return err.Error()
		}
	}
	return ""
}

var (
	scriptLine    = regexp.MustCompile(`(?m)^packets (\d+) tcp (\d+) udp (\d+) other (\d+)$`)
	tcpdumpLine   = regexp.MustCompile(`(?m)^(\d+) packets? captured$`)
	softflowdLine = regexp.MustCompile(`(?m)^Packets processed: (\d+)$`)
	sensorField   = regexp.MustCompile(`\b(packets\.seen|protocols\.\w+)=(\d+)`)
)

// scriptCount reads the last line of the scripts of bench/peers/capture.
func scriptCount(output string) (c Count, err error) {
	all := scriptLine.FindAllStringSubmatch(output, -1)
	if all == nil {
		return c, fmt.Errorf("it has not said what it counted")
	}
	for i, into := range []*uint64{&c.Packets, &c.TCP, &c.UDP, &c.Other} {
		if *into, err = strconv.ParseUint(all[len(all)-1][i+1], 10, 64); err != nil {
			return Count{}, fmt.Errorf("its count: %w", err)
		}
	}
	return c, nil
}

// tcpdumpCount reads what tcpdump says at its end.
func tcpdumpCount(output string) (Count, error) { return onlyTotal(tcpdumpLine, output) }

// softflowdCount reads what `softflowctl statistics` says.
func softflowdCount(output string) (Count, error) { return onlyTotal(softflowdLine, output) }

func onlyTotal(line *regexp.Regexp, output string) (c Count, err error) {
	m := line.FindStringSubmatch(output)
	if m == nil {
		return c, fmt.Errorf("it has not said what it counted")
	}
	if c.Packets, err = strconv.ParseUint(m[1], 10, 64); err != nil {
		return Count{}, fmt.Errorf("its count: %w", err)
	}
	return c, nil
}

// sensorCount reads the sensor's last line of log.
func sensorCount(output string) (c Count, err error) {
	for _, m := range sensorField.FindAllStringSubmatch(output, -1) {
		n, err := strconv.ParseUint(m[2], 10, 64)
		if err != nil {
			return Count{}, fmt.Errorf("its count: %w", err)
		}
		switch m[1] {
		case "packets.seen":
			c.Packets = n
		case "protocols.tcp":
			c.TCP = n
		case "protocols.udp":
			c.UDP = n
		default:
			c.Other += n
		}
	}
	if !strings.Contains(output, "packets.seen=") {
		return Count{}, fmt.Errorf("it has not said what it counted")
	}
	return c, nil
}
