package classify

// This file bounds what is held of devices beside what their memories need: values that
// save work and can be computed again, and rows for explanations.

import (
	"container/list"

	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
)

// DefaultCacheBytes holds the values of some 3,200 devices with the data set's rows.
// With it 10,000 devices and their records stay below 400 MB.
const DefaultCacheBytes = 80 << 20

// cache holds the memories of all devices, and trims those least recently active.
type cache struct {
	limit, bytes int
	entries      map[cacheKey]*cached
	order        *list.List // of *cached that are not trimmed, most recently active first
	forgotten    uint64     // devices whose rows made room for others'
}

type cacheKey struct {
	stream *stream
	device string
}

type cached struct {
	memory model.Memory
	seen   join.Seen // flows of windows
	footing
	bytes int           // that trimming frees, as counted in cache.bytes
	place *list.Element // nil: trimmed
}

func newCache(limit int) *cache {
	if limit <= 0 {
		limit = DefaultCacheBytes
	}
	return &cache{limit: limit, entries: map[cacheKey]*cached{}, order: list.New()}
}

// use runs f on a device's memory, that of a new device if there is none, and then
// trims the memories least recently used until the others fit the limit.
func (c *cache) use(key cacheKey, f func(*cached) error) error {
	v := c.entries[key]
	if v == nil {
		v = &cached{memory: key.stream.engine.Memory()}
		c.entries[key] = v
	}
	if v.place == nil {
		v.place = c.order.PushFront(v)
	} else {
		c.order.MoveToFront(v.place)
	}
	err := f(v)
	n := v.memory.Bytes() + v.footing.size
	c.bytes += n - v.bytes
	v.bytes = n
	for c.bytes > c.limit && c.order.Len() > 0 {
		last := c.order.Back().Value.(*cached)
		if last.footing.size > 0 {
			c.forgotten++
		}
		c.trim(last)
	}
	return err
}

// forget drops a device's memory.
func (c *cache) forget(key cacheKey) {
	if v := c.entries[key]; v != nil {
		c.trim(v)
		delete(c.entries, key)
	}
}

func (c *cache) trim(v *cached) {
	if v.place == nil {
		return
	}
	c.order.Remove(v.place)
	c.bytes -= v.bytes
	v.place, v.bytes = nil, 0
	v.memory.Trim()
	v.footing.lose()
}
