package flows

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// Each counter of an identity is missed when it is off by one; those that are parts
// of another are not in any.
func TestPacketStatsCheck(t *testing.T) {
	whole := PacketStats{
		Seen: 31, Counted: 16, NotIP: 8, Malformed: 4, TableFull: 2, Duplicate: 1,
		Truncated: 5, Fragment: 6, Late: 7, InOpen: 3, InClosed: 13, WithDevice: 9, NoDevice: 4,
	}
	if err := whole.Check(); err != nil {
		t.Fatal(err)
	}
	free := map[string]bool{"Truncated": true, "Fragment": true, "Late": true}
	for i := range reflect.TypeFor[PacketStats]().NumField() {
		name := reflect.TypeFor[PacketStats]().Field(i).Name
		off := whole
		field := reflect.ValueOf(&off).Elem().Field(i)
		field.SetUint(field.Uint() + 1)
		err := off.Check()
		var wrong *AccountingError
		if errors.As(err, &wrong) == free[name] {
			t.Errorf("%s off by one: %v", name, err)
		}
	}
	whole.Seen = 77
	if err := whole.Check(); err == nil || !strings.Contains(err.Error(), "77, [16 8 4 2 1]") {
		t.Errorf("%v, want an error with the numbers", err)
	}
}
