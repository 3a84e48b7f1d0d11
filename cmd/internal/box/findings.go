package box

// This file says why a capture names fewer devices than one looks for, or why a
// verdict is worth less than it seems.

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// remoteShare is the part of a capture's packets between two addresses that are not
// local from which it is worth a word: less of it strays everywhere.
const remoteShare = 0.01

// sayFindings says in one line on stderr what is to be known of a capture's
// verdicts; nothing when all is well. devices are nil where no model runs.
func sayFindings(s dataset.CaptureSummary, devices []v1.DeviceVerdict, bundle model.Bundle) {
	found := slices.Concat(packetFindings(s), deviceFindings(s, devices, bundle))
	if len(found) > 0 {
		terminal.Say("%s: %s", captureName(s), strings.Join(found, "; "))
	}
}

// SayClassified says what is to be known of the verdicts of a capture that a model has
// read, nil where it has no record, and returns them.
func SayClassified(s dataset.CaptureSummary, k *classify.Classifier, bundle model.Bundle) []v1.DeviceVerdict {
	var devices []v1.DeviceVerdict
	if k != nil {
		devices = k.Registry().Devices()
		sayForgotten(s, k.Registry().Evicted())
	}
	sayFindings(s, devices, bundle)
	return devices
}

// sayForgotten tells of devices of a capture that found no room.
func sayForgotten(s dataset.CaptureSummary, devices uint64) {
	if devices > 0 {
		terminal.Say("%s: %d devices have no line: there are more than %d", captureName(s), devices, classify.MaxFileDevices)
	}
}

// captureName names a capture where records files may have none.
func captureName(s dataset.CaptureSummary) string {
	if s.Name == "" {
		return "records without a capture"
	}
	return s.Name
}

// packetFindings is what the counters of a capture file tell.
func packetFindings(s dataset.CaptureSummary) []string {
	var found []string
	p := s.Stats
	switch {
	case p.Seen == 0 && s.Records == 0:
		found = append(found, "no device: it holds no packet or record")
	case p.Seen > 0 && p.Counted == 0 && p.Malformed > p.NotIP:
		found = append(found, fmt.Sprintf("no device: %d of its %d packets are malformed, the others not IP (a short snap length?)", p.Malformed, p.Seen))
	case p.Seen > 0 && p.Counted == 0:
		found = append(found, fmt.Sprintf("no device: none of its %d packets is IP (%d not IP, %d malformed)", p.Seen, p.NotIP, p.Malformed))
	}
	if len(s.Unseen) > 0 {
		var unseen []string
		macs := false
		for _, d := range s.Unseen {
			unseen = append(unseen, d.Name)
			macs = macs || !strings.HasPrefix(d.Name, "ip:")
		}
		text := "no packet of the listed " + some(unseen)
		if macs && p.NoMAC > 0 && p.NoMAC == p.Counted {
			text += " (the capture has no MAC addresses: list its devices as ip:ADDRESS)"
		}
		found = append(found, text)
	}
	found = append(found, slices.DeleteFunc([]string{remoteFinding(s), macFinding(s)}, func(text string) bool { return text == "" })...)
	if p.Truncated > 0 {
		found = append(found, fmt.Sprintf("%d of %d packets are truncated (a short snap length?): verdicts rest on less payload than the model was trained on", p.Truncated, p.Counted))
	}
	if p.Untimed > 0 {
		found = append(found, fmt.Sprintf("%d of %d packets carry no time (simple packet blocks): verdicts rest on flows and times that are not known", p.Untimed, p.Seen))
	}
	if p.SetBack > 0 {
		found = append(found, fmt.Sprintf("time goes back by a record's life or more: %d flows begun anew (a clock was set, or files were joined out of order)", p.SetBack))
	}
	return found
}

// macFinding tells of devices without a MAC that no manifest lists.
func macFinding(s dataset.CaptureSummary) string {
	nobody := flows.MAC{}.String() // in records of other tools
	i := slices.IndexFunc(s.Devices, func(d dataset.Device) bool { return d.Label == "" && strings.HasPrefix(d.Name, "ip:") })
	switch {
	case i >= 0 && s.Stats.NoMAC > 0:
		return fmt.Sprintf("%d of %d packets have no MAC address (a loopback or raw IP interface?): devices such as %s are told apart by IP address alone",
			s.Stats.NoMAC, s.Stats.Counted, s.Devices[i].Name)
	case s.Stats.Seen == 0 && slices.ContainsFunc(s.Devices, func(d dataset.Device) bool { return d.Name == nobody }):
		return fmt.Sprintf("%s is no MAC address (a loopback interface?): its devices cannot be told apart", nobody)
	}
	return ""
}

// remoteFinding tells of packets of which neither end is local. A device that a
// manifest lists is one wherever its address lies.
func remoteFinding(s dataset.CaptureSummary) string {
	p := s.Stats
	listed := len(s.Unseen) > 0 || slices.ContainsFunc(s.Devices, func(d dataset.Device) bool { return d.Label != "" })
	few := float64(p.RemoteIPv4) < remoteShare*float64(p.Counted)
	switch {
	case listed:
		return ""
	case len(s.Devices) == 0 && p.RemoteIPv4+p.RemoteIPv6 == 0 && p.Counted > 0:
		return fmt.Sprintf("no device: its %d IP packets are of no local device", p.Counted)
	case len(s.Devices) == 0 && p.RemoteEnd.IsLoopback():
		return fmt.Sprintf("no device: %d of %d packets are of a loopback interface or of others that are not local", p.RemoteIPv4, p.Counted)
	case p.RemoteIPv4 > 0 && (len(s.Devices) == 0 || !few):
		return fmt.Sprintf("neither end of %d of %d packets is local (such as %v): where the network has public addresses, name its range with --local CIDR",
			p.RemoteIPv4, p.Counted, p.RemoteEnd)
	case len(s.Devices) == 0 && p.RemoteIPv6 > 0:
		return fmt.Sprintf("no device: neither end of %d of %d packets is local, all IPv6: name the network's prefix with --local CIDR", p.RemoteIPv6, p.Counted)
	}
	return ""
}

// deviceFindings is what stands in the way of a device's verdict, or in its light.
func deviceFindings(s dataset.CaptureSummary, devices []v1.DeviceVerdict, bundle model.Bundle) []string {
	var ipv6, few, shared []string
	readsIPv6 := slices.ContainsFunc(slices.Collect(maps.Values(bundle)), func(m *model.Model) bool { return m.Record.IPv6 })
	for i := range devices {
		d := &devices[i]
		if d.SharedMAC {
			shared = append(shared, d.Device)
		}
		switch {
		case d.Level > 0: // its maker is said
		case ask.OnlyIPv6(d) && !readsIPv6:
			ipv6 = append(ipv6, d.Device)
		case d.Windows == 0 && d.Flows > 0:
			few = append(few, d.Device)
		}
	}
	var found []string
	if len(ipv6) > 0 {
		found = append(found, fmt.Sprintf("no verdict on %s: IPv6 flows only, which this model leaves out", some(ipv6)))
	}
	if len(few) > 0 {
		found = append(found, fmt.Sprintf("no verdict on %s: too few flows of the kind this model reads (--window-mode padded begins with the first)", some(few)))
	}
	if len(shared) > 0 {
		found = append(found, fmt.Sprintf("shared MAC %s: two addresses in one minute, of several devices behind a router or repeater that have one verdict, or of one whose address changed", some(shared)))
	}
	return found
}

// some lists the first few names.
func some(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
