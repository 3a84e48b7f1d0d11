package score

// This file scores levels above the classes.

import (
	"slices"

	"github.com/iotsense/iotsense/pkg/join"
)

// Level scores the joined verdicts of devices and captures by so many parts of the
// classes' paths; a path of fewer counts whole, so that the last level is the class.
type Level struct {
	Level      int      `json:"level"`       // parts of the path, from 1 on
	Accuracy   *float64 `json:"accuracy"`    // right in these, whatever the threshold; without a window wrong
	Named      int      `json:"named"`       // verdicts that are safe so deep or deeper
	NamedWrong int      `json:"named_wrong"` // of these, of another class's parts
}

// safe counts what a verdict on a device says at the deepest level that is safe, if one is.
func (t *tally) safe(v join.Verdict, d *device, right, wrong *int) {
	switch {
	case v.Level == 0:
	case alike(t.classes.parts(t.classes.outputs[v.Class]), t.classes.parts(d.truth), v.Level):
		*right++
	default:
		*wrong++
	}
}

// belongs reports whether a device without a window is of the outermost level said of it.
func (t *tally) belongs(d *device) bool { return t.classes.parts(d.truth)[0] == d.path }

// parts are the levels of a class: of merged ones those above that they have in common,
// then the merged name.
func (c *classes) parts(class int) []string {
	if known := c.paths[class]; known != nil {
		return known
	}
	name := c.names[class]
	var above []string
	for i, member := range c.members(name) {
		levels := c.taxonomy.Levels(member)
		levels = levels[:len(levels)-1]
		if i == 0 {
			above = levels
		}
		above = above[:common(above, levels)]
	}
	c.paths[class] = append(slices.Clip(above), name)
	return c.paths[class]
}

// members are the classes that count under a name.
func (c *classes) members(name string) []string {
	var members []string
	for _, m := range keys(c.merged) {
		if c.merged[m] == name {
			members = append(members, m)
		}
	}
	if members == nil {
		return []string{name}
	}
	return members
}

// common is how many parts two paths begin with alike.
func common(a, b []string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// byLevel scores each level that a class has.
func (t *tally) byLevel() []Level {
	paths, depth := make([][]string, len(t.classes.names)), 1
	for i := range paths {
		paths[i] = t.classes.parts(i)
		depth = max(depth, len(paths[i]))
	}
	list, right, devices := make([]Level, depth), make([]int, depth), 0
	for _, c := range t.captures {
		for _, d := range c.devices {
			devices++
			all := d.verdict()
			given := t.given(all)
			if given == none {
				if d.path != "" {
					list[0].Named++
					if !t.belongs(d) {
						list[0].NamedWrong++
					}
				}
				continue
			}
			v := t.classes.levels.Verdict(&all)
			for i := range list {
				if alike(paths[given], paths[d.truth], i+1) {
					right[i]++
				}
				if v.Class < 0 || v.Level < min(i+1, len(paths[t.classes.outputs[v.Class]])) {
					continue
				}
				list[i].Named++
				if !alike(paths[t.classes.outputs[v.Class]], paths[d.truth], i+1) {
					list[i].NamedWrong++
				}
			}
		}
	}
	for i := range list {
		list[i].Level, list[i].Accuracy = i+1, ratio(float64(right[i]), float64(devices))
	}
	return list
}

// alike reports whether two paths have their first parts in common, so many or all.
func alike(a, b []string, parts int) bool {
	return slices.Equal(a[:min(parts, len(a))], b[:min(parts, len(b))])
}
