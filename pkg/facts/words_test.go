package facts

import (
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// Every kind has words for people.
func TestEveryKindHasWords(t *testing.T) {
	for k := range kindCount {
		f := v1.ExplainedFact{Kind: k.String(), Value: "x"}
		if words := f.Words(); strings.HasPrefix(words, f.Kind+": ") || !strings.Contains(words, "x") {
			t.Errorf("%s: %q", f.Kind, words)
		}
	}
}
