package classify

// This file puts another model in the place of one that has seen devices.

import (
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
)

// SetModel has other models judge from the next record on. What was joined of a device's
// windows is void; what was said of it stays until there is enough to say something by the
// new ones. What a network remembers of a device goes on where the new one has the same
// memory ([model.Model.Remembers]); remembered reports whether that is so of all of them.
// On an error nothing has changed. What [Classifier.Another] and [Classifier.Apart] made
// goes on with the old models.
func (c *Classifier) SetModel(bundle model.Bundle) (remembered bool, err error) {
	next := Classifier{opts: c.opts}
	if err := next.load(bundle); err != nil {
		return false, err
	}
	remembered = true
	for service, s := range next.streams {
		old := c.streams[service]
		if old == nil || old.first != s.first || !s.model.Remembers(old.model) {
			remembered = false
			continue
		}
		s.rows = old.rows
		*old = *s // what is kept of devices is kept under it
		next.streams[service] = old
	}
	for key, d := range c.cache.entries {
		if next.streams[key.stream.service] != key.stream {
			c.cache.forget(key)
			continue
		}
		d.seen, d.ground = join.Seen{}, nil
	}
	c.services, c.streams, c.verdicts = next.services, next.streams, next.verdicts
	c.registry.SetModel(c.verdicts)
	return remembered, nil
}
