package facts

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
)

// What is taken back is what was known, within the bounds of a set, and goes on from there.
func TestRestore(t *testing.T) {
	list := []Fact{{Maker, Link, 1, "TP-Link", 5, 5}, {DNSName, Sent, 7, "a.example", 6, 9}}
	c := NewCollector(1)
	c.Restore("50:c7:bf:00:00:01", list)
	if got := c.Of("50:c7:bf:00:00:01").All(); !reflect.DeepEqual(got, list) {
		t.Errorf("%+v, want %+v", got, list)
	}
	c.Restore("50:c7:bf:00:00:01", []Fact{{DNSName, Sent, 1, "b.example", 1, 1}})
	c.Restore("50:c7:bf:00:00:02", list)
	if got := c.Of("50:c7:bf:00:00:01").All(); !reflect.DeepEqual(got, list) || c.Of("50:c7:bf:00:00:02") != nil {
		t.Errorf("taken over what is known, or without room: %+v", got)
	}
	c.Sample("50:c7:bf:00:00:01", false, 20, &flows.Sample{}) // begins nothing anew
	if got := c.Of("50:c7:bf:00:00:01").All(); !reflect.DeepEqual(got, list) {
		t.Errorf("%+v once it was heard, want %+v", got, list)
	}
	var many []Fact
	for i := range 3 * MaxFacts {
		many = append(many, Fact{DNSName, Sent, 1, fmt.Sprint(i, strings.Repeat("x", i%(MaxValue+40))), 1, 1})
	}
	full := NewCollector(1)
	full.Restore("a", many)
	s := full.Of("a")
	if n := len(s.All()); n == 0 || n > MaxFacts || s.text > maxText {
		t.Errorf("%d facts with %d bytes", n, s.text)
	}
	for _, f := range s.All() {
		if len(f.Value) > MaxValue {
			t.Errorf("a value of %d bytes", len(f.Value))
		}
	}
}
