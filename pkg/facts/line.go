package facts

// This file reads facts as answers have them.

import (
	"math"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// Of is the fact of a line that [Set.Lines] made. The error is of a kind or source that this
// program does not know.
func Of(line v1.Fact) (f Fact, err error) {
	f = Fact{Value: line.Value, Count: uint32(min(line.Count, math.MaxUint32)), First: line.First.UnixMicro(), Last: line.Last.UnixMicro()}
	if err = f.Kind.UnmarshalText([]byte(line.Kind)); err == nil {
		err = f.Source.UnmarshalText([]byte(line.Source))
	}
	return f, err
}
