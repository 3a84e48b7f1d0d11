package api

// This file takes what an operator says of devices, of those who may say something.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	// Group is that of those who may say something, beside root and the sensor's own user.
	Group = "iotsense"

	maxWord = 4 << 10 // bytes of a request
)

// correction is a word that may be said.
type correction struct{ do, summary string }

var corrections = []correction{
	{v1.DoLabel, "give a device the label of the body; an empty one takes it back"},
	{v1.DoForget, "remove all that is known of a device"},
	{v1.DoMerge, "make the device of with a part of this one"},
	{v1.DoSplit, "make a MAC that was merged a device of its own again"},
	{v1.DoLock, "keep what was said of a device as it is"},
	{v1.DoUnlock, "let what was said of a device be changed again"},
	{v1.DoIgnore, "count a device and give no verdict on it"},
	{v1.DoHeed, "judge a device that was ignored again, anew"},
}

func (w correction) route(r *router, said func(context.Context)) route {
	one := route{path: v1.CorrectionPath("{device}", w.do), summary: w.summary, post: true, body: reflect.TypeFor[v1.Correction]()}
	return about(r, one, slots, r.turn(), func(ctx context.Context, q *http.Request) (done v1.Corrected, err error) {
		if err := errors.Join(mayWrite(ctx), meant(q)); err != nil {
			return done, err
		}
		var c v1.Correction
		d := json.NewDecoder(http.MaxBytesReader(nil, q.Body, maxWord))
		d.DisallowUnknownFields()
		if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
			return done, &RefusedError{fmt.Errorf("request: %w", err)}
		}
		defer said(ctx)
		return r.src.Correct(ctx, q.PathValue("device"), w.do, c)
	})
}

// meant reports why a word may not be what who asks has said: browsers send what the page of
// another site has them send, and name themselves by it, with the cookie of the reader, but not a
// header that only a page of the sensor's own can give.
func meant(r *http.Request) error {
	h := r.Header
	browser := h.Get("Origin") != "" || h.Get("Sec-Fetch-Site") != "" || h.Get("Cookie") != "" && h.Get("Authorization") == ""
	if browser && h.Get(v1.PageHeader) == "" {
		return &forbiddenError{"a page of another site"}
	}
	return nil
}

type tokenKey struct{}

// withToken notes that who asks has the token.
func withToken(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), tokenKey{}, true))
}

// order is a route that has the sensor do something.
func order[T any](r *router, one route, do func(context.Context) (T, error)) route {
	one.post = true
	return about(r, one, 1, r.turn(), func(ctx context.Context, q *http.Request) (done T, err error) {
		if err := errors.Join(mayWrite(ctx), meant(q)); err != nil {
			return done, err
		}
		return do(ctx)
	})
}

// statusOf is the status of an answer that there is none of.
func statusOf(err error) int {
	var refused *RefusedError
	var forbidden *forbiddenError
	var unseen *unseenError
	switch {
	case errors.As(err, &unseen):
		return http.StatusNotFound
	case errors.As(err, &refused):
		return http.StatusConflict
	case errors.As(err, &forbidden):
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}

// peer is who is at the other end of a connection.
type peer struct {
	uid    uint32
	groups []uint32
}

type peerKey struct{}

// withPeer notes who asks on a connection.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if l := limitedOf(c); l != nil {
		c, ctx = l.Conn, context.WithValue(ctx, connKey{}, l)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	p, err := peerOf(u)
	if err != nil {
		return ctx // who is not known may not write
	}
	return context.WithValue(ctx, peerKey{}, p)
}

// peerOf asks the kernel, which noted it when the connection was made (unix(7)).
func peerOf(c *net.UnixConn) (*peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var p *peer
	err = errors.Join(raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil {
			return
		}
		p = &peer{cred.Uid, append(peerGroups(int(fd)), cred.Gid)}
	}), err)
	return p, err
}

// mostGroups is how many supplementary groups a peer may have.
const mostGroups = 1024

// peerGroups are the supplementary groups of the other end; none on a kernel before 4.13, or
// where there are too many.
func peerGroups(fd int) (groups []uint32) {
	groups = make([]uint32, mostGroups)
	size := uint32(4 * len(groups))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
		uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return nil
	}
	return groups[:size/4]
}

// forbiddenError is why somebody may not write.
type forbiddenError struct{ who string }

func (e *forbiddenError) Error() string {
	return fmt.Sprintf("%s may not change what is known of devices: be root or a member of the group %s", e.who, Group)
}

// mayWrite reports why who asks may not.
func mayWrite(ctx context.Context) error {
	if ctx.Value(tokenKey{}) != nil {
		return nil
	}
	p, ok := ctx.Value(peerKey{}).(*peer)
	if !ok {
		return &forbiddenError{"who is not known"}
	}
	return p.mayWrite(uint32(os.Geteuid()), groupID())
}

// mayWrite is the rule, for a sensor of a user and a group of that number, nil: there is none.
func (p *peer) mayWrite(own uint32, group *uint32) error {
	if p.uid == 0 || p.uid == own || group != nil && slices.Contains(p.groups, *group) {
		return nil
	}
	return &forbiddenError{fmt.Sprintf("user %d", p.uid)}
}

// groupID is the number of Group; nil: the system had none when first asked, before a
// sandbox hid the list of groups.
var groupID = sync.OnceValue(func() *uint32 {
	g, err := user.LookupGroup(Group)
	if err != nil {
		return nil
	}
	n, err := strconv.ParseUint(g.Gid, 10, 32)
	if err != nil {
		return nil
	}
	id := uint32(n)
	return &id
})
