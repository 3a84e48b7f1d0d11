package sensor

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/iotsense/iotsense/internal/queue"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/model/explain"
)

// fakeExplaining explains with f, so many verdicts a minute.
func fakeExplaining(rate int, f func(*work) (*v1.Explanation, error)) (e *explaining, told *[]string, failures *[]error) {
	told, failures = new([]string), new([]error)
	e = &explaining{turn: make(chan struct{}, 1), every: time.Minute / time.Duration(rate), explain: f, told: func(x *v1.Explanation) { *told = append(*told, x.Device) }}
	e.start(func(err error) { *failures = append(*failures, err) })
	return e, told, failures
}

func aWork(device string) *work { return &work{device: device, ground: &classify.Ground{Window: 7}} }

// An explainer that stands still holds up no verdict: those that it does not get to
// are counted.
func TestBlockedExplainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := make(chan struct{})
		e, told, _ := fakeExplaining(MaxExplainRate, func(*work) (*v1.Explanation, error) {
			<-blocked
			return &v1.Explanation{}, nil
		})
		e.sample.Put(aWork("first"))
		synctest.Wait() // it is at it
		begin := time.Now()
		for range 100 {
			e.sample.Put(aWork("another"))
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("verdicts waited %v", took)
		}
		if n := e.sample.Dropped(); n != 100-explainQueue {
			t.Errorf("%d dropped, want %d", n, 100-explainQueue)
		}
		ctx, enough := context.WithTimeout(t.Context(), time.Second)
		defer enough()
		if _, err := e.asked(ctx, aWork("asked")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who asks meanwhile gets %v", err)
		}
		begin = time.Now()
		e.end()
		if took := time.Since(begin); took != 0 || e.sample.Dropped() != 100 {
			t.Errorf("the end took %v, %d are dropped", took, e.sample.Dropped())
		}
		close(blocked)
		synctest.Wait()
		if !slices.Equal(*told, []string{"first"}) {
			t.Errorf("told of %v", *told)
		}
	})
}

// sampling is a sensor without a kernel half, whose verdicts e explains.
func sampling(t *testing.T, e *explaining, opts classify.Options) *Sensor {
	t.Helper()
	bundle, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	s := &Sensor{cfg: Config{Hurry: context.Background()}, explaining: e}
	opts.Ground, opts.Verdict = true, func(v v1.Verdict) { e.take(&v, s.classifier, time.Now()) }
	if s.classifier, err = classify.New(bundle, opts); err != nil {
		t.Fatal(err)
	}
	return s
}

// aRecord is one of a device.
func aRecord(device string, i int) *flows.Record {
	return &flows.Record{
		Device: device, FirstSeen: int64(i) * 1e6, LastSeen: int64(i) * 1e6, Remote: netip.MustParseAddr("192.0.2.1"), Proto: 17, DevPort: 1000, RemPort: 53,
		TotalBytes: 100, PacketCount: 1, Packets: []flows.RowPacket{{Size: 100, Sent: true, Payload: make([]byte, 1000)}},
	}
}

// What stands still is not on the ring's way.
func TestBlockedExplainerHoldsUpNoRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := make(chan struct{})
		e, _, _ := fakeExplaining(MaxExplainRate, func(*work) (*v1.Explanation, error) {
			<-blocked
			return &v1.Explanation{}, nil
		})
		s := sampling(t, e, classify.Options{})
		const records = 200
		for i := range records {
			s.record(aRecord("02:00:00:00:00:01", i))
			time.Sleep(time.Second) // the ring's clock goes on: each is due
		}
		if s.failures != 0 || s.classifier.Inferences() != records {
			t.Errorf("%d failures, %d inferences", s.failures, s.classifier.Inferences())
		}
		if stats := s.explanations(); stats.Made != 0 || stats.Dropped != records-1-explainQueue || stats.Devices != 1 || stats.Bytes == 0 {
			t.Errorf("%+v", stats)
		}
		close(blocked)
		e.end()
	})
}

// Who asks for what cannot be explained is told why and what to do.
func TestExplanationRefused(t *testing.T) {
	none := &Sensor{}
	if _, err := none.Explanation(t.Context(), "02:00:00:00:00:01", v1.ExplanationRequest{}); err == nil || !strings.Contains(err.Error(), "--explain-rate N") {
		t.Errorf("without --explain-rate: %v", err)
	}
	e, told, _ := fakeExplaining(1, func(*work) (*v1.Explanation, error) { return &v1.Explanation{}, nil })
	s := sampling(t, e, classify.Options{CacheBytes: 5000}) // four flows
	for i, device := range []string{"02:00:00:00:00:01", "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:02", "02:00:00:00:00:02", "02:00:00:00:00:01"} {
		s.record(aRecord(device, i))
	}
	for device, says := range map[string]string{
		"02:00:00:00:00:01": "2 of the 3 flows that its verdict rests on made room",
		"02:00:00:00:00:02": "",
		"02:00:00:00:00:03": "none of its flows has ended and been judged",
	} {
		_, err := s.Explanation(t.Context(), device, v1.ExplanationRequest{})
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("device %s: %v, want %q", device, err, says)
		}
	}
	if e.end(); !slices.Contains(*told, "02:00:00:00:00:02") {
		t.Errorf("told of %v", *told)
	}
}

// The same flows are explained with the same values, live and of a file.
func TestLiveExplanationIsTheFiles(t *testing.T) {
	bundle, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := lab.Generate("television", 0, 3, 3*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	path, device := filepath.Join(t.TempDir(), "a.pcap"), recorded.Device.String()
	var b bytes.Buffer
	if err := errors.Join(lab.WritePCAP(&b, recorded), os.WriteFile(path, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	s := &Sensor{cfg: Config{Hurry: context.Background(), Model: bundle, ExplainRate: 1}, verdicts: queue.New(1, func(v1.Verdict) error { return nil })}
	if err := s.openClassifier(); err != nil {
		t.Fatal(err)
	}
	s.startExplaining()
	defer s.endVerdicts()
	spec, err := bundle.Record()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := capture.Read(t.Context(), path, capture.Config{RecordSpec: spec, Observe: s.facts.Sample}, s.record); err != nil {
		t.Fatal(err)
	}
	set, err := dataset.Open(dataset.Options{Data: []string{path}, Capture: capture.Config{RecordSpec: spec}})
	if err != nil {
		t.Fatal(err)
	}
	explainers, err := explain.All(bundle)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []v1.ExplanationRequest{{}, {Output: "probability", WhyNot: "camera"}} {
		live, err := s.Explanation(t.Context(), device, q)
		if err != nil {
			t.Fatal(err)
		}
		err = classify.Captures(t.Context(), set, bundle, classify.Options{Ground: true}, nil, func(_ dataset.CaptureSummary, k *classify.Classifier) error {
			g := k.Ground(device)
			r := explain.Request{Rows: g.Rows, Facts: g.Facts(), WhyNot: q.WhyNot}
			if q.Output != "" {
				r.Output = explain.Probability
			}
			v := k.Registry().Verdict(device)
			file, err := explainers[g.Service].ExplainVerdict(&v, r)
			if err != nil {
				return err
			}
			file.Device, file.WindowIndex = device, g.Window
			if d := cmp.Diff(file, live); d != "" || len(live.Facts) == 0 || len(live.Phi) != bundle[""].Net.Span() {
				t.Errorf("%+v: %d facts, %d rows\n%s", q, len(live.Facts), len(live.Phi), d)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// Explanations take a twentieth of a processor, whatever the rate, and the sample waits for
// nobody; who asks waits a while.
func TestExplanationsTakeTheirPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 50 * time.Millisecond
		e, told, failures := fakeExplaining(MaxExplainRate, func(*work) (*v1.Explanation, error) {
			time.Sleep(takes)
			return &v1.Explanation{}, nil
		})
		sampled := 0
		for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(10 * time.Millisecond) {
			e.sample.Put(aWork("sample"))
			sampled++
		}
		synctest.Wait()
		made, want := int(e.made.Load()), int(time.Minute/takes/(1+explainPause))
		if made < want-1 || made > want+1 || sampled != made+int(e.sample.Dropped()) {
			t.Errorf("of %d verdicts %d were explained, %d dropped; want %d explained", sampled, made, e.sample.Dropped(), want)
		}
		if len(*told) != made || len(*failures) != 0 {
			t.Errorf("told of %d, %d failures", len(*told), len(*failures))
		}
		begin := time.Now()
		for range 3 {
			x, err := e.asked(t.Context(), &work{device: "asked", ground: &classify.Ground{Window: 7}, asked: explain.Request{Output: explain.Probability}})
			if err != nil || x.Device != "asked" || x.WindowIndex != 7 {
				t.Errorf("%v, %v", x, err)
			}
		}
		if took := time.Since(begin); took < 2*explainPause*takes || took > 3*(1+explainPause)*takes || len(*told) != made {
			t.Errorf("three that were asked for took %v, told of %d more", took, len(*told)-made)
		}
		e.end()
	})
}

// On a slow machine who asks does not wait for the whole pause, the sample does.
func TestSlowExplainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, _ := fakeExplaining(1, func(*work) (*v1.Explanation, error) {
			time.Sleep(time.Second)
			return &v1.Explanation{}, nil
		})
		begin := time.Now()
		for range 2 {
			if _, err := e.asked(t.Context(), aWork("asked")); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begin); took != 2*time.Second+askedPause {
			t.Errorf("two took %v", took)
		}
		if time.Sleep(askedPause); e.sampled(aWork("sample")) != errNoTime {
			t.Error("the sample had time")
		}
		if time.Sleep(explainPause * time.Second); e.sampled(aWork("sample")) != nil {
			t.Error("the sample had no time")
		}
		e.end()
	})
}

// The sample is so many verdicts a minute, however many there are; why one of them cannot
// be explained is told, and counted.
func TestSampleOfVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, told, failures := fakeExplaining(6, func(w *work) (*v1.Explanation, error) {
			if w.ground.Window > 300 {
				return nil, errors.New("too large")
			}
			return &v1.Explanation{Label: *w.verdict.Label}, nil
		})
		s := sampling(t, e, classify.Options{})
		for i := range 600 { // of a minute
			s.record(aRecord("02:00:00:00:00:01", i))
			time.Sleep(time.Minute / 600)
		}
		e.sample.Close(time.Minute)
		if e.made.Load() != 4 || len(*told) != 4 || e.sample.Dropped() != 2 {
			t.Errorf("%d of a minute explained, told of %d, %d dropped; want 4 and 2", e.made.Load(), len(*told), e.sample.Dropped())
		}
		if len(*failures) != 2 || !strings.Contains((*failures)[0].Error(), "device 02:00:00:00:00:01: too large") {
			t.Errorf("failures %v", *failures)
		}
	})
}
