package ask

// This file knows devices by the names that people use.

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/client"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
)

// DeviceName is a device as people name it.
type DeviceName struct {
	Name string     // as records have it; empty: any with the address
	Addr netip.Addr // invalid: whatever it has
}

// ParseDeviceName reads a MAC, an IP address or "ip:ADDR".
func ParseDeviceName(s string) (DeviceName, error) {
	if mac, err := flows.ParseMAC(s); err == nil {
		return DeviceName{Name: mac.String()}, nil
	}
	text, only := strings.CutPrefix(s, "ip:")
	addr, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return DeviceName{}, terminal.Usagef("device %q: want a MAC like 50:c7:bf:00:fc:a3, or an IP address", s)
	case only:
		return DeviceName{Name: "ip:" + addr.String()}, nil
	}
	return DeviceName{Addr: addr}, nil
}

// is reports whether d goes by the name.
func (n DeviceName) is(d *v1.DeviceVerdict) bool {
	if n.Addr.IsValid() {
		text := n.Addr.String()
		return d.Device == "ip:"+text || slices.Contains(d.Addresses, text)
	}
	return n.Name == "" || n.Name == d.Device || slices.Contains(d.MACs, n.Name)
}

// nameOf is the device that people name, by its address as the sensor has seen it too.
func nameOf(ctx context.Context, sensor *client.Client, device string) (string, error) {
	wanted, err := ParseDeviceName(device)
	if err != nil || wanted.Name != "" {
		return wanted.Name, err
	}
	list, err := sensor.Devices(ctx)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(list, func(d v1.DeviceVerdict) bool { return wanted.is(&d) })
	if i < 0 {
		return "", fmt.Errorf("device %s: the sensor has not seen it", device)
	}
	return list[i].Device, nil
}

// Meant asks whether a device that a sensor has not seen was to be another, as
// terminal.DidYouMean does; empty where it has, or where nothing is near.
func Meant(ctx context.Context, sensor *client.Client, device string) string {
	list, err := sensor.Devices(ctx)
	if err != nil {
		return "" // what it is said behind is told all the same
	}
	return meant(list, device)
}

func meant(list []v1.DeviceVerdict, device string) string {
	var names []string
	for i := range list {
		names = append(names, list[i].MACs...)
		names = append(names, list[i].Device)
	}
	if slices.Contains(names, device) {
		return ""
	}
	return terminal.DidYouMean(device, names)
}

// knownPatience is how long somebody who completes a command line waits.
const knownPatience = time.Second

// Known are the devices of the sensor on a socket, empty: the usual one, and what they are
// taken for; none where nobody answers.
func Known(socket string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		ctx, stop := context.WithTimeout(context.Background(), knownPatience)
		defer stop()
		list, _ := client.New(cmp.Or(socket, v1.DefaultSocket)).Devices(ctx) // without them nothing is completed
		for i := range list {
			label, _ := LabelText(&list[i].Verdict)
			if !yield(list[i].Device, label) {
				return
			}
		}
	}
}
