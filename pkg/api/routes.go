package api

// This file says what each path answers, once: what serves it and what the document of the
// paths says of it come from here.

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

const jsonContent = "application/json"

// route is a path that answers GET, or takes a word by POST.
type route struct {
	*answer
	path    string       // a pattern of http.ServeMux
	summary string       // in a line
	query   []parameter  // that it may have
	post    bool         // it is POST, else GET
	body    reflect.Type // that POST has as JSON; nil: nothing
	value   reflect.Type // that is answered as JSON; nil: something else is
	headers []parameter  // of its answer, beside those of all
	unseen  bool         // 404: the device has not been seen
	stream  *streams     // what it answers who asks for a stream; nil: the same as others
}

// ServeHTTP implements http.Handler.
func (r *route) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if r.stream.wanted(q) {
		r.stream.ServeHTTP(w, q)
		return
	}
	r.answer.ServeHTTP(w, q)
}

func (r *route) method() string {
	if r.post {
		return http.MethodPost
	}
	return http.MethodGet
}

// parameter is one of a path's query, or a header.
type parameter struct {
	name, means string
	values      []string // nil: any
}

// router makes routes that share a source and what it was asked.
type router struct {
	src    Source
	log    *quietLog
	routes []route
	ends   []func() // see turn.end
}

// routesOf are all paths that src answers; end returns when it is no longer asked, for
// good.
func routesOf(src Source, log *quietLog, c *clients) (routes []route, end func()) {
	r := &router{src: src, log: log}
	stats := func(context.Context) (v1.Stats, error) {
		s, err := src.Stats()
		s.Clients = c.stats()
		return s, err
	}
	devices := share(r, copyAge, func(context.Context) ([]v1.DeviceVerdict, error) { return src.Devices() })

	r.add(asked(r, route{path: v1.StatsPath, summary: "counters"}, 0, 0, stats))
	r.add(asked(r, route{path: v1.DevicesPath, summary: "devices with their verdicts"}, slots, 0, devices.get))
	flows := share(r, copyAge, func(context.Context) (l flowList, err error) {
		l.list, l.left, err = src.Flows(MaxFlows)
		return l, err
	})
	r.add(flowsRoute(r, flows))
	r.add(about(r, route{path: v1.FactsPath("{device}"), summary: "what a device says of itself; of one never seen, nothing"}, slots, r.turn(),
		func(_ context.Context, q *http.Request) ([]v1.Fact, error) { return src.Facts(q.PathValue("device")) }))
	r.add(about(r, route{path: v1.PeersPath("{device}"), summary: "with whom a device talks; of one never seen, with nobody"}, slots, r.turn(),
		func(_ context.Context, q *http.Request) (v1.Peers, error) { return src.Peers(q.PathValue("device")) }))
	r.add(eventsRoute(r, c))
	remembered := history{src, devices}
	r.add(about(r, route{path: v1.DevicePath("{device}"), summary: "all that is remembered of a device", unseen: true}, slots, r.turn(),
		func(ctx context.Context, q *http.Request) (*v1.Device, error) {
			return remembered.of(ctx, q.PathValue("device"))
		}))
	for _, w := range corrections {
		r.add(w.route(r, devices.renew))
	}
	r.add(order(r, route{path: v1.ModelPath, summary: "judge by the newest model of run --models from now on"}, src.TakeModel))
	r.add(asked(r, route{path: v1.ModelPath, summary: "what judges now, and what came of learning last"}, 0, 0,
		func(context.Context) (v1.Model, error) { return src.Model() }))
	r.add(order(r, route{path: v1.RecordingPath, summary: "write what is recorded (run --record) to a file now"}, src.WriteRecording))
	// Which may wait until there is time for it: who comes meanwhile is not kept.
	explain := explaining{src, r.turn()}
	r.add(about(r, route{
		path: v1.ExplanationPath("{device}"), summary: "what the newest window of a device rests on (run --explain-rate)",
		query: []parameter{
			{"on", "the output that is explained; left out: logit", []string{"logit", "probability"}},
			{"why_not", "another label to set it against", nil},
		},
	}, 1, explain.turn, func(ctx context.Context, q *http.Request) (*v1.Explanation, error) {
		return src.Explanation(ctx, q.PathValue("device"), v1.ParseExplanationRequest(q.URL.Query()))
	}))
	r.add(metricsRoute(r, stats, devices.get))

	var document []byte
	r.add(route{path: v1.OpenAPIPath, summary: "this document", answer: r.answer(0, jsonContent,
		func(context.Context, *http.Request) (text, error) { return text{bytes: document}, nil })})
	document = openAPI(r.routes)
	(&pages{router: r, stats: stats, devices: devices, history: remembered, flows: flows, explain: explain}).routes() // for people: not in the document
	return r.routes, func() {
		for _, end := range r.ends {
			end()
		}
	}
}

// turn is one for all that is computed with it.
func (r *router) turn() turn {
	t := make(turn, 1)
	r.ends = append(r.ends, t.end)
	return t
}

func (r *router) add(one route) { r.routes = append(r.routes, one) }

// answer is one of which so many are given at once; 0: any number.
func (r *router) answer(most int, kind string, of func(context.Context, *http.Request) (text, error)) *answer {
	a := &answer{text: of, kind: kind, log: r.log}
	if most > 0 {
		a.free = newFair(most, 0)
	}
	return a
}

// share is what compute answers, for all who ask.
func share[T any](r *router, maxAge time.Duration, compute func(context.Context) (T, error)) *shared[T] {
	s := newShared(maxAge, compute)
	r.ends = append(r.ends, s.turn.end)
	return s
}

// of is the value for a request, whatever it says.
func (s *shared[T]) of(ctx context.Context, _ *http.Request) (T, error) { return s.get(ctx) }

// asked completes a route whose answer is the same for all who ask meanwhile.
func asked[T any](r *router, one route, most int, maxAge time.Duration, ask func(context.Context) (T, error)) route {
	one.value = reflect.TypeFor[T]()
	one.answer = r.answer(most, jsonContent, share(r, maxAge, encoded(ask)).of)
	return one
}

func metricsRoute(r *router, stats func(context.Context) (v1.Stats, error), devices func(context.Context) ([]v1.DeviceVerdict, error)) route {
	of := func(each bool) *shared[text] {
		return share(r, 0, func(ctx context.Context) (text, error) { return exposed(ctx, stats, devices, each) })
	}
	counters, all := of(false), of(true)
	return route{
		path: v1.MetricsPath, summary: "counters, as Prometheus reads them",
		query: []parameter{{v1.EachDevice, "devices too, those seen last", nil}},
		answer: r.answer(slots, metricsContent, func(ctx context.Context, q *http.Request) (text, error) {
			if q.URL.Query().Has(v1.EachDevice) {
				return all.get(ctx)
			}
			return counters.get(ctx)
		}),
	}
}

func eventsRoute(r *router, c *clients) route {
	t := r.turn()
	return about(r, route{
		path: v1.EventsPath, summary: "what happened, of what is remembered, oldest first",
		query: []parameter{
			{v1.After, "the number of an event that others are to come behind", nil},
			{v1.Beat, "of a stream: an event named beat every two seconds", nil},
		},
		stream: &streams{src: r.src, turn: t, clients: c},
	}, slots, t, func(_ context.Context, q *http.Request) ([]v1.Event, error) {
		after, _ := strconv.ParseUint(q.URL.Query().Get(v1.After), 10, 64) // else all of them
		return r.src.Events(after)
	})
}

// flowList is an answer of Source.Flows.
type flowList struct {
	list []v1.Flow
	left int
}

func flowsRoute(r *router, flows *shared[flowList]) route {
	texts := share(r, 0, func(ctx context.Context) (text, error) {
		l, err := flows.get(ctx)
		if err != nil {
			return text{}, err
		}
		t, err := encoded(func(context.Context) ([]v1.Flow, error) { return l.list, nil })(ctx)
		t.left = l.left
		return t, err
	})
	return route{
		path: v1.FlowsPath, summary: "open flows", value: reflect.TypeFor[[]v1.Flow](), answer: r.answer(slots, jsonContent, texts.of),
		headers: []parameter{{v1.LeftOutHeader, "how many more flows there are; left out: none", nil}},
	}
}

// about completes a route whose answer is computed for each who asks, one at a time: most
// bounds their number.
func about[T any](r *router, one route, most int, t turn, ask func(context.Context, *http.Request) (T, error)) route {
	if one.value = reflect.TypeFor[T](); one.value.Kind() == reflect.Pointer { // to a value, or there is an error
		one.value = one.value.Elem()
	}
	one.answer = r.answer(most, jsonContent, func(ctx context.Context, q *http.Request) (text, error) {
		if err := t.take(ctx); err != nil {
			return text{}, err
		}
		defer t.give()
		return encoded(func(ctx context.Context) (T, error) { return ask(ctx, q) })(ctx)
	})
	return one
}

// history tells what is remembered of a device.
type history struct {
	src     Source
	devices *shared[[]v1.DeviceVerdict]
}

// unseenError says that a device is not known.
type unseenError struct{ device string }

func (e *unseenError) Error() string {
	return "the sensor has not seen device " + e.device + ", or has forgotten it"
}

func (h history) of(ctx context.Context, device string) (*v1.Device, error) {
	all, err := h.devices.get(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(d v1.DeviceVerdict) bool { return strings.EqualFold(d.Device, device) })
	if i < 0 {
		return nil, &unseenError{device}
	}
	d := &v1.Device{DeviceVerdict: all[i], Traffic: h.src.Traffic(all[i].Device), Events: []v1.Event{}}
	events, err := h.src.Events(0)
	for _, e := range events {
		if e.Device != nil && (*e.Device == d.Device || slices.Contains(d.MACs, *e.Device)) {
			d.Events = append(d.Events, e)
		}
	}
	return d, err
}

// explaining explains for who is not kept waiting behind others.
type explaining struct {
	src  Source
	turn turn
}

// now explains a device's newest window, unless another is being explained.
func (e explaining) now(ctx context.Context, device string) (*v1.Explanation, error) {
	if !e.turn.try() {
		return nil, errors.New("another device is being explained: ask again in a moment")
	}
	defer e.turn.give()
	return e.src.Explanation(ctx, device, v1.ExplanationRequest{})
}
