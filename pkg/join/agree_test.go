package join_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/score"
	"github.com/iotsense/iotsense/pkg/registry"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// What a reader of live verdicts is told of a device, the published figures count: the
// same class with the same confidence, at or over the threshold or not, after every one
// of its windows, whatever classes the models lack that judge it.
func TestLiveAndPublishedVerdictsAgree(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 12))
		labels, models := madeBundle(r)
		if seed%3 == 0 {
			labels[len(labels)-1] = model.NoneLabel
		}
		threshold, paths := r.Float64(), madeTaxonomy(r, labels)
		var levels [][]string
		for _, l := range labels {
			levels = append(levels, paths.Levels(l))
		}
		live := registry.New(registry.Config{Labels: labels, Levels: join.NewLevels(levels, slices.Index(labels, model.NoneLabel), func(int) float64 { return threshold }, threshold)})
		scorer, err := score.New(score.Config{Mode: model.Padded, Labels: labels, Thresholds: model.Thresholds{Default: threshold}, Taxonomy: paths})
		if err != nil {
			t.Fatal(err)
		}
		spread := time.Duration(r.IntN(2)) * time.Hour // none: sums in the same order, so the same bits
		windows := 1 + r.IntN(30)
		for window := range windows {
			probs := madeOutput(r, models[r.IntN(len(models))], len(labels))
			rec := &flows.Record{Device: "02:00:00:00:00:01"}
			live.Record(rec)
			var named []bool // the newest counts
			if r.IntN(2) == 0 {
				for range labels {
					named = append(named, r.IntN(4) > 0)
				}
			}
			w := &registry.Window{Window: join.Window{Probs: probs, Named: named, Again: window > 0 && r.IntN(3) == 0}, Network: probs}
			v := live.Window(rec, w)
			published, err := scored(scorer, score.Output{
				Device: rec.Device, Label: labels[0], Window: w.Window,
				Since: time.Duration((float64(window) + r.Float64()) / float64(windows) * float64(spread)),
			})
			if err != nil {
				t.Fatal(err)
			}
			if msg := cmp.Or(differ(v, published, spread == 0), differInLevel(v, published, paths)); msg != "" {
				t.Fatalf("seed %d, %d models of %d classes, window %d: %s", seed, len(models), len(labels), window+1, msg)
			}
		}
	}
}

// madeTaxonomy gives most classes a path of up to three levels, few makers and kinds.
func madeTaxonomy(r *rand.Rand, labels []string) taxonomy.Taxonomy {
	paths := taxonomy.Taxonomy{}
	for _, l := range labels {
		if depth := r.IntN(4); depth > 0 && l != model.NoneLabel {
			paths[l] = strings.Join(append([]string{fmt.Sprint("maker", r.IntN(2)), fmt.Sprint("kind", r.IntN(2))}[:depth-1], l), "/")
		}
	}
	return paths
}

// differInLevel says in what the level of a live verdict is not the published one.
func differInLevel(live v1.Verdict, published *score.Result, paths taxonomy.Taxonomy) string {
	truth := published.Worst[0].Label
	named, wrong := 0, 0 // at the deepest level that is safe
	if live.Path != nil {
		named = 1
		if path := strings.Join(paths.Levels(truth), "/") + "/"; !strings.HasPrefix(path, *live.Path+"/") {
			wrong = 1
		}
	}
	d := published.Devices
	switch {
	case (live.Path == nil) != (live.Level == 0) || (live.PathConfidence == nil) != (live.Level == 0):
		return fmt.Sprintf("level %d with a path %v of %v", live.Level, live.Path, live.PathConfidence)
	case d.SafeRight+d.SafeWrong != named || d.SafeWrong != wrong:
		return fmt.Sprintf("live path %v, published %d right, %d wrong", *live.Path, d.SafeRight, d.SafeWrong)
	case live.Known && *live.Path != strings.Join(paths.Levels(*live.Label), "/"):
		return fmt.Sprintf("live %s is known, and its path is %s", *live.Label, *live.Path)
	}
	for _, l := range published.Levels {
		deep := 0
		if live.Known || live.Level >= l.Level {
			deep = 1
		}
		if l.Named != deep {
			return fmt.Sprintf("live level %d, known %v: published %+v", live.Level, live.Known, l)
		}
	}
	return ""
}

// scored is the score after one more window.
func scored(s *score.Scorer, w score.Output) (*score.Result, error) {
	if err := s.Add(w); err != nil {
		return nil, err
	}
	return s.Result()
}

// madeBundle is class names, and for each of some models those it has: all of them if
// it is the only one.
func madeBundle(r *rand.Rand) (labels []string, models [][]int) {
	n := 2 + r.IntN(9)
	all := make([]int, n)
	for i := range n {
		labels, all[i] = append(labels, fmt.Sprintf("class%02d", i)), i
	}
	models = [][]int{all}
	for range r.IntN(4) {
		has := append([]int{}, all[:n-1]...) // the last may stand for none of them
		r.Shuffle(n-1, func(i, j int) { has[i], has[j] = has[j], has[i] })
		has = has[:1+r.IntN(n-1)]
		if r.IntN(2) == 0 {
			has = append(has, n-1)
		}
		slices.Sort(has)
		models = append(models, has)
	}
	return labels, models[min(1, len(models)-1):]
}

// madeOutput is probabilities of the classes that a model has; now and then two are equal.
func madeOutput(r *rand.Rand, has []int, labels int) []float32 {
	probs, sum := slices.Repeat([]float32{join.Lacking}, labels), float32(0)
	for _, i := range has {
		probs[i] = float32(math.Exp(float64(r.IntN(12))))
		sum += probs[i]
	}
	for _, i := range has {
		probs[i] /= sum
	}
	return probs
}

// differ says in what a live verdict and the published one are not the same, if they are not.
func differ(live v1.Verdict, published *score.Result, exact bool) string {
	p := published.Worst[0]
	refused, right := published.Devices.Refused == 1, live.Votes["class00"]
	near := 1e-12
	if exact {
		near = 0
	}
	if p.Given != nil && *p.Given == model.NoneLabel { // live, its best guess among the others is shown
		if *live.Label == model.NoneLabel || live.Known || !refused || *live.Confidence > *p.Confidence {
			return fmt.Sprintf("none of them: live %s %v, known %v", *live.Label, *live.Confidence, live.Known)
		}
		return ""
	}
	switch {
	case live.Label == nil || p.Given == nil || *live.Label != *p.Given:
		return fmt.Sprintf("live label %v, published %v", live.Label, p.Given)
	case math.Abs(*live.Confidence-*p.Confidence) > near:
		return fmt.Sprintf("live confidence %v, published %v", *live.Confidence, *p.Confidence)
	case live.Known == refused:
		return fmt.Sprintf("live known %v, published refused %v", live.Known, refused)
	case live.Windows != p.Windows || right != p.Right:
		return fmt.Sprintf("live %d windows, %d of them for the class, published %d, %d", live.Windows, right, p.Windows, p.Right)
	}
	return ""
}
