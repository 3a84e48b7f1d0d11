package report

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/model/explain"
)

// The page says of each type what carries and what misleads, and puts the nearest pairs
// first; it loads nothing.
func TestLearntPage(t *testing.T) {
	right, plug, lamp := 1234, "plug", "lamp"
	weight := func(name string, mean float64) explain.Weight {
		return explain.Weight{Name: name, Mean: mean, Magnitude: max(mean, -mean), Captures: 2}
	}
	l := &explain.Learnt{
		Output: "logit", Windows: 5678, Right: &right,
		Types: []explain.Importance{{Label: "lamp", Captures: 3, Windows: 9, Probability: .75,
			Groups: []explain.Weight{weight("facts", 4), weight("ports", -1)}, Facts: []explain.Weight{weight("asks DNS for <a>", 4)},
			Values: []explain.Weight{weight("remote port 53", -1)}, Words: []explain.Weight{weight(`"HS110"`, 2)}, Fields: []explain.Weight{weight("remote_port", -1)}}},
		Rivals: []explain.Importance{
			{Label: "lamp", WhyNot: &plug, Windows: 9, Groups: []explain.Weight{weight("facts", 3)}},
			{Label: "plug", WhyNot: &lamp, Windows: 9, Groups: []explain.Weight{weight("facts", 1)}}},
	}
	l.SumFields()
	dir := t.TempDir()
	if err := WriteLearnt(dir, l); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "learnt.html"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, want := range []string{
		"5,678 windows, 1,234 of them right", "default-src 'none'", "asks DNS for &lt;a&gt; (fact)", "&#34;HS110&#34; in a payload", "2 of 3",
		"Fields of most weight: remote_port -1.00.", "<tr><td>remote_port<td>-1.000<td>1.000", "lamp and not plug: &#43;3.00 in all", "No window was given another label",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	carries, misleads := strings.Index(page, "Carries it"), strings.Index(page, "Misleads")
	if at := strings.Index(page, "remote port 53"); at < misleads || strings.Index(page, "HS110") < carries || strings.Index(page, "HS110") > misleads {
		t.Error("what carries stands with what misleads")
	}
	if strings.Index(page, "plug and not lamp") > strings.Index(page, "lamp and not plug") {
		t.Error("the nearest pair is not first")
	}
	if found := regexp.MustCompile(`<script|src=|href=|url\(|@import|0x`).FindString(page); found != "" {
		t.Errorf("the page has %q", found)
	}
}
