package v1

// This file reads the declarations of stats.go.

import (
	"fmt"
	"reflect"
	"strings"
)

// Counter is a counter of an answer, or another figure of [Stats], as declared.
type Counter struct {
	Key   string   // JSON key, with those it lies under: packets.seen
	Means string   // in a line
	Do    string   // about it; may be empty
	Of    string   // key beside it of the counter whose part this is; may be empty
	Sum   []string // keys beside it of what this is the sum of
	Value any      // its own; a uint64 where it counts

	// Metric says how it is one of Prometheus': gauge, or a label whose value is the last part
	// of the key, in a family that Under describes; empty: a counter of its own.
	Metric string
	Under  string // what the struct that it lies in means
}

// Meaning is what the counter means, with its place among the others.
func (c Counter) Meaning() string {
	switch {
	case c.Of != "":
		return "(of " + c.Of + ") " + c.Means
	case len(c.Sum) > 0:
		return c.Means + " = " + strings.Join(c.Sum, " + ")
	}
	return c.Means
}

// Counters are the fields of an answer's struct and, in their place, those of structs
// in it, in the order of their declaration.
func Counters(answer any) []Counter { return countersOf("", "", reflect.ValueOf(answer)) }

func countersOf(under, means string, v reflect.Value) (list []Counter) {
	for i := range v.NumField() {
		tag, value := v.Type().Field(i).Tag, v.Field(i)
		key := under + tag.Get("json")
		if value.Kind() == reflect.Struct {
			list = append(list, countersOf(key+".", tag.Get("means"), value)...)
			continue
		}
		list = append(list, Counter{
			Key: key, Means: tag.Get("means"), Do: tag.Get("do"), Of: tag.Get("of"),
			Sum: strings.Fields(tag.Get("sum")), Value: value.Interface(),
			Metric: tag.Get("metric"), Under: means,
		})
	}
	return list
}

// AccountingError says which sum of [PacketStats] does not hold: a fault of this
// program, not of the capture.
type AccountingError struct{ Sum string }

func (e *AccountingError) Error() string {
	return "packets do not add up, please report this capture: " + e.Sum
}

// Check holds the declared sums against each other, of a source that has ended: an
// [AccountingError] if one is broken.
func (s *PacketStats) Check() error {
	values := map[string]uint64{}
	counters := Counters(*s)
	for _, c := range counters {
		values[c.Key] = c.Value.(uint64)
	}
	for _, c := range counters {
		if len(c.Sum) == 0 {
			continue
		}
		var sum uint64
		var parts []uint64
		for _, key := range c.Sum {
			parts = append(parts, values[key])
			sum += values[key]
		}
		if sum != c.Value {
			return &AccountingError{fmt.Sprintf("%s = %s does not hold: %d, %d", c.Key, strings.Join(c.Sum, " + "), c.Value, parts)}
		}
	}
	return nil
}

// Add adds the counters of o.
func (s *PacketStats) Add(o PacketStats) {
	into, from := reflect.ValueOf(s).Elem(), reflect.ValueOf(o)
	for i := range into.NumField() {
		into.Field(i).SetUint(into.Field(i).Uint() + from.Field(i).Uint())
	}
}
