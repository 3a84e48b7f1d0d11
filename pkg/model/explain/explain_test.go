package explain_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/facts/linear"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/explain"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
	"github.com/iotsense/iotsense/pkg/model/stream"
	"github.com/iotsense/iotsense/pkg/model/stream/streamtest"
)

// models are random ones of both networks, with references.
func models(t testing.TB, r *rand.Rand) map[string]*model.Model {
	t.Helper()
	direct := cnn.DefaultArchitecture(5)
	direct.Hidden = 0
	all := map[string]*model.Model{
		"paper":  modeltest.Model(r, cnn.DefaultArchitecture(5), 7),
		"direct": modeltest.Model(r, direct, 3),
		"stream": streamtest.Model(r, streamtest.Architecture(), 7),
	}
	all["stream"].Calibration.Temperature = 1.7
	for _, m := range all {
		refer(t, m, modeltest.Stream(r, 30), modeltest.Stream(r, 3), modeltest.Stream(r, 8))
	}
	return all
}

// refer gives a model references of streams.
func refer(t testing.TB, m *model.Model, streams ...[]flows.Row) {
	t.Helper()
	var all []float32
	for number, rows := range streams {
		reference, err := m.Net.(model.Explainable).Refer(m.Record, m.Scaling, rows, number)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, reference...)
	}
	if err := m.SetReferences(all); err != nil {
		t.Fatal(err)
	}
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
}

// Shares add up to what the engine says, less what it says of the references, for every
// label, logit and probability, and one label against another.
func TestExplanationsAddUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, m := range models(t, r) {
		e := explainer(t, m)
		engine, err := model.NewEngine(m)
		if err != nil {
			t.Fatal(err)
		}
		probs := make([]float32, len(m.Labels))
		for _, rows := range [][]flows.Row{modeltest.Stream(r, 1), modeltest.Stream(r, 4), modeltest.Stream(r, 25)} {
			if err := engine.Predict(rows, probs); err != nil {
				t.Fatal(err)
			}
			for c, label := range m.Labels {
				for _, output := range []explain.Output{explain.Logit, explain.Probability} {
					x, err := e.Explain(explain.Request{Rows: rows, Label: label, Output: output})
					if err != nil {
						t.Fatal(err)
					}
					want := float64(engine.Logits()[c])
					if output == explain.Probability {
						want = float64(probs[c])
					}
					sum := x.BaseValue
					for _, row := range x.Phi {
						for _, v := range row {
							sum += v
						}
					}
					if math.Abs(sum-want) > 1e-5 || math.Abs(x.Value-want) > 1e-5 || x.AdditivityError > 1e-9 {
						t.Errorf("%s, %d rows: %s of %s: base and shares are %v, value %v, the engine says %v; %g off", name, len(rows), output, label, sum, x.Value, want, x.AdditivityError)
					}
				}
			}
		}
	}
}

// phiOf are the shares of an explanation by field name, rows together.
func phiOf(x *v1.Explanation) map[string]float64 {
	by := map[string]float64{}
	for _, f := range x.Fields {
		by[f.Name] += f.Phi
	}
	return by
}

// A value that is what the reference's is has no share, and the only one that is not has
// all of it: what an exact enumeration of both would say.
func TestOnlyWhatDiffersHasAShare(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, m := range models(t, r) {
		base := modeltest.Stream(r, 1)
		base[0].Record = modeltest.Record(r, 20, 30)
		base[0].RemPort, base[0].Remote = 443, netip.MustParseAddr("224.0.0.1")
		base[0].Since, base[0].Packets[0].Offset, base[0].Packets[1].Offset = 0, 0, 1000 // kept as they are
		refer(t, m, base)
		rows, place, at := model.StandIns(base, 0), 0, 0 // the reference, as rows
		if m.Net.Kind() == stream.Kind {
			place = m.Net.Span() - 1
		}
		for _, p := range rows[0].Packets {
			for i := range p.Payload {
				p.Payload[i] = model.StandIn(0, place, at)
				at++
			}
		}
		for _, tt := range []struct {
			name   string
			change func(rec *flows.Record)
			fields []string
		}{
			{"nothing", func(*flows.Record) {}, nil},
			{"remote port", func(rec *flows.Record) { rec.RemPort = 80 }, []string{"remote_port"}},
			{"size", func(rec *flows.Record) { rec.Packets[1].Size += 300 }, []string{"size_2"}},
			{"direction", func(rec *flows.Record) { rec.Packets[0].Sent = !rec.Packets[0].Sent }, []string{"direction_1"}},
			{"a byte", func(rec *flows.Record) {
				rec.Packets[0].Payload = slices.Clone(rec.Packets[0].Payload)
				rec.Packets[0].Payload[4] ^= 0x55
			}, []string{"payload_6"}},
		} {
			rec := *rows[0].Record
			rec.Packets = slices.Clone(rec.Packets)
			tt.change(&rec)
			e := explainer(t, m)
			x, err := e.Explain(explain.Request{Rows: []flows.Row{{Record: &rec}}, Label: m.Labels[1]})
			if err != nil {
				t.Fatal(err)
			}
			by := phiOf(x)
			for field, phi := range by {
				if slices.Contains(tt.fields, field) {
					if math.Abs(phi-(x.Value-x.BaseValue)) > 1e-9 {
						t.Errorf("%s, %s: %s has %v of %v", name, tt.name, field, phi, x.Value-x.BaseValue)
					}
				} else if math.Abs(phi) > 1e-9 {
					t.Errorf("%s, %s: %s has %v, and is the reference's", name, tt.name, field, phi)
				}
			}
			if len(tt.fields) > 0 && by[tt.fields[0]] == 0 && tt.name != "a byte" {
				t.Errorf("%s, %s: %s has nothing", name, tt.name, tt.fields[0])
			}
		}
	}
}

// explainer explains a model's outputs.
func explainer(t *testing.T, m *model.Model) *explain.Explainer {
	t.Helper()
	e, err := explain.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A label against another is the difference of both; a label's probability, too.
func TestWhyNot(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for name, m := range models(t, r) {
		e := explainer(t, m)
		rows := modeltest.Stream(r, 3)
		for _, output := range []explain.Output{explain.Logit, explain.Probability} {
			var of [3]*v1.Explanation
			for i, q := range []explain.Request{{Label: m.Labels[0]}, {Label: m.Labels[2]}, {Label: m.Labels[0], WhyNot: m.Labels[2]}} {
				q.Rows, q.Output = rows, output
				var err error
				if of[i], err = e.Explain(q); err != nil {
					t.Fatal(err)
				}
			}
			if of[2].WhyNot == nil || *of[2].WhyNot != m.Labels[2] {
				t.Fatalf("%s: against %v", name, of[2].WhyNot)
			}
			for i, row := range of[2].Phi {
				for j, v := range row {
					if want := of[0].Phi[i][j] - of[1].Phi[i][j]; math.Abs(v-want) > 1e-9 {
						t.Fatalf("%s, %s: row %d value %d has %v, want %v", name, output, i, j, v, want)
					}
				}
			}
		}
	}
}

// withFacts gives a model facts of three tokens, and one for words that are not known.
func withFacts(m *model.Model) {
	n := len(m.Labels)
	m.Facts = &linear.Model{
		Tokens: []string{"dns:a.example", "host:lamp", "oui:maker", "sni:?"}, Telling: []int{0, -1, -1, -1}, Temperature: 1.3, Captures: 3,
		Weights: make([]float32, 4*n), Bias: make([]float32, n),
	}
	for c := range n {
		m.Facts.Groups = append(m.Facts.Groups, []int{c})
		m.Facts.Bias[c] = float32(c) / 10
		for token := range 4 {
			m.Facts.Weights[token*n+c] = float32((c*7+token*3)%5) - 2
		}
	}
}

// A fact's share of a logit is what any order of hearing them gives it; facts with the
// same word have equal parts, and those of unknown words of one kind; both parts together are the joined verdict.
func TestFactsShares(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	m := models(t, r)["stream"]
	withFacts(m)
	e := explainer(t, m)
	heard := []facts.Fact{
		{Kind: facts.Maker, Source: facts.Link, Value: "Maker"},
		{Kind: facts.DHCPHost, Source: facts.Sent, Value: "lamp-1"},
		{Kind: facts.DHCPHost, Source: facts.Sent, Value: "lamp-2"},
		{Kind: facts.DNSName, Source: facts.Heard, Value: "a.example"},
		{Kind: facts.DNSName, Source: facts.Sent, Value: "unknown.example"},
		{Kind: facts.TLSName, Source: facts.Sent, Value: "one.example"},
		{Kind: facts.TLSName, Source: facts.Sent, Value: "other.example"},
	}
	rows := modeltest.Stream(r, 2)
	unit := m.Temperature() / m.Facts.Temperature
	joint := make([]float64, len(m.Labels))
	for c, label := range m.Labels {
		x, err := e.Explain(explain.Request{Rows: rows, Facts: heard, Label: label})
		if err != nil {
			t.Fatal(err)
		}
		w := func(token int) float64 { return unit * float64(m.Facts.Weights[token*len(m.Labels)+c]) }
		want := map[string]float64{"Maker": w(2), "lamp-1": w(1) / 2, "lamp-2": w(1) / 2, "one.example": w(3) / 2, "other.example": w(3) / 2}
		for _, f := range x.Facts {
			if math.Abs(f.Phi-want[f.Value]) > 1e-9 {
				t.Errorf("%s: %s has %v, want %v", label, f.Value, f.Phi, want[f.Value])
			}
			delete(want, f.Value)
		}
		for value, phi := range want {
			if phi != 0 {
				t.Errorf("%s: %s has nothing, want %v", label, value, phi)
			}
		}
		joint[c] = math.Exp((x.Value + *x.FactsValue) / m.Temperature())
		if _, err := e.Explain(explain.Request{Rows: rows, Facts: heard, Label: label, Output: explain.Probability}); err != nil {
			t.Error(err)
		}
	}
	sum := 0.0
	for _, v := range joint {
		sum += v
	}
	x, err := e.Explain(explain.Request{Rows: rows, Facts: heard})
	if err != nil {
		t.Fatal(err)
	}
	if c := slices.Index(m.Labels, x.Label); math.Abs(joint[c]/sum-x.JoinedProbability) > 1e-5 || joint[c] != slices.Max(joint) {
		t.Errorf("the label is %s with %v, both parts give it %v", x.Label, x.JoinedProbability, joint[c]/sum)
	}
	if x, err = e.Explain(explain.Request{Rows: rows}); err != nil || x.FactsValue != nil || x.Facts == nil || len(x.Facts) != 0 {
		t.Errorf("without facts: %v, %v, %v", err, x.FactsValue, x.Facts)
	}
}

// What cannot be explained is refused by what to do about it.
// A verdict's label is explained by the newest window, whatever that alone would say; of a label
// that the model does not know, the window's own.
func TestExplainVerdict(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for name, m := range models(t, r) {
		e, asked := explainer(t, m), explain.Request{Rows: modeltest.Stream(r, 5)}
		own, err := e.Explain(asked)
		if err != nil || own.State != nil {
			t.Fatal(err, own.State)
		}
		for _, label := range append([]string{"no label of it"}, m.Labels...) {
			x, err := e.ExplainVerdict(&v1.Verdict{State: v1.Unknown, Label: &label}, asked)
			want := label
			if !slices.Contains(m.Labels, label) {
				want = own.Label
			}
			if err != nil || x.Label != want || x.State == nil || *x.State != v1.Unknown {
				t.Errorf("%s, verdict %q: %v, %v", name, label, x, err)
			}
		}
	}
}

func TestExplainRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	m := models(t, r)["stream"]
	e := explainer(t, m)
	rows := modeltest.Stream(r, 1)
	for _, tt := range []struct {
		request explain.Request
		want    string
	}{
		{explain.Request{}, "no row"},
		{explain.Request{Rows: rows, Label: "other"}, `knows no "other"`},
		{explain.Request{Rows: rows, WhyNot: "other"}, `knows no "other"`},
		{explain.Request{Rows: rows, Label: m.Labels[0], WhyNot: m.Labels[0]}, "set against itself"},
		{explain.Request{Rows: []flows.Row{{}}}, "no record"},
	} {
		if _, err := e.Explain(tt.request); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	m.Compared = nil
	if _, err := explain.New(m); err == nil || !strings.Contains(err.Error(), "train it anew") {
		t.Errorf("without references: %v", err)
	}
	if _, err := explain.ParseOutput("logits"); err == nil {
		t.Error("an output of another name is read")
	}
}

func TestPadding(t *testing.T) {
	padding := []bool{false, false, true, true}
	for _, tt := range []struct {
		phi             []float64
		fraction, share float64
	}{
		{[]float64{0, 0, 0, 0}, 0, 0},
		{[]float64{1, -1, 0, 0}, 0, 0},
		{[]float64{1, 0.2, 0.9, 0}, 0.5, 0.9 / 2.1},
		{[]float64{0.1, -1, 0.1, 0}, 2.0 / 3, 0.5}, // what is 0 is over the middle
		{[]float64{-1, -1, 2, 3}, 1, 1},
	} {
		fraction, share := explain.PaddingFraction(tt.phi, padding), explain.PaddingShare(tt.phi, padding)
		if math.Abs(fraction-tt.fraction) > 1e-12 || math.Abs(share-tt.share) > 1e-12 {
			t.Errorf("%v: %v and %v, want %v and %v", tt.phi, fraction, share, tt.fraction, tt.share)
		}
	}
}

// Each capture counts the same, however many windows it has.
func TestGlobal(t *testing.T) {
	field := func(phi float64) *v1.Explanation {
		packet := 1
		return &v1.Explanation{Label: "lamp", JoinedProbability: .5,
			Fields: []v1.ExplainedField{
				{Name: "size_1", Part: v1.Metadata, Packet: &packet, Raw: 60, Column: 20, Phi: phi},
				{Row: 1, Name: "size_1", Part: v1.Metadata, Packet: &packet, Raw: 52, Column: 20, Phi: 1}},
			Raw:   [][]float64{append(slices.Repeat([]float64{'x'}, 40), flows.PayloadStart, 0, 'a', 'b', 'c', '.', 'd', 'e', flows.PayloadEnd, flows.PayloadStart, 'A', '-', '1', flows.PayloadPadding)},
			Phi:   [][]float64{append(slices.Repeat([]float64{9}, 40), 9, 9, 1, phi, 1, 9, 9, 9, 9, 9, 0, 0, 0, 9)},
			Facts: []v1.ExplainedFact{{Kind: "dns", Value: "a", Phi: phi}}}
	}
	var g explain.Global
	for range 3 {
		g.Add("a", field(-3))
	}
	g.Add("b", field(5))
	all := g.Labels()
	if len(all) != 1 || all[0].Captures != 2 || all[0].Windows != 4 || len(all[0].Fields) != 1 || len(all[0].Facts) != 1 {
		t.Fatalf("%+v", all)
	}
	if f := all[0].Fields[0]; f.Name != "size_1" || math.Abs(f.Mean-2) > 1e-12 || math.Abs(f.Magnitude-5) > 1e-12 {
		t.Errorf("%+v, want a mean of 2 and a size of 5", f)
	}
	for what, tt := range map[string]struct {
		got  []explain.Weight
		want []explain.Weight
	}{
		"facts":  {all[0].Facts, []explain.Weight{{Name: "asks DNS for a", Mean: 1, Magnitude: 4, Captures: 2}}},
		"values": {all[0].Values, []explain.Weight{{Name: "packet 1 of 60 bytes", Mean: 1, Magnitude: 4, Captures: 2}, {Name: "packet 1 of 52 bytes", Mean: 1, Magnitude: 1, Captures: 2}}},
		"groups": {all[0].Groups, []explain.Weight{{Name: "facts", Mean: 1, Magnitude: 4, Captures: 2}, {Name: "sizes", Mean: 2, Magnitude: 4, Captures: 2}}},
		"words":  {all[0].Words, []explain.Weight{{Name: `"abc"`, Mean: 3, Magnitude: 4, Captures: 2}}},
	} {
		same := slices.EqualFunc(tt.got, tt.want, func(a, b explain.Weight) bool {
			return a.Name == b.Name && a.Captures == b.Captures && math.Abs(a.Mean-b.Mean) < 1e-12 && math.Abs(a.Magnitude-b.Magnitude) < 1e-12
		})
		if !same {
			t.Errorf("%s %+v, want %+v", what, tt.got, tt.want)
		}
	}
	if all[0].Probability != .5 || all[0].WhyNot != nil {
		t.Errorf("probability %v, why not %v", all[0].Probability, all[0].WhyNot)
	}
	other := "plug"
	against := field(1)
	against.WhyNot = &other
	g.Add("a", against)
	if all = g.Labels(); len(all) != 2 || all[0].Windows != 4 || *all[1].WhyNot != "plug" {
		t.Errorf("%d labels with one set against another", len(all))
	}
	learnt := explain.Learnt{Types: all[:1]}
	if learnt.SumFields(); len(learnt.Fields) != 1 || math.Abs(learnt.Fields[0].Mean-2) > 1e-12 {
		t.Errorf("fields of all types: %+v", learnt.Fields)
	}
	learnt.Types = append(learnt.Types, explain.Importance{Label: "none"})
	if learnt.SumFields(); math.Abs(learnt.Fields[0].Mean-1) > 1e-12 {
		t.Errorf("with one that lacks it: %+v", learnt.Fields)
	}
	strong := all[0].Strongest(2)
	if len(strong) != 2 || strong[0].Of != "word" || math.Abs(strong[0].Mean-3) > 1e-12 || strong[1].Of != "fact" {
		t.Errorf("strongest: %+v", strong)
	}
	if learnt.Cut(1); len(learnt.Types[0].Values) != 1 || len(learnt.Types[0].Groups) != 2 {
		t.Errorf("cut: %+v", learnt.Types[0])
	}
}

// A reference has the lengths of the rows it is made of, and none of their bytes. A file
// keeps it.
func TestReferencesHoldNoPayload(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	secret := []byte("GET /secret HTTP/1.1")
	rows := modeltest.Stream(r, 5)
	for i := range rows {
		rows[i].Record = modeltest.Record(r, len(secret))
		copy(rows[i].Packets[0].Payload, secret)
		rows[i].Remote = netip.MustParseAddr("52.95.33.17")
	}
	for name, m := range models(t, r) {
		refer(t, m, rows, rows)
		references, err := m.References()
		if err != nil {
			t.Fatal(err)
		}
		text := make([]byte, len(references))
		for i, v := range references {
			text[i] = byte(math.Round(float64(v) * 255))
		}
		for at := range len(secret) - 3 {
			if bytes.Contains(text, secret[at:at+4]) {
				t.Errorf("%s: %q is in the background", name, secret[at:at+4])
			}
		}
		if bytes.Contains(text, []byte{52, 95, 33}) {
			t.Errorf("%s: the address is in the background", name)
		}
		var file bytes.Buffer
		if err := m.Write(&file); err != nil {
			t.Fatal(err)
		}
		back, err := model.Read(&file)
		if err != nil {
			t.Fatal(err)
		}
		if kept, err := back.References(); err != nil || !slices.Equal(kept, references) {
			t.Errorf("%s: the file keeps other references: %v", name, err)
		}
	}
}

// References of a hostile file are refused by what is wrong.
func TestReferencesRefused(t *testing.T) {
	m := models(t, rand.New(rand.NewPCG(13, 14)))["stream"]
	whole := slices.Clone(m.Compared)
	row := len(whole)/3 - 46 // the first reference's last row
	for _, tt := range []struct {
		name  string
		at    int
		value float32
	}{
		{"a kind of address", row, 5}, {"a protocol", row + 1, 256}, {"a port", row + 2, 70000},
		{"a size", row + 6 + 10, 1e9}, {"a payload", row + 6 + 30, 1001}, {"an offset", row + 6, -2},
	} {
		m.Compared = slices.Clone(whole)
		m.Compared[tt.at] = tt.value
		if _, err := explain.New(m); err == nil || !strings.Contains(err.Error(), "reference 0: row 19") {
			t.Errorf("%s of %v: %v", tt.name, tt.value, err)
		}
	}
	for i := range m.Compared {
		m.Compared[i] = flows.Missing
	}
	if _, err := explain.New(m); err == nil || !strings.Contains(err.Error(), "has no row") {
		t.Errorf("references without rows: %v", err)
	}
	m.Compared = whole[1:]
	if err := m.Validate(); err == nil || !strings.Contains(err.Error(), "references has") {
		t.Errorf("a value too few: %v", err)
	}
}

// Each field says what part of its row it is, and which packet's byte.
func TestFieldsSayWhatTheyAre(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for name, m := range models(t, r) {
		e := explainer(t, m)
		rows := modeltest.Stream(r, 3)
		x, err := e.Explain(explain.Request{Rows: rows})
		if err != nil {
			t.Fatal(err)
		}
		missing := len(x.Phi) - len(rows)
		seen := map[v1.Part]int{}
		for _, f := range x.Fields {
			seen[f.Part]++
			if f.Raw != x.Raw[f.Row][f.Column] || f.Phi != x.Phi[f.Row][f.Column] {
				t.Errorf("%s: %s of row %d is of another place", name, f.Name, f.Row)
			}
			var ok bool
			switch f.Part {
			case v1.Padding:
				ok = f.Row < missing || f.Raw == flows.PayloadPadding
			case v1.Begin:
				ok = f.Raw == flows.PayloadStart && f.Byte == nil
			case v1.End:
				ok = f.Raw == flows.PayloadEnd && f.Byte == nil
			case v1.Byte:
				ok = f.Raw == float64(rows[f.Row-missing].Packets[*f.Packet-1].Payload[*f.Byte-1])
			case v1.Metadata:
				_, number, _ := strings.Cut(f.Name, "_")
				ok = f.Column < m.Record.MetaValues() && f.Byte == nil && (f.Packet == nil || number == strconv.Itoa(*f.Packet))
				ok = ok && (f.Packet != nil) == (f.Column >= 10)
			}
			if !ok {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if seen[v1.Byte] == 0 || seen[v1.Begin] == 0 || seen[v1.End] == 0 || seen[v1.Metadata] == 0 || seen[v1.Padding] == 0 {
			t.Errorf("%s: parts %v", name, seen)
		}
	}
}
