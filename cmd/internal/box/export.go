package box

// This file reads where flow records go as they end.

import (
	"fmt"
	"math"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/export"
)

// ipfixFlag names the collector; the flags that begin so are its settings.
const ipfixFlag = "ipfix"

var exportFlags = []cli.Flag{
	&cli.StringFlag{Name: ipfixFlag, Usage: "send each flow that ends to the IPFIX collector at `HOST[:PORT]`, over UDP or after tcp:// or tls://"},
	&cli.Uint64Flag{Name: "ipfix-domain", Value: export.DefaultDomain, Usage: "observation domain `N`"},
	&cli.Uint64Flag{Name: "ipfix-enterprise", Value: export.DefaultEnterprise, Usage: "private enterprise number `N` of the fields that say what a device is (default: that for examples)"},
	&cli.StringFlag{Name: "ipfix-ca", Usage: "`FILE` (PEM) of who signed the certificate of a tls:// collector (default: the system's)"},
	&cli.StringFlag{Name: "flows-json", Usage: "append a line of JSON for each flow that ends to `FILE` (default: none)"},
	&cli.StringFlag{Name: "flows-json-size", Value: "256MiB", Usage: "`SIZE` of that file and the one before it, FILE.1"},
}

// parseExport reads where records go.
func parseExport(c *cli.Context) (cfg export.Config, err error) {
	for _, f := range []struct {
		name  string
		least uint64
		to    *uint32
	}{{"ipfix-domain", 0, &cfg.IPFIX.Domain}, {"ipfix-enterprise", 1, &cfg.IPFIX.Enterprise}} {
		n := c.Uint64(f.name)
		if n < f.least || n > math.MaxUint32 {
			return cfg, terminal.Usagef("--%s %d: want a number from %d to %d", f.name, n, f.least, uint32(math.MaxUint32))
		}
		if *f.to = uint32(n); c.IsSet(f.name) && c.String(ipfixFlag) == "" {
			return cfg, terminal.Usagef("--%s is of --ipfix HOST:PORT, which is missing", f.name)
		}
	}
	cfg.IPFIX.Collector, cfg.IPFIX.CAFile = c.String(ipfixFlag), c.String("ipfix-ca")
	if cfg.IPFIX.CAFile != "" && cfg.IPFIX.Collector == "" {
		return cfg, terminal.Usagef("--ipfix-ca is of --ipfix tls://HOST:PORT, which is missing")
	}
	if err := cfg.IPFIX.Check(); err != nil {
		return cfg, terminal.WrongUsage(fmt.Errorf("--ipfix: %w", err))
	}
	size, err := ParseSize(c.String("flows-json-size"), math.MaxInt)
	cfg.Lines = export.Lines{Path: c.String("flows-json"), Size: int64(size)}
	switch {
	case err != nil:
		return cfg, terminal.WrongUsage(fmt.Errorf("--flows-json-size: %w", err))
	case size < export.LeastSize:
		return cfg, terminal.Usagef("--flows-json-size %s: want %d MiB or more", c.String("flows-json-size"), export.LeastSize>>20)
	case c.IsSet("flows-json-size") && cfg.Lines.Path == "":
		return cfg, terminal.Usagef("--flows-json-size is of --flows-json FILE, which is missing")
	case cfg.Sends() && countOnly(c):
		return cfg, terminal.Usagef("--ipfix, --flows-json: with --packets 0 there is no record")
	}
	return cfg, nil
}
