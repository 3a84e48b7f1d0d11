package experiment

// This file is the door for networks that plans can name.

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/cnn/learn"
	"github.com/iotsense/iotsense/pkg/model/stream"
	streamlearn "github.com/iotsense/iotsense/pkg/model/stream/learn"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// Design is a network that plans can name.
type Design struct {
	Name string // the word of --arch
	// Options are the flags of train that say how this network is built; those of other
	// networks are refused.
	Options []string
	// New is the network as the plan has it. The error names the option that is wrong.
	New func(p *Plan) (train.Design, error)
	// Train is how it is trained unless told otherwise; nil: [train.DefaultOptions].
	Train func() train.Options
	// Changed is whether it learns from changed copies and negatives unless told otherwise.
	Changed bool
	// Variants are those of the ablation that no other network has; nil: none.
	Variants func() []Variant
}

// Networks that come along.
const (
	PaperArch  = "paper"
	StreamArch = "stream" // of a device's stream, see pkg/model/stream
)

// designs are all that are registered, by name.
var designs = map[string]Design{
	PaperArch:  {PaperArch, []string{"window", "filters", "ablate"}, paperDesign, nil, false, paperVariants},
	StreamArch: {StreamArch, []string{"window", "ablate"}, streamDesign, streamlearn.Options, true, streamVariants},
}

// Register makes a design known, once and before any plan is made.
func Register(d Design) {
	if _, twice := designs[d.Name]; twice {
		panic("experiment: design " + d.Name + " is registered twice")
	}
	designs[d.Name] = d
}

// Designs are the names of all, sorted.
func Designs() []string { return slices.Sorted(maps.Keys(designs)) }

// takes reports whether a flag is one of the design's.
func (d Design) takes(flag string) bool { return slices.Contains(d.Options, flag) }

// design is the plan's network. It refuses options that only other networks have.
func (p *Plan) design() (train.Design, error) {
	d, known := designs[p.Arch]
	if !known {
		return nil, fmt.Errorf("--arch %q: want %s", p.Arch, strings.Join(Designs(), " or "))
	}
	for _, s := range p.settings() {
		if s.ofDesign && s.given && !d.takes(s.flag) {
			return nil, fmt.Errorf("--%s: a network of --arch %s has none", s.flag, p.Arch)
		}
	}
	return d.New(p)
}

// paperDesign is the paper's network with the plan's options.
func paperDesign(p *Plan) (train.Design, error) {
	a := cnn.DefaultArchitecture(p.Paper.rows())
	a.Filters = [2]int{p.Paper.Filters, p.Paper.Filters}
	a.Kernel1 = p.record().MetaValues() // one placement of conv1 takes all of them in
	a, err := learn.Ablated(a, p.Paper.Ablate)
	if err != nil {
		return nil, fmt.Errorf("--ablate: %w", err)
	}
	return learn.Design{Arch: a, Ablate: p.Paper.Ablate}, nil
}

// streamDesign is the stream network; --window is how many flows it remembers.
func streamDesign(p *Plan) (train.Design, error) {
	a := stream.DefaultArchitecture()
	if p.Paper.Rows > 0 {
		a.Flows = p.Paper.Rows
	}
	if err := a.Validate(); err != nil {
		return nil, fmt.Errorf("--window: %w", err)
	}
	a, err := streamlearn.Ablated(a, p.Paper.Ablate)
	if err != nil {
		return nil, fmt.Errorf("--ablate: %w", err)
	}
	return streamlearn.Design{Arch: a, Ablate: p.Paper.Ablate}, nil
}
