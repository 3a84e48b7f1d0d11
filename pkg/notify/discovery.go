package notify

// This file has what Home Assistant's MQTT integration is told, in its words: its
// documentation's pages "MQTT Discovery", "MQTT Device Tracker", "MQTT Sensor" and "MQTT
// Event" say what the keys mean.

import (
	"math"
	"strings"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// What stands in topics of availability and presence: its defaults.
const (
	online, offline = "online", "offline"
	home, notHome   = "home", "not_home"
)

// entity is what is discovered.
type entity struct {
	Name              string   `json:"name"`
	UniqueID          string   `json:"unique_id"`
	StateTopic        string   `json:"state_topic"`
	ValueTemplate     string   `json:"value_template,omitempty"`
	AttributesTopic   string   `json:"json_attributes_topic,omitempty"`
	AvailabilityTopic string   `json:"availability_topic"`
	SourceType        string   `json:"source_type,omitempty"`
	PayloadHome       string   `json:"payload_home,omitempty"`
	PayloadNotHome    string   `json:"payload_not_home,omitempty"`
	Unit              string   `json:"unit_of_measurement,omitempty"`
	StateClass        string   `json:"state_class,omitempty"`
	Category          string   `json:"entity_category,omitempty"`
	Icon              string   `json:"icon,omitempty"`
	EventTypes        []string `json:"event_types,omitempty"`
	Device            thing    `json:"device"`
	Origin            origin   `json:"origin"`
}

// thing is the device that an entity is of.
type thing struct {
	Identifiers  []string    `json:"identifiers"`
	Connections  [][2]string `json:"connections,omitempty"`
	Name         string      `json:"name"`
	Manufacturer string      `json:"manufacturer,omitempty"`
	Model        string      `json:"model,omitempty"`
}

type origin struct {
	Name string `json:"name"`
	URL  string `json:"support_url"`
}

var us = origin{"iotsense", "https://github.com/iotsense/iotsense"}

// happening is an event as an event entity takes it.
type happening struct {
	Type string `json:"event_type"`
	v1.Notice
}

// condition is what is told of a device; entities take parts of it.
type condition struct {
	Type       *string  `json:"type"`       // label of a known device, path of a likely one; null: none is safe
	Confidence *float64 `json:"confidence"` // of that, in percent
	Vendor     *string  `json:"vendor"`
	State      v1.State `json:"state"`
	Label      *string  `json:"label"` // best guess
	UserLabel  *string  `json:"user_label"`
	MACs       []string `json:"macs"`
	// InZones tells trackers of Home Assistant from 2027 on what StateTopic tells older ones.
	InZones []string `json:"in_zones"`
}

// identifier keeps what may stand in an identifier, and in a level of a topic.
func identifier(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, s)
}

// objectID is a device's own part of topics and identifiers: a MAC without its colons.
func objectID(device string) string {
	if len(device) == len("00:00:00:00:00:00") && !strings.HasPrefix(device, "ip:") {
		device = strings.ReplaceAll(device, ":", "")
	}
	return identifier(device)
}

// node is the sensor's own part.
func (m *MQTT) node() string { return identifier(m.Topic) }

func (m *MQTT) availability() string { return m.Topic + "/status" }

// below is a topic of a device.
func (m *MQTT) below(device, what string) string {
	return m.Topic + "/" + objectID(device) + "/" + what
}

// config is where an entity is announced.
func (m *MQTT) config(component, object string) string {
	return m.Discovery + "/" + component + "/" + m.node() + "/" + object + "/config"
}

// events announces the entity that events come from.
func (m *MQTT) events() (topic string, e entity) {
	return m.config("event", "events"), entity{
		Name: "Events", UniqueID: m.node() + "_events", StateTopic: m.Topic + "/event", AvailabilityTopic: m.availability(), Icon: "mdi:lan",
		EventTypes: Events, Device: thing{Identifiers: []string{m.node()}, Name: "iotsense"}, Origin: us,
	}
}

// announced are where a device is.
func (m *MQTT) announced(device string) []string {
	id := objectID(device)
	return []string{m.config("device_tracker", id), m.config("sensor", id+"_type"), m.config("sensor", id+"_confidence"), m.config("sensor", id+"_vendor")}
}

// shown are all topics of a device.
func (m *MQTT) shown(device string) []string {
	return append(m.announced(device), m.below(device, "state"), m.below(device, "presence"))
}

// entities announce a device that has a name, each at its place of announced.
func (m *MQTT) entities(d *v1.DeviceVerdict) (list []entity) {
	id := objectID(d.Device)
	t := thing{Identifiers: []string{m.node() + "_" + id}, Name: name(d)}
	for _, mac := range d.MACs {
		if !strings.HasPrefix(mac, "ip:") {
			t.Connections = append(t.Connections, [2]string{"mac", mac})
		}
	}
	if d.Vendor != nil {
		t.Manufacturer = *d.Vendor
	}
	if said := what(d); said != nil {
		t.Model = *said
	}
	add := func(part, title string, change func(*entity)) {
		e := entity{Name: title, UniqueID: t.Identifiers[0] + "_" + part, StateTopic: m.below(d.Device, "state"), AvailabilityTopic: m.availability(), Device: t, Origin: us}
		change(&e)
		list = append(list, e)
	}
	add("presence", "Presence", func(e *entity) {
		e.StateTopic, e.AttributesTopic = m.below(d.Device, "presence"), e.StateTopic
		e.SourceType, e.PayloadHome, e.PayloadNotHome = "router", home, notHome
	})
	add("type", "Type", func(e *entity) {
		e.ValueTemplate, e.AttributesTopic, e.Icon = "{{ value_json.type }}", e.StateTopic, "mdi:devices"
	})
	add("confidence", "Confidence", func(e *entity) {
		e.ValueTemplate, e.Unit, e.StateClass, e.Category, e.Icon = "{{ value_json.confidence }}", "%", "measurement", "diagnostic", "mdi:percent"
	})
	add("vendor", "Vendor", func(e *entity) {
		e.ValueTemplate, e.Category, e.Icon = "{{ value_json.vendor }}", "diagnostic", "mdi:factory"
	})
	return list
}

// conditions are what is told of a device and whether it is there.
func conditions(d *v1.DeviceVerdict) (c condition, where string) {
	c = condition{Type: what(d), Vendor: d.Vendor, State: d.State, Label: d.Label, UserLabel: d.UserLabel, MACs: d.MACs, InZones: []string{home}}
	of := d.PathConfidence
	if d.Known {
		of = d.Confidence
	}
	if c.Type != nil && of != nil {
		percent := math.Round(*of * 100)
		c.Confidence = &percent
	}
	if where = home; d.Gone || d.LastSeen.IsZero() { // one may be labelled before it is seen
		where, c.InZones = notHome, []string{}
	}
	return c, where
}

// what is what a device is said to be; nil: nothing is safe.
func what(d *v1.DeviceVerdict) *string {
	if d.Known {
		return d.Label
	}
	return d.Path
}

// name is what a device is called here: what it calls itself is its own word, and others
// would be listed under it.
func name(d *v1.DeviceVerdict) string {
	if d.UserLabel != nil {
		return *d.UserLabel
	}
	return *d.Label
}

// Whose name a device has.
const byUser, byNetwork = "user", "network"

// namer is whose name a device has; empty: nobody's yet.
func namer(d *v1.DeviceVerdict) string {
	switch {
	case d.UserLabel != nil:
		return byUser
	case d.Known && d.Label != nil:
		return byNetwork
	}
	return ""
}
