package registry

// This file has another model judge devices that one has judged.

import "github.com/iotsense/iotsense/pkg/api/v1"

// SetModel takes the labels, levels and name of another model. What the one before has judged
// is void. What was said of a device stays until it is no longer gathering by the new one, so
// that no name goes for a moment.
func (r *Registry) SetModel(cfg Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for d := range r.each {
		if v := r.verdict(d); v.State != v1.Gathering {
			d.former = &v
		}
		d.void()
		d.changed = true
	}
	r.cfg.Labels, r.cfg.Levels, r.cfg.Model = cfg.Labels, cfg.Levels, cfg.Model
}

// orFormer is what is said of a device by a verdict: while that is gathering, or but presumed,
// what was said by the model before.
func (d *device) orFormer(v v1.Verdict) v1.Verdict {
	if presumed := v.State == v1.Likely && v.Windows == 0; v.State != v1.Gathering && !presumed {
		d.former = nil
	}
	if d.former == nil {
		return v
	}
	f := *d.former
	f.UserLabel, f.Others, f.Flows, f.Packets, f.Bytes = v.UserLabel, v.Others, v.Flows, v.Packets, v.Bytes
	return f
}
