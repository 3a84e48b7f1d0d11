package terminal

import (
	"testing"

	"github.com/urfave/cli/v2"
)

// What a flag is by default is said once.
func TestOptionDefault(t *testing.T) {
	for _, tt := range []struct {
		flag cli.Flag
		want string
	}{
		{&cli.IntFlag{Name: "n", Usage: "`N` at most"}, "N at most (default: 0)"},
		{&cli.IntFlag{Name: "n", Usage: "`N` at most (default: all)"}, "N at most (default: all)"},
		{&cli.IntFlag{Name: "n", Usage: "`N` at most (default: the model's; 5)"}, "N at most (default: the model's; 5)"},
		{&cli.StringFlag{Name: "f", Value: "x", Usage: "`FILE`"}, "FILE (default: \"x\")"},
		{&cli.BoolFlag{Name: "b", Usage: "all"}, "all"},
	} {
		if got := option(tt.flag); got.meaning != tt.want {
			t.Errorf("%q, want %q", got.meaning, tt.want)
		}
	}
}
