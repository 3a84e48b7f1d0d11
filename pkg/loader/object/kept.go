package object

// This file says whether maps of another sensor fit this build and what it is to do.

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/iotsense/iotsense/gen"
)

// Variables and Constants are the maps of the programs' own data.
const (
	Variables = ".bss"
	Constants = ".rodata"
)

// keptMaps are those that a sensor takes over from another; the rest holds nothing from one
// packet to the next.
var keptMaps = []string{
	gen.IotsenseMapFlows, gen.IotsenseMapEvents, gen.IotsenseMapPacketCounters, gen.IotsenseMapLocalPrefixes,
	gen.IotsenseMapMacs, gen.IotsenseMapMarked, gen.IotsenseMapAlarms, Variables,
}

// keptTypes are what maps and ring events are made of, beside the values of maps.
var keptTypes = []string{"sample", "close", "event_kind", "life_word", "mac_word", "place", "total_word", "config"}

// meaning is part of the layout: it is raised when what a field says changes and its place
// does not, how a fingerprint is made among that.
const meaning = 1

// Layout is a word for how the maps that are kept look: builds with the same one can take
// over from each other.
func Layout() (string, error) {
	spec, err := gen.LoadIotsense()
	if err != nil {
		return "", fmt.Errorf("read the compiled programs: %w", err)
	}
	var text strings.Builder
	fmt.Fprintln(&text, "meaning", meaning)
	add := func(name string, t btf.Type) error {
		declared, err := new(btf.GoFormatter).TypeDeclaration(name, t)
		if err != nil {
			return fmt.Errorf("layout of %s: %w", name, err)
		}
		fmt.Fprintln(&text, declared)
		return nil
	}
	for _, name := range keptMaps {
		m := spec.Maps[name]
		fmt.Fprintln(&text, name, m.Type, m.KeySize, m.ValueSize, m.Flags)
		if m.Value != nil && name != Variables {
			if err := add(name, m.Value); err != nil {
				return "", err
			}
		}
	}
	for _, name := range keptTypes {
		t, err := spec.Types.AnyTypeByName(name)
		if err != nil {
			return "", fmt.Errorf("layout of %s: %w", name, err)
		}
		if err := add(name, t); err != nil {
			return "", err
		}
	}
	var variables []string
	for name, v := range spec.Variables {
		if v.SectionName == Variables {
			variables = append(variables, fmt.Sprintln(v.Offset, name, v.Size()))
		}
	}
	slices.Sort(variables)
	fmt.Fprint(&text, variables)
	sum := sha256.Sum256([]byte(text.String()))
	return hex.EncodeToString(sum[:]), nil
}

// IsKept reports whether the map of that name is taken over.
func IsKept(name string) bool { return slices.Contains(keptMaps, name) }

// told are the constants that settings decide, by the flags' names.
var told = map[string]string{
	"LifetimeNs": "flow-timeout", "Samples": "packets", "Prefix": "prefix", "Uni": "direction", "PrivateLocal": "local",
}

// Adopt makes Load use maps of another sensor in place of new ones, Constants among them. The
// error names what c asks for and they are not made for.
func (c *Config) Adopt(kept map[string]*ebpf.Map) error {
	for _, name := range append([]string{Constants}, keptMaps...) {
		if kept[name] == nil {
			return fmt.Errorf("the map %s is missing", name)
		}
	}
	for _, size := range []struct {
		flag, name string
		want       int
	}{{"max-flows", gen.IotsenseMapFlows, c.MaxFlows}, {"ring-size", gen.IotsenseMapEvents, c.RingSize}} {
		if had := int(kept[size.name].MaxEntries()); had != size.want {
			return fmt.Errorf("%s is %d now, and was %d", size.flag, size.want, had)
		}
	}
	spec, err := gen.LoadIotsense()
	if err != nil {
		return fmt.Errorf("read the compiled programs: %w", err)
	}
	var data []byte
	if err := kept[Constants].Lookup(uint32(0), &data); err != nil {
		return fmt.Errorf("read the constants: %w", err)
	}
	v := spec.Variables["cfg"]
	if int(v.Offset+v.Size()) > len(data) {
		return fmt.Errorf("the constants have %d bytes", len(data))
	}
	var had gen.IotsenseConfig
	v.Value = data[v.Offset : v.Offset+v.Size()]
	if err := v.Get(&had); err != nil {
		return fmt.Errorf("read the constants: %w", err)
	}
	secret := Secret(had.Secret)
	asks := *c
	asks.Secret = &secret
	want, err := asks.now()
	if err != nil {
		return err
	}
	was, is := reflect.ValueOf(had), reflect.ValueOf(want)
	for i := range was.NumField() {
		name := was.Type().Field(i).Name
		if name == "_" || was.Field(i).Interface() == is.Field(i).Interface() {
			continue
		}
		if flag, ok := told[name]; ok {
			name = flag
		}
		return fmt.Errorf("%s is %v now, and was %v", name, is.Field(i), was.Field(i))
	}
	*c, c.kept = asks, kept
	return nil
}

// Entries is how many lives are in a table of flows, and their packets.
func Entries(table *ebpf.Map) (lives int, packets uint64, err error) {
	var place uint64
	var f gen.IotsenseFlow
	it := table.Iterate()
	for it.Next(&place, &f) {
		lives++
		for i, t := range f.Total {
			packets += f.Packets[i] + t.Word>>uint64(gen.IotsenseTotalWordTOTAL_SHIFT)
		}
	}
	if err := it.Err(); err != nil {
		return lives, packets, fmt.Errorf("read the open flows: %w", err)
	}
	return lives, packets, nil
}
