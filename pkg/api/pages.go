package api

// This file answers with pages for people, made of what the other paths answer.

import (
	"context"
	"net/http"
	"time"

	"github.com/iotsense/iotsense/pkg/api/page"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	htmlContent = "text/html; charset=utf-8"
	lookApart   = time.Second // at least, between two looks at the counters that a rate is of
	maxNames    = 500         // that a page suggests
)

// pages makes pages for people.
type pages struct {
	router  *router
	stats   func(context.Context) (v1.Stats, error)
	devices *shared[[]v1.DeviceVerdict]
	history history
	flows   *shared[flowList]
	explain explaining
	turn    turn // to make a page
	health  *shared[page.Health]
	earlier []v1.Stats // looks at the counters, oldest first; whoever computes health has them
}

func (p *pages) routes() {
	r := p.router
	p.health, p.turn = share(r, lookApart, p.look), r.turn()
	most := newFair(slots, 0)
	for path, of := range map[string]func(context.Context, *http.Request) (text, error){
		"/{$}": p.list, page.DevicePath("{device}"): p.device,
	} {
		a := r.answer(0, htmlContent, of)
		a.free = most // of all pages together
		r.add(route{path: path, answer: a})
	}
}

// make makes one page at a time.
func (p *pages) make(ctx context.Context, page func() ([]byte, error)) (text, error) {
	if err := p.turn.take(ctx); err != nil {
		return text{}, err
	}
	defer p.turn.give()
	b, err := page()
	return text{bytes: b}, err
}

// look is the health between two looks at the counters.
func (p *pages) look(ctx context.Context) (page.Health, error) {
	now, err := p.stats(ctx)
	if err != nil {
		return page.Health{}, err
	}
	before := v1.Stats{}
	if len(p.earlier) > 0 {
		before = p.earlier[0]
	}
	p.earlier = append(p.earlier, now)
	p.earlier = p.earlier[max(0, len(p.earlier)-3):]
	return page.Between(before, now), nil
}

func (p *pages) list(ctx context.Context, r *http.Request) (text, error) {
	devices, err := p.devices.get(ctx)
	if err != nil {
		return sorry(http.StatusInternalServerError, err.Error())
	}
	health, err := p.health.get(ctx)
	if err != nil {
		return sorry(http.StatusInternalServerError, err.Error())
	}
	src := p.router.src
	return p.make(ctx, func() ([]byte, error) {
		l := page.List{Devices: devices, Traffic: src.Traffic, Health: health, Names: src.Names(maxNames)}
		return l.Page(page.ParseFilter(r.URL.Query()))
	})
}

func (p *pages) device(ctx context.Context, r *http.Request) (text, error) {
	known, err := p.history.of(ctx, r.PathValue("device"))
	if err != nil {
		return sorry(statusOf(err), err.Error()+".")
	}
	src := p.router.src
	d := page.Device{Known: known, Names: src.Names(maxNames), Payload: src.ShowsPayload()}
	if d.Health, err = p.health.get(ctx); err != nil {
		return sorry(http.StatusInternalServerError, err.Error())
	}
	flows, err := p.flows.get(ctx)
	if err != nil {
		return sorry(http.StatusInternalServerError, err.Error())
	}
	d.Flows = flows.list
	if d.Facts, err = src.Facts(known.Device); err != nil {
		d.NoFacts = "None: " + err.Error()
	}
	if r.URL.Query().Has("explain") {
		if d.Explanation, err = p.explain.now(ctx, known.Device); err != nil {
			d.NoExplanation = "No explanation: " + err.Error()
		}
	}
	return p.make(ctx, d.Page)
}

// sorry is a page of that status.
func sorry(status int, what string) (text, error) {
	b, err := page.Sorry(what)
	return text{bytes: b, status: status}, err
}

// guarded says in each answer what a browser must not do with it.
func guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Content-Security-Policy": page.Policy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			"Cache-Control": "no-store",
		} {
			w.Header().Set(name, value)
		}
		if r.Method == http.MethodGet && r.ContentLength != 0 { // nobody waits for that
			_ = http.NewResponseController(w).SetReadDeadline(time.Now())
			w.Header().Set("Connection", "close")
			http.Error(w, "GET has no body here", http.StatusBadRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// assets answers with what pages refer to.
func assets(w http.ResponseWriter, r *http.Request) {
	a, ok := page.Assets[r.PathValue("file")]
	if !ok {
		wait(r.Context(), connHeld)
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.Kind)
	w.Header().Set("ETag", a.Tag)
	w.Header().Set("Cache-Control", "no-cache") // ask whether it is still that
	if r.Header.Get("If-None-Match") == a.Tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Write(a.Bytes) // whoever does not take it has none
}
