package sensor

import (
	"fmt"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// A loss is said when it begins and, a while after the last, when it has ended.
func TestDropping(t *testing.T) {
	var d dropping
	said := ""
	for i, n := range []uint64{0, 0, 3, 3, 4, 4, 4, 4, 4, 4, 9, 9, 9, 9, 9} {
		switch e := d.look("x", n); {
		case e == nil:
		case e.Event == v1.EventDropsBegan && *e.New == "x":
			said += fmt.Sprint(" +", i)
		case e.Event == v1.EventDropsEnded && *e.Old == "x":
			said += fmt.Sprint(" -", i)
		}
	}
	if want := " +2 -8 +10 -14"; said != want {
		t.Errorf("said%s, want%s", said, want)
	}
}

// Traffic that is played faster has a clock of its own.
func TestClock(t *testing.T) {
	s := &Sensor{cfg: Config{Speed: 1}}
	if now, _, ok := s.clock(700); now != 700 || !ok {
		t.Errorf("%d, %v", now, ok)
	}
	s.cfg.Speed = 100
	if _, _, ok := s.clock(700); ok {
		t.Error("a time before the first packet")
	}
	s.first.Store(600)
	if now, since, ok := s.clock(700); now != 10600 || since != 600 || !ok {
		t.Errorf("%d since %d, %v", now, since, ok)
	}
}
