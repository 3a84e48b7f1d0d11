package classify

// This file bounds the memory of engine states, which save work and can be
// computed again from a window's rows.

import (
	"container/list"

	"github.com/iotsense/iotsense/pkg/model"
)

// DefaultCacheBytes holds the states of some 3,200 devices with the data set's rows.
// With it 10,000 devices and their records stay below 400 MB.
const DefaultCacheBytes = 80 << 20

// cache holds the states of the devices most recently active.
type cache struct {
	limit, bytes int
	entries      map[cacheKey]*list.Element // of *cached
	order        *list.List                 // most recently active first
}

type cacheKey struct {
	stream *stream
	device string
}

type cached struct {
	key   cacheKey
	state model.State
	bytes int // of the state, as counted in cache.bytes
}

func newCache(limit int) *cache {
	if limit <= 0 {
		limit = DefaultCacheBytes
	}
	return &cache{limit: limit, entries: map[cacheKey]*list.Element{}, order: list.New()}
}

// use runs f on a device's state, an empty one if there is none, and then drops
// the states least recently used until the others fit the limit.
func (c *cache) use(key cacheKey, f func(*model.State) error) error {
	e := c.entries[key]
	if e == nil {
		e = c.order.PushFront(&cached{key: key})
		c.entries[key] = e
	}
	c.order.MoveToFront(e)
	v := e.Value.(*cached)
	err := f(&v.state)
	n := v.state.Bytes()
	c.bytes += n - v.bytes
	v.bytes = n
	for c.bytes > c.limit && c.order.Len() > 0 {
		c.drop(c.order.Back())
	}
	return err
}

// forget drops a device's state.
func (c *cache) forget(key cacheKey) {
	if e := c.entries[key]; e != nil {
		c.drop(e)
	}
}

func (c *cache) drop(e *list.Element) {
	v := c.order.Remove(e).(*cached)
	delete(c.entries, v.key)
	c.bytes -= v.bytes
}
