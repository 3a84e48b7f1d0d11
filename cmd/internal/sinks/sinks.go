// Package sinks reads who is told of events, and of which. In go flags that are the settings
// of a file's section, out comes what [notify] wants.
package sinks

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/notify"
)

// section begins the names of all these.
const section = "sinks."

// Is reports whether a flag is one of the section.
func Is(flag string) bool { return strings.HasPrefix(flag, section) }

// Flags are the section's settings; help does not show them.
func Flags() (flags []cli.Flag) {
	text := func(name, value string) {
		flags = append(flags, &cli.StringFlag{Name: section + name, Value: value, Hidden: true})
	}
	list := func(name string) {
		flags = append(flags, &cli.StringSliceFlag{Name: section + name, Hidden: true})
	}
	flags = append(flags, &cli.DurationFlag{Name: section + "hold", Value: notify.DefaultHold, Hidden: true},
		&cli.DurationFlag{Name: section + "digest", Value: notify.DefaultDigest, Hidden: true})
	list("allow")
	for _, kind := range []string{"webhook", "ntfy"} {
		for _, name := range []string{"url", "token-file", "ca-file"} {
			text(kind+"."+name, "")
		}
		list(kind + ".events")
	}
	for _, name := range []string{"url", "username", "password-file", "ca-file"} {
		text("mqtt."+name, "")
	}
	text("mqtt.topic", notify.DefaultTopic)
	text("mqtt.discovery", notify.DefaultDiscovery)
	for _, name := range []string{"url", "username", "password-file", "token-file", "creds-file", "ca-file", "subject"} {
		text("nats."+name, "")
	}
	return append(flags, &cli.BoolFlag{Name: section + "nats.jetstream", Hidden: true})
}

// Config reads and checks them; what is wrong is told with its name.
func Config(c *cli.Context) (notify.Config, error) {
	text := func(name string) string { return c.String(section + name) }
	http := func(kind string) notify.HTTP {
		return notify.HTTP{URL: text(kind + ".url"), TokenFile: text(kind + ".token-file"), CAFile: text(kind + ".ca-file"), Events: c.StringSlice(section + kind + ".events")}
	}
	cfg := notify.Config{
		Hold: c.Duration(section + "hold"), Digest: c.Duration(section + "digest"), Allow: c.StringSlice(section + "allow"),
		Webhook: http("webhook"), Ntfy: http("ntfy"),
		MQTT: notify.MQTT{
			URL: text("mqtt.url"), Username: text("mqtt.username"), PasswordFile: text("mqtt.password-file"), CAFile: text("mqtt.ca-file"),
			Topic: text("mqtt.topic"), Discovery: text("mqtt.discovery"),
		},
		NATS: notify.NATS{
			URL: text("nats.url"), Username: text("nats.username"), PasswordFile: text("nats.password-file"), TokenFile: text("nats.token-file"),
			CredsFile: text("nats.creds-file"), CAFile: text("nats.ca-file"), Subject: text("nats.subject"), JetStream: c.Bool(section + "nats.jetstream"),
		},
	}
	err := cfg.Check()
	var wrong *notify.FieldError
	if errors.As(err, &wrong) {
		err = terminal.WrongUsage(fmt.Errorf("%s%w", section, err))
	}
	return cfg, err
}
