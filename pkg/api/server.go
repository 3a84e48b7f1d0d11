// Package api is how a running sensor is asked: HTTP with JSON over a unix socket.
// It gives the answers of package v1 and never computes one itself. Whatever clients
// do, the sensor's own work goes on: how often an answer is computed, and how many are
// given at once, has a bound.
package api

// This file answers. Clients are not trusted with the sensor's time or memory.

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// Source answers for the sensor.
type Source interface {
	ID() string // of the sensor, as v1.Stats.Sensor
	Stats() (v1.Stats, error)
	Devices() ([]v1.DeviceVerdict, error)
	// Flows lists at most so many lines; left is how many flows it is without.
	Flows(most int) (list []v1.Flow, left int, err error)
	// Facts are what is known of one device, at most some dozens; none of one never seen.
	Facts(device string) ([]v1.Fact, error)
	// Explanation is of the newest window of a device; it may wait until there is time
	// for it, but no longer than ctx.
	Explanation(ctx context.Context, device string, q v1.ExplanationRequest) (*v1.Explanation, error)
}

// MaxFlows is how many lines an answer to v1.FlowsPath has at most: those of a full table
// of the default size, each flow with a device at both ends.
const MaxFlows = 1 << 17

// Bounds of what clients may ask for.
const (
	maxConns    = 64 // at once; more wait in the socket's backlog
	connHeld    = 50 * time.Millisecond
	maxHeader   = 4 << 10
	readRequest = 2 * time.Second
	idleAfter   = 2 * time.Second
	writeAnswer = 5 * time.Second // and all that is done for it

	slots    = 4                      // long answers of one kind given at once
	slotWait = time.Second            // for one of them, then status 503
	slotHeld = 250 * time.Millisecond // at least, which bounds their rate
	apart    = 100 * time.Millisecond // between two computations of an answer,
	duty     = 10                     // and so many times what the last one took,
	apartMax = time.Second            // but no more than this
	flowsAge = time.Second            // of the copy that flows and devices are answered from
	keepCopy = 5 * time.Second        // that nobody asks for
	logApart = time.Minute            // between two lines of the log about clients
)

// Serve answers on l until ctx ends; then it closes all connections, and returns
// when src is no longer asked.
func Serve(ctx context.Context, l net.Listener, src Source, logger *slog.Logger) {
	quiet := &quietLog{log: logger}
	mux := http.NewServeMux()
	answers := map[string]*answer{
		v1.StatsPath:   {compute: encoded(src.Stats)},
		v1.DevicesPath: {compute: encoded(src.Devices), free: make(chan struct{}, slots), maxAge: flowsAge},
		v1.FlowsPath:   {compute: flowsOf(src), free: make(chan struct{}, slots), maxAge: flowsAge},
	}
	for path, a := range answers {
		a.log, a.turn = quiet, make(chan struct{}, 1)
		mux.Handle("GET "+path, a)
	}
	for path, of := range ofDevice(src) {
		one := &answer{free: make(chan struct{}, of.slots), log: quiet, turn: make(chan struct{}, 1)}
		answers[path] = one
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			one.serve(w, r, func(ctx context.Context) (text, error) {
				return one.alone(ctx, func() (text, error) { return of.compute(ctx, r) })
			})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		wait(r.Context(), connHeld)
		http.NotFound(w, r)
	})
	server := &http.Server{
		Handler: signed(src.ID(), mux), MaxHeaderBytes: maxHeader, ReadHeaderTimeout: readRequest, ReadTimeout: writeAnswer,
		IdleTimeout: idleAfter, WriteTimeout: writeAnswer,
		ErrorLog:    log.New(quiet, "", 0),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(&limited{l, make(chan struct{}, maxConns)}); err != nil && !errors.Is(err, http.ErrServerClosed) {
		logger.Error("socket stopped answering", "error", err)
		server.Close()
	}
	for _, a := range answers {
		a.turn <- struct{}{} // for good: nothing is computed from here on
	}
}

// signed says in each answer, of whatever status, which sensor gives it.
func signed(id string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(v1.SensorHeader, id)
		h.ServeHTTP(w, r)
	})
}

// text is an encoded answer.
type text struct {
	json []byte
	left int // flows that it is without
}

// encoded is ask's answer.
func encoded[T any](ask func() (T, error)) func() (text, error) {
	return func() (text, error) {
		v, err := ask()
		if err != nil {
			return text{}, err
		}
		b, err := json.Marshal(v)
		return text{json: b}, err
	}
}

func flowsOf(src Source) func() (text, error) {
	return func() (t text, err error) {
		list, left, err := src.Flows(MaxFlows)
		if err != nil {
			return t, err
		}
		t.left = left
		t.json, err = json.Marshal(list)
		return t, err
	}
}

// answer is one that all who ask meanwhile get from one computation: from one that
// has begun after their request came, or at most maxAge before.
type answer struct {
	compute func() (text, error)
	maxAge  time.Duration
	free    chan struct{} // has room for those given at once; nil: any number
	log     *quietLog

	turn  chan struct{} // has who computes; guards what follows
	begun time.Time
	took  time.Duration
	text  text
	err   error
}

// ServeHTTP implements http.Handler.
func (a *answer) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.serve(w, r, a.get) }

// deviceAnswer is one about one device.
type deviceAnswer struct {
	slots   int
	compute func(context.Context, *http.Request) (text, error)
}

// ofDevice are the answers about one device, by their paths' patterns.
func ofDevice(src Source) map[string]deviceAnswer {
	const device = "device"
	return map[string]deviceAnswer{
		v1.FactsPath("{" + device + "}"): {slots, func(_ context.Context, r *http.Request) (text, error) {
			return encoded(func() ([]v1.Fact, error) { return src.Facts(r.PathValue(device)) })()
		}},
		// Which may wait until there is time for it: who comes meanwhile is not kept.
		v1.ExplanationPath("{" + device + "}"): {1, func(ctx context.Context, r *http.Request) (text, error) {
			q := v1.ParseExplanationRequest(r.URL.Query())
			return encoded(func() (*v1.Explanation, error) { return src.Explanation(ctx, r.PathValue(device), q) })()
		}},
	}
}

// alone is an answer that is computed for each who asks, one at a time: slots bound their
// number.
func (a *answer) alone(ctx context.Context, compute func() (text, error)) (text, error) {
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return text{}, ctx.Err()
	}
	defer func() { <-a.turn }()
	return compute()
}

// serve gives one of the answers that may be given at once.
func (a *answer) serve(w http.ResponseWriter, r *http.Request, get func(context.Context) (text, error)) {
	if !a.enter(r.Context()) {
		w.Header().Set("Retry-After", "1")
		w.Header().Set("Connection", "close")
		http.Error(w, "too many ask at once: ask again", http.StatusServiceUnavailable)
		return
	}
	defer a.leave(time.Now())
	t, err := get(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if t.left > 0 {
		w.Header().Set(v1.LeftOutHeader, strconv.Itoa(t.left))
	}
	if _, err := w.Write(t.json); err != nil {
		a.log.warn("answer not sent", "path", r.URL.Path, "error", err)
	}
}

// enter waits for a place among those who are answered.
func (a *answer) enter(ctx context.Context) bool {
	if a.free == nil {
		return true
	}
	select {
	case a.free <- struct{}{}:
		return true
	case <-time.After(slotWait):
	case <-ctx.Done():
	}
	return false
}

// leave gives the place to another, but not before its time.
func (a *answer) leave(since time.Time) {
	if a.free != nil {
		time.AfterFunc(slotHeld-time.Since(since), func() { <-a.free })
	}
}

func (a *answer) get(ctx context.Context) (text, error) {
	asked := time.Now()
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return text{}, ctx.Err()
	}
	defer func() { <-a.turn }()
	if a.begun.After(asked.Add(-a.maxAge)) {
		return a.text, a.err
	}
	wait(ctx, time.Until(a.begun.Add(min(max(apart, duty*a.took), apartMax))))
	if err := ctx.Err(); err != nil {
		return text{}, err
	}
	a.begun = time.Now()
	a.text, a.err = a.compute()
	a.took = time.Since(a.begun)
	time.AfterFunc(keepCopy, a.drop)
	return a.text, a.err
}

// drop frees an old copy.
func (a *answer) drop() {
	select {
	case a.turn <- struct{}{}:
	default: // a new one is being made, or there will be none
		return
	}
	defer func() { <-a.turn }()
	if time.Since(a.begun) >= keepCopy {
		a.text, a.begun = text{}, time.Time{}
	}
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// quietLog passes on one line about clients now and then, and says how many there
// were since.
type quietLog struct {
	log    *slog.Logger
	mu     sync.Mutex
	last   time.Time
	unsaid int
}

func (q *quietLog) warn(msg string, args ...any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.last.IsZero() && time.Since(q.last) < logApart {
		q.unsaid++
		return
	}
	if q.unsaid > 0 {
		args = append(args, "more_since_last", q.unsaid)
	}
	q.last, q.unsaid = time.Now(), 0
	q.log.Warn(msg, args...)
}

// Write implements io.Writer for what http.Server has to say.
func (q *quietLog) Write(line []byte) (int, error) {
	q.warn("socket", "error", strings.TrimSpace(string(line)))
	return len(line), nil
}

// limited accepts so many connections at once, and a bounded number in a time.
type limited struct {
	net.Listener
	free chan struct{}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	l.free <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	since := time.Now()
	return &limitedConn{Conn: c, free: sync.OnceFunc(func() {
		time.AfterFunc(connHeld-time.Since(since), func() { <-l.free })
	})}, nil
}

// limitedConn makes room for another when it is closed.
type limitedConn struct {
	net.Conn
	free func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	c.free()
	return c.Conn.Close()
}
