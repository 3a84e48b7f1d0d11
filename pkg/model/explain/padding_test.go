package explain_test

import (
	"flag"
	"path/filepath"
	"slices"
	"sort"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/explain"
)

var padded = flag.String("padding", "", "model file whose network's padding measures are to be told")

// TestTellPadding prints how far the padding measures tell wrong from right, of the test
// captures' windows that the network alone gives 0.8 or more (paper V).
func TestTellPadding(t *testing.T) {
	if *padded == "" {
		t.Skip("needs -padding MODEL")
	}
	m, err := model.Load(*padded)
	if err != nil {
		t.Fatal(err)
	}
	e, err := explain.New(m)
	if err != nil {
		t.Fatal(err)
	}
	set, err := dataset.Open(dataset.Options{Manifest: filepath.Join(testenv.Data(t), "manifest.csv"), Splits: []string{"test"}})
	if err != nil {
		t.Fatal(err)
	}
	streams := map[string][]flows.Row{}
	figures := map[string]map[bool][]float64{} // by measure, of right and of wrong windows
	if _, err := set.Steps(t.Context(), m.Record.Stream(), func(x dataset.Example) error {
		key := x.Capture + x.Name
		streams[key] = append(streams[key], x.Row)
		rows := streams[key][max(0, len(streams[key])-m.Net.Span()):]
		for _, output := range []explain.Output{explain.Logit, explain.Probability} {
			got, err := e.Explain(explain.Request{Rows: rows, Output: output})
			if err != nil || got.JoinedProbability < model.DefaultThreshold {
				return err
			}
			if got.Label == model.NoneLabel {
				continue // refused
			}
			for name, v := range map[string]float64{"padding_fraction": got.PaddingFraction, "padding_share": got.PaddingShare, "1 - probability": 1 - got.JoinedProbability} {
				name = output.String() + " " + name
				if figures[name] == nil {
					figures[name] = map[bool][]float64{}
				}
				figures[name][got.Label == x.Label] = append(figures[name][got.Label == x.Label], v)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for name, of := range figures {
		right, wrong := of[true], of[false]
		slices.Sort(right)
		area := 0.0
		for _, v := range wrong {
			below, upTo := sort.SearchFloat64s(right, v), sort.Search(len(right), func(i int) bool { return right[i] > v })
			area += float64(below+upTo) / 2 / float64(len(right)*len(wrong))
		}
		t.Logf("%-28s right (%d) %.3f, wrong (%d) %.3f; area under the curve %.2f; over 0.01: right %.3f, wrong %.3f",
			name, len(right), mean(right), len(wrong), mean(wrong), area, over(right, 0.01), over(wrong, 0.01))
		for _, cost := range []int{1, 2, 5} {
			limit := right[len(right)*(100-cost)/100]
			t.Logf("%-28s over %.3f, as %d %% of the right are: wrong %.3f", name, limit, cost, over(wrong, limit))
		}
	}
}

func mean(values []float64) (mean float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	return mean
}

// over is the share of values above a limit.
func over(values []float64, limit float64) (share float64) {
	for _, v := range values {
		if v > limit {
			share += 1 / float64(len(values))
		}
	}
	return share
}
