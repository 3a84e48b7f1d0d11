package naming

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

const header = "peer,pattern,maker,kind,model\n"

func TestTable(t *testing.T) {
	table, err := readTable(strings.NewReader(header + "# of names first\n*,=hs1\\d0,TP-Link,plug,HS100|HS110\nndpi,hue,Philips,lighting,\n*,maker=tp-link,TP-Link,camera,\n*,proto=,,,\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, peer string
		words      []string
		want       Answer
		unknown    []string
	}{
		{"nothing", "ndpi", nil, Answer{}, nil},
		{"one of two", "ndpi", []string{"host=HS110(EU)"}, Answer{{"TP-Link"}, {"plug"}, {"HS100", "HS110"}}, nil},
		{"of another program", "p0f", []string{"host=hue"}, Answer{}, []string{"host=hue"}},
		{"the first line at each level", "ndpi", []string{"maker=TP-LINK", "host=hue"}, Answer{{"Philips"}, {"lighting"}, nil}, nil},
		{"words that tell nothing", "ndpi", []string{"proto=DNS", "odd"}, Answer{}, []string{"odd"}},
	} {
		got, unknown := table.Answer(tt.peer, tt.words)
		if !reflect.DeepEqual(got, tt.want) || !slices.Equal(unknown, tt.unknown) {
			t.Errorf("%s: %v, unknown %v", tt.name, got, unknown)
		}
	}
	for text, says := range map[string]string{"": "first line", "peer,pattern\n": "first line", header + "*,(,a,b,c\n": "line 2: ", header + "*,a\n": "wrong number of fields"} {
		if _, err := readTable(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := LoadTable("/nonexistent"); err == nil {
		t.Error("a file that is not there")
	}
}

// Every name that the table gives at a level is one of the taxonomies', so that none is
// wrong by its spelling.
func TestOwnTable(t *testing.T) {
	table, err := OwnTable()
	if err != nil {
		t.Fatal(err)
	}
	names := [levels]map[string]bool{{"Apple": true}, {}, {}}
	for _, file := range []string{"../model/embedded/taxonomy.csv", "../../bench/peers/naming-strangers.csv"} {
		paths, err := taxonomy.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		for label := range paths {
			for level, name := range paths.Levels(label) {
				names[level][name] = true
			}
		}
	}
	for _, m := range table {
		for level, list := range m.answer {
			for _, name := range list {
				if !names[level][name] {
					t.Errorf("%v: %q is in no taxonomy", m.pattern, name)
				}
			}
		}
	}
}

func TestReaders(t *testing.T) {
	for _, tt := range []struct {
		name             string
		read             func(printed, written []byte, say func(of, words string))
		printed, written string
		want             said
	}{
		{"tshark", readTshark, "00:17:88:24:76:ff\tPhilips Lighting BV\n00:17:88:24:76:ff\tPhilips Lighting BV\n02:00:00:00:00:01\t\n", "",
			said{"00:17:88:24:76:ff": {"maker=Philips Lighting BV"}}},
		{"ndpi", readNDPI, "Detected protocols:\n" +
			"\t1\tTCP 10.10.10.6:53410 <-> 162.13.31.14:80 [proto: 7/HTTP][ClearText][Hostname/SNI: www.ecdinterface.philips.com][User-Agent: a/1]\n" +
			"\t2\tUDP [fe80::217]:5353 -> [ff02::fb]:5353 [proto: 8/MDNS][cat: Network/14]\n" +
			"\t3\tTCP 10.10.10.30:1 <-> 10.10.10.6:80 [proto: 7/HTTP][User-Agent: a phone][Server: lighttpd]\n", "",
			said{"10.10.10.6": {"proto=7/HTTP", "Hostname/SNI=www.ecdinterface.philips.com", "User-Agent=a/1", "Server=lighttpd"},
				"fe80::217": {"proto=8/MDNS"}, "10.10.10.30": {"proto=7/HTTP", "User-Agent=a phone"}}},
		{"p0f", readP0f, "", "[2016/09/07 14:45:38] mod=syn|cli=10.10.10.6/53410|srv=162.13.31.14/80|subj=cli|os=Linux 3.x|dist=0\n" +
			"[2016/09/07 14:45:38] mod=http response|cli=10.10.10.6/53410|srv=162.13.31.14/80|subj=srv|app=IIS|lang=none\n" +
			"[2016/09/07 14:45:38] mod=syn+ack|cli=10.10.10.6/5|srv=162.13.31.14/80|subj=srv|os=???\n",
			said{"10.10.10.6": {"os=Linux 3.x"}, "162.13.31.14": {"app=IIS"}}},
		{"prads", readPrads, "", "asset,vlan,port,proto,service,[service-info],distance,discovered\n" +
			"10.10.10.30,0,80,6,CLIENT,[http:Dalvik/2.1.0 (Linux, U)],0,1473259539\n",
			said{"10.10.10.30": {"CLIENT=http:Dalvik/2.1.0 (Linux, U)"}}},
	} {
		got := said{}
		tt.read([]byte(tt.printed), []byte(tt.written), got.say)
		for of := range got {
			slices.Sort(got[of])
			slices.Sort(tt.want[of])
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

// What programs print of hostile packets says nothing of nobody.
func FuzzReaders(f *testing.F) {
	f.Add([]byte("\t1\tTCP [::1]:1 <-> a:80 [proto: 7/HTTP][Server: x"))
	f.Add([]byte("[] cli=1/2|subj=cli|os=x\nsubj=subj|app=y"))
	f.Add([]byte("10.0.0.1,0,1,6,SYN,[a,b],0,1\n\t\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, p := range Peers() {
			words := said{}
			p.read(text, text, words.say)
			for of, list := range words {
				if of == "" || slices.Contains(list, "") {
					t.Errorf("%s: %q of %q", p.Name, list, of)
				}
			}
		}
	})
}

// units writes captures of lab devices with a manifest, and opens it.
func units(t *testing.T, kinds ...string) (*dataset.Set, []lab.Recording) {
	t.Helper()
	bundle, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	dir, manifest := t.TempDir(), "capture,mac,label\n"
	var all []lab.Recording
	for i, kind := range kinds {
		r, err := lab.Generate(kind, 0, int64(i), 90*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := lab.WritePCAP(&text, r); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%d.pcap", i)
		write(t, filepath.Join(dir, name), text.String(), 0o644)
		manifest += fmt.Sprintf("%s,%s,%s\n", name, r.Device, kind)
		all = append(all, r)
	}
	path := filepath.Join(dir, "manifest.csv")
	write(t, path, manifest, 0o644)
	spec, err := bundle.Record()
	if err != nil {
		t.Fatal(err)
	}
	set, err := dataset.Open(dataset.Options{Manifest: path, Capture: capture.Config{RecordSpec: spec}})
	if err != nil {
		t.Fatal(err)
	}
	return set, all
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// A program that has enough packets only in the whole capture, one that is always wrong
// about the maker, one that fails: beside the verdicts, by data and by time.
func TestRun(t *testing.T) {
	set, all := units(t, "camera", "thermostat")
	bundle, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	program := func(name, script string) Peer {
		path := filepath.Join(t.TempDir(), name)
		write(t, path, "#!/bin/sh\n"+script, 0o755)
		p := Peers()[0] // its output is the simplest
		p.Name, p.Program, p.args = name, path, func(capture, _ string) []string { return []string{capture} }
		return p
	}
	says := func(maker string) string {
		return fmt.Sprintf("printf '%s\\t%s\\n%s\\t%s\\n'\n", all[0].Device, maker, all[1].Device, maker)
	}
	table, err := readTable(strings.NewReader(header + "*,maker=right,Lab,,camera|thermostat\n*,maker=wrong,Other,,\n"))
	if err != nil {
		t.Fatal(err)
	}
	warned := 0
	c := Comparison{
		Bundle: bundle, Table: table, Times: []time.Duration{0, time.Hour},
		Taxonomy: taxonomy.Taxonomy{"thermostat": "Lab/other/thermostat"}, // the model has the label: not to be taken
		Peers: []Peer{
			program("late", `[ $(wc -c <"$1") -gt 3000 ] || exit 0`+"\n"+says("right")),
			program("wrong", says("wrong")), program("odd", says("what?")), program("broken", "echo no >&2; exit 3\n"),
		},
		Warn: func(string, ...any) { warned++ },
	}
	got, err := c.Run(context.Background(), []Data{{Name: "all", Set: set, Part: true}})
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]Row{}
	for _, r := range got.Rows {
		if r.Set != "all, known types" || r.Devices != 2 {
			t.Errorf("%+v", r)
		}
		rows[fmt.Sprintf("%s %g", r.Namer, r.Seconds)] = r
	}
	// The lab's labels have no levels above them: the maker is not known, and not counted.
	for name, want := range map[string]Row{
		Alone + " 3600": {Model: Count{Right: 2}, Score: 1}, Own + " 3600": {Model: Count{Right: 2}, Score: 1},
		"late 0": {Model: Count{Blank: 2}}, "late 3600": {Model: Count{Right: 2}, Score: 1},
		"wrong 3600": {Model: Count{Blank: 2}}, "broken 3600": {Model: Count{Blank: 2}},
	} {
		r := rows[name]
		if r.Maker != want.Maker || r.Model != want.Model || r.Score != want.Score {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if want := []string{"odd: maker=what?"}; !slices.Contains(got.Unknown, want[0]) {
		t.Errorf("unknown words %v", got.Unknown)
	}
	if got.Failed["broken"] != 4 || warned != 4 || len(got.Failed) != 1 {
		t.Errorf("failed %v, %d warnings", got.Failed, warned)
	}
}

// What a verdict says counts as deep as it is safe, its maker before its first window too.
func TestAnswered(t *testing.T) {
	label, path := "A1", "A"
	paths := taxonomy.Taxonomy{"A1": "A/plug/A1"}
	for _, tt := range []struct {
		v    v1.Verdict
		want Answer
	}{
		{v1.Verdict{}, Answer{}},
		{v1.Verdict{Path: &path, Level: 1}, Answer{{"A"}}},
		{v1.Verdict{Label: &label}, Answer{}},
		{v1.Verdict{Label: &label, Path: &path, Level: 1}, Answer{{"A"}}},
		{v1.Verdict{Label: &label, Known: true, Level: 3}, Answer{{"A"}, {"plug"}, {"A1"}}},
	} {
		if got := answered(&tt.v, paths); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%+v: %v, want %v", tt.v, got, tt.want)
		}
	}
}

// Wrong counts double, and only where the truth is known.
func TestScore(t *testing.T) {
	r := &run{result: &Result{}, classes: []string{"A1"}, paths: taxonomy.Taxonomy{"A1": "A/plug/A1", "pc": "?/computer/pc"}}
	d := Data{Name: "d", Part: true}
	for label, answers := range map[string][]Answer{
		"A1": {{{"A"}, {"camera"}, nil}, {{"B", "A"}, {"plug"}, {"A1"}}},
		"pc": {{{"A"}, {"plug"}, {"A1"}}},
	} {
		for _, a := range answers {
			r.add(d, "c", dataset.Device{Name: "m", Label: label}, "n", 0, a)
		}
	}
	for _, row := range r.result.Rows {
		want := Row{"d, known types", 2, "n", 0, Count{2, 0, 0}, Count{1, 1, 0}, Count{1, 0, 1}, 2. / 6}
		if row.Set == "d, strangers" {
			want = Row{"d, strangers", 1, "n", 0, Count{}, Count{0, 1, 0}, Count{0, 1, 0}, -2}
		}
		if row != want {
			t.Errorf("%+v, want %+v", row, want)
		}
	}
}

func TestInstalled(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "p0f"), "#!/bin/sh\n", 0o755)
	t.Setenv("PATH", dir)
	have, missing := Installed(Peers())
	if len(have) != 1 || have[0].Name != "p0f" || len(missing) != len(Peers())-1 || missing[0].Install == "" {
		t.Errorf("have %v, missing %v", have, missing)
	}
}

// The programs themselves say what is expected of a lab device.
func TestRealPeers(t *testing.T) {
	_, all := units(t, "thermostat")
	dir := t.TempDir()
	path := filepath.Join(dir, "capture.pcap")
	var text strings.Builder
	if err := lab.WritePCAP(&text, all[0]); err != nil {
		t.Fatal(err)
	}
	write(t, path, text.String(), 0o644)
	for name, want := range map[string]string{"ndpi": "Hostname/SNI=", "tshark": ""} {
		i := slices.IndexFunc(Peers(), func(p Peer) bool { return p.Name == name })
		p := Peers()[i]
		p.Program = testenv.Tool(t, p.Program)
		words, err := p.run(t.Context(), path, dir)
		if err != nil {
			t.Fatal(err)
		}
		found := want == ""
		for _, list := range words {
			found = found || slices.ContainsFunc(list, func(w string) bool { return strings.HasPrefix(w, want) })
		}
		if !found {
			t.Errorf("%s: no %q in %q", name, want, words)
		}
	}
}
