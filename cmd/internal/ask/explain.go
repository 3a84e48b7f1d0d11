package ask

// This file prints explanations.

import (
	"context"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/client"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// Explanation asks a sensor what the present state of a device rests on.
func Explanation(ctx context.Context, socket, device string, q v1.ExplanationRequest) (*v1.Explanation, error) {
	sensor := client.New(socket)
	name, err := nameOf(ctx, sensor, device)
	if err != nil {
		return nil, err
	}
	x, err := sensor.Explanation(ctx, name, q)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, Meant(ctx, sensor, name))
	}
	return x, nil
}

// PrintExplanation prints what an output rests on most, in words: the top values and
// facts, 0: all.
func PrintExplanation(w io.Writer, x *v1.Explanation, top int) {
	from := "live"
	if x.Capture != nil {
		from = *x.Capture
	}
	terminal.PrintLine(w, "%s: %s, window %d, %s", x.Title(), x.Device, x.WindowIndex, from)
	terminal.PrintLine(w, "%s has probability %.3f in this window, by network and facts", x.Label, x.JoinedProbability)
	terminal.PrintLine(w, "network: %s %.3f, %.3f of what it is compared with (shares add up to %.0e)", x.Output, x.Value, x.BaseValue, x.AdditivityError)
	if x.FactsValue != nil {
		terminal.PrintLine(w, "facts: %s %.3f, %.3f of who says nothing", x.Output, *x.FactsValue, *x.FactsBaseValue)
	}
	terminal.PrintLine(w, "padding: fraction %.3f, share %.3f of what speaks for it", x.PaddingFraction, x.PaddingShare)
	lines := x.Shares(true)
	shown := lines
	if top > 0 {
		shown = lines[:min(top, len(lines))]
	}
	t := terminal.NewTable(w, "Share", "Of", "What")
	for _, l := range shown {
		t.AppendRow(table.Row{fmt.Sprintf("%+.*f", decimals(x.Output), l.Phi), l.Of, l.Words})
	}
	t.Render()
	if more := len(lines) - len(shown); more > 0 {
		fmt.Fprintf(w, "and %d smaller ones (--top)\n", more)
	}
}

// decimals of an output's shares.
func decimals(output string) int {
	if output == "probability" {
		return 4
	}
	return 2
}
