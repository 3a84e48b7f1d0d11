package analyze

// This file counts transitions between services and cuts them to the graph of
// Fig. 5.

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
)

// Cut-offs of Fig. 5. The paper leaves out transitions that round to nothing
// (0.5 %), in the graph of its complex device those below 5 %, and "rarely
// observed services"; which device is complex and which service rare is ours.
const (
	leastShare     = 0.005 // services and transitions below it are left out
	complexLeast   = 0.05  // transitions below it are left out of a complex graph
	complexStates  = 6     // a graph of more services is complex
	maxStates      = 12    // a graph shows this many services at most, the most frequent
	weakTransition = 0.20  // transitions below it are the paper's dotted gray arrows

	// Colours, from the share of the other services shown that have a transition
	// shown to this one. The paper says "many" and "rarely"; the numbers are ours.
	significantShare = 0.5 // red at or above it, and from two services at least
	rareShare        = 0.1 // gray at or below it
)

// Colours of a service in Fig. 5.
const (
	Significant   = "red"  // many services lead to it
	Ordinary      = "blue" //
	Insignificant = "gray" // few or none do
)

// ServiceState is a service as a state of Fig. 5.
type ServiceState struct {
	Service string  `json:"service"` // tcp/443, udp/53, icmp, proto/47
	Records uint64  `json:"records"`
	Share   float64 `json:"share"`    // of the class's records
	InLinks int     `json:"in_links"` // other services shown with a transition shown to it
	Colour  string  `json:"colour"`   // red, blue or gray
}

// Transition is an edge of Fig. 5.
type Transition struct {
	From        string  `json:"from"`
	To          string  `json:"to"`
	Count       uint64  `json:"count"`
	Probability float64 `json:"probability"` // delta(from, to): count over all transitions out of from, shown or not
	Weak        bool    `json:"weak"`        // a dotted gray arrow
}

// ServiceGraph is Fig. 5 for one class.
type ServiceGraph struct {
	Seen        int            `json:"services_seen"`   // before anything was left out
	Cutoff      float64        `json:"cutoff"`          // transitions below this probability are left out
	States      []ServiceState `json:"states"`          // shown, the most frequent first
	Transitions []Transition   `json:"transitions"`     // shown, by from and to in the order of states
	Total       uint64         `json:"transitions_all"` // count of all transitions, shown or not
}

// maxServices bounds the services told apart in a class; the rest are one.
const maxServices = 4096

// service identifies a state: protocol and port, port -1 for none.
type service struct {
	proto int32
	port  int32
}

var otherService = service{-1, -1}

// serviceOf names the service a record used. With ports it is the remote's,
// unless the device's port is of a better known kind: system ports (up to 1,023)
// before registered ones before ephemeral ones (from 32,768, where Linux begins).
func serviceOf(r *flows.Record) service {
	if r.RemPort == flows.Missing {
		return service{int32(r.Proto), -1}
	}
	port := r.RemPort
	if r.DevPort != flows.Missing && portKind(r.DevPort) < portKind(r.RemPort) {
		port = r.DevPort
	}
	return service{int32(r.Proto), port}
}

func portKind(port int32) int {
	switch {
	case port < 1024:
		return 0
	case port < 32768:
		return 1
	}
	return 2
}

func (s service) String() string {
	switch {
	case s == otherService:
		return "other"
	case s.proto == 6 && s.port >= 0:
		return fmt.Sprintf("tcp/%d", s.port)
	case s.proto == 17 && s.port >= 0:
		return fmt.Sprintf("udp/%d", s.port)
	}
	if name, ok := protocolNames[s.proto]; ok {
		return name
	}
	return fmt.Sprintf("proto/%d", s.proto)
}

// protocolNames are protocols without ports, or whose ports are not there (a
// later fragment).
var protocolNames = map[int32]string{1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 58: "icmpv6"}

func (s service) compare(o service) int {
	return cmp.Or(cmp.Compare(s.proto, o.proto), cmp.Compare(s.port, o.port))
}

// services counts a class's states and transitions.
type services struct {
	records     map[service]uint64
	transitions map[service]map[service]uint64
}

func newServices() services {
	return services{map[service]uint64{}, map[service]map[service]uint64{}}
}

// add counts a record of state s and returns the state it is counted under.
func (g *services) add(s service) service {
	if _, known := g.records[s]; !known && len(g.records) >= maxServices {
		s = otherService
	}
	g.records[s]++
	return s
}

func (g *services) transition(from, to service) {
	if g.transitions[from] == nil {
		g.transitions[from] = map[service]uint64{}
	}
	g.transitions[from][to]++
}

func (g *services) result() ServiceGraph {
	var records uint64
	all := make([]service, 0, len(g.records))
	for s, n := range g.records {
		all = append(all, s)
		records += n
	}
	slices.SortFunc(all, func(a, b service) int {
		return cmp.Or(cmp.Compare(g.records[b], g.records[a]), a.compare(b))
	})
	shown := slices.Clone(all)
	shown = slices.DeleteFunc(shown, func(s service) bool {
		return s == otherService || float64(g.records[s]) < leastShare*float64(records)
	})
	shown = shown[:min(len(shown), maxStates)]

	graph := ServiceGraph{Seen: len(all), Cutoff: leastShare, States: []ServiceState{}, Transitions: []Transition{}}
	if len(shown) > complexStates {
		graph.Cutoff = complexLeast
	}
	inLinks := map[service]int{}
	for _, from := range shown {
		var out uint64
		for _, n := range g.transitions[from] {
			out += n
		}
		for _, to := range shown {
			n := g.transitions[from][to]
			if n == 0 || float64(n) < graph.Cutoff*float64(out) {
				continue
			}
			if from != to {
				inLinks[to]++
			}
			p := float64(n) / float64(out)
			graph.Transitions = append(graph.Transitions, Transition{from.String(), to.String(), n, round(p), p < weakTransition})
		}
	}
	for _, to := range g.transitions {
		for _, n := range to {
			graph.Total += n
		}
	}
	for _, s := range shown {
		n := g.records[s]
		graph.States = append(graph.States, ServiceState{
			Service: s.String(), Records: n, Share: round(float64(n) / float64(records)),
			InLinks: inLinks[s], Colour: colour(inLinks[s], len(shown)-1),
		})
	}
	return graph
}

// colour applies the paper's rule to a state that inLinks of others lead to.
func colour(inLinks, others int) string {
	share := float64(inLinks) / float64(max(1, others))
	switch {
	case inLinks >= 2 && share >= significantShare:
		return Significant
	case share <= rareShare:
		return Insignificant
	}
	return Ordinary
}

// mostFrequent are the n transitions of the highest counts, the highest first.
func mostFrequent(all []Transition, n int) []Transition {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b Transition) int { return cmp.Compare(b.Count, a.Count) })
	return sorted[:min(n, len(sorted))]
}
