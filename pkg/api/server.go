// Package api is how a running sensor is asked: HTTP with JSON over a unix socket.
// It gives the answers of package v1 and never computes one itself. Whatever clients
// do, the sensor's own work goes on: how often an answer is computed, and how many are
// given at once, has a bound.
package api

// This file answers. Clients are not trusted with the sensor's time or memory.

import (
	"context"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/iotsense/iotsense/pkg/api/page"
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
	// Peers are with whom one device talks, at most some dozens for each of its MACs.
	Peers(device string) (v1.Peers, error)
	// Explanation is of the newest window of a device; it may wait until there is time
	// for it, but no longer than ctx.
	Explanation(ctx context.Context, device string, q v1.ExplanationRequest) (*v1.Explanation, error)
	// Events are those behind the one of that number that are remembered.
	Events(after uint64) ([]v1.Event, error)
	// News is the number of the newest event, and what is closed with the next one.
	News() (newest uint64, next <-chan struct{})
	// Traffic is what a device sent and received by minute; none of one never seen.
	Traffic(device string) v1.Traffic
	// ShowsPayload reports whether pages may show what bytes of payload weigh.
	ShowsPayload() bool
	// Names are labels that an operator may want to give: so many at most.
	Names(most int) []string
	// Correct takes an operator's word on a device, and returns when it is on the disk. What
	// is not taken is a [RefusedError].
	Correct(ctx context.Context, device, do string, c v1.Correction) (v1.Corrected, error)
	// Model is what judges now.
	Model() (v1.Model, error)
	// TakeModel has the newest model judge that was learned; of a [RefusedError] the old one
	// goes on.
	TakeModel(context.Context) (v1.ModelTaken, error)
	// WriteRecording returns when what is recorded by now is in a file.
	WriteRecording(context.Context) (v1.RecordingStats, error)
}

// RefusedError is an operator's word that is not taken.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// MaxFlows is how many lines an answer to v1.FlowsPath has at most: those of a full table
// of the default size, each flow with a device at both ends.
const MaxFlows = 1 << 17

// Bounds of what clients may ask for.
const (
	maxConns    = 64  // at once at a door, beside streams
	maxWaiting  = 512 // connections for one of these; more wait in the socket's backlog, and then some go
	acceptApart = time.Millisecond
	connHeld    = 50 * time.Millisecond
	patience    = 500 * time.Millisecond // with who stands still while others wait
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
	copyAge  = time.Second            // of the copy that devices and flows are answered from
	keepCopy = 5 * time.Second        // that nobody asks for
	logApart = time.Minute            // between two lines of the log about clients
)

// server is what all doors answer with.
type server struct {
	handler http.Handler
	clients *clients
	errors  *log.Logger // of connections
	log     *slog.Logger
}

// Serve answers on l, and at other doors, until ctx ends; then it closes all connections, and
// returns when src is no longer asked.
func Serve(ctx context.Context, l net.Listener, src Source, logger *slog.Logger, others ...Door) {
	quiet := &quietLog{log: logger}
	clients := &clients{}
	routes, end := routesOf(src, quiet, clients)
	mux := http.NewServeMux()
	for i := range routes {
		mux.Handle(routes[i].method()+" "+routes[i].path, &routes[i])
	}
	mux.HandleFunc("GET "+page.AssetsPath+"{file}", assets)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		wait(r.Context(), connHeld)
		http.NotFound(w, r)
	})
	s := &server{handler: signed(src.ID(), http.NewCrossOriginProtection().Handler(mux)), clients: clients, errors: log.New(quiet, "", 0), log: logger}
	var doors sync.WaitGroup
	if l != nil {
		others = append(others, Door{Listener: l})
	}
	for _, d := range others {
		doors.Go(func() { s.open(ctx, d) })
	}
	doors.Wait()
	end()
}

// signed says in each answer, of whatever status, which sensor gives it.
func signed(id string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(v1.SensorHeader, id)
		h.ServeHTTP(w, r)
	})
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
