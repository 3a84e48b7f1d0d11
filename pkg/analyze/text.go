package analyze

// This file writes a result as text tables.

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/iotsense/iotsense/pkg/identifiers"
)

// ShareLine is one of the shares, for a reader.
type ShareLine struct {
	Key     string
	Meaning string
	Value   *float64
	Percent bool
	Paper   *float64 // nil: the paper gives none
}

// Lines are the shares in the order they are shown in.
func (s Shares) Lines() []ShareLine {
	lines := []ShareLine{
		{Key: "flows_up_to_10_packets", Meaning: "flows with at most 10 packets", Value: s.ShortFlows.Share, Percent: true},
		{Key: "packets_up_to_1000_bytes", Meaning: "packets of at most 1,000 bytes", Value: s.SmallPackets.Share, Percent: true},
		{Key: "packets_without_payload", Meaning: "packets without payload", Value: s.EmptyPackets.Share, Percent: true},
		{Key: "mean_payload_bytes", Meaning: "mean payload of the others, bytes", Value: s.MeanPayload},
		{Key: "flows_of_four_services", Meaning: "flows of tcp/80, tcp/443, udp/53, udp/123", Value: s.ServiceFlows.Share, Percent: true},
		{Key: "flows_with_local_remote", Meaning: "flows with a local remote", Value: s.LocalFlows.Share, Percent: true},
		{Key: "packets_sent", Meaning: "packets sent by the device", Value: s.SentPackets.Share, Percent: true},
		{Key: "rows_with_full_payload", Meaning: "rows whose 3,000 payload values are all used", Value: s.FullRows.Share, Percent: true},
		{Key: "mean_row_payload_values", Meaning: "payload values used by a row, mean", Value: s.MeanRowValues},
		{Key: "median_row_payload_values", Meaning: "payload values used by a row, median", Value: s.MidRowValues},
	}
	for i := range lines {
		if v, ok := PaperShares[lines[i].Key]; ok {
			lines[i].Paper = &v
		}
	}
	return lines
}

// Text is a value of the line for a reader, "-" for none.
func (l ShareLine) Text(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case l.Percent:
		return Percent(v)
	}
	return fmt.Sprintf("%.1f", *v)
}

// Percent writes a share for a reader, "-" for none.
func Percent(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100**v)
}

// WriteText writes the result as tables. The payload's bytes, 10,000 places a
// class, are for JSON and the report; here each packet has its mean entropy.
func WriteText(w io.Writer, res *Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d records of %d captures and %d classes; %d IPv6 records%s\n",
		res.Records, res.Captures, len(res.Classes), res.IPv6, map[bool]string{false: ", which only this count and the leaks cover", true: " included"}[res.IPv6Used])
	b.WriteString("The paper's figures are of its own data set, another one.\n")
	if res.Stored > 0 {
		fmt.Fprintf(&b, "%d of the records are of %s.\n", res.Stored, StoredNote)
	}
	writeRows(&b, "Records per class (Table III)",
		table.Row{"Class", "Records", "Captures", "Units", "Packets", "Bytes", "<=10 packets", "No payload", "Local remote"},
		res.Classes, func(c Class) table.Row {
			return table.Row{c.Label, c.Records, c.Captures, c.Units, c.Packets, c.Bytes,
				Percent(c.Shares.ShortFlows.Share), Percent(c.Shares.EmptyPackets.Share), Percent(c.Shares.LocalFlows.Share)}
		})
	writeRows(&b, "Shares the paper quotes (III-A to III-C)", table.Row{"What", "Here", "Paper"},
		res.Shares.Lines(), func(l ShareLine) table.Row { return table.Row{l.Meaning, l.Text(l.Value), l.Text(l.Paper)} })
	writeRows(&b, "Entropy of metadata in bits (Fig. 2)",
		table.Row{"Class", "Dev port", "Rem port", "Remote", "O1", "O2", "O3", "O4", "Packets", "Bytes"}, res.Classes, metadataRow)
	writeRows(&b, "Entropy of payload bytes in bits, mean over a packet's places (Fig. 3)",
		table.Row{"Class", "P00", "P01", "P02", "P03", "P04", "P05", "P06", "P07", "P08", "P09"}, res.Classes, payloadRow)
	writeRows(&b, "Services and their most frequent transitions (Fig. 5)",
		table.Row{"Class", "Services", "Significant", "Transitions"}, res.Classes, servicesRow)
	if res.Leaks != nil {
		writeLeaks(&b, res.Leaks)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// writeRows writes a table with a title: a row of each item.
func writeRows[T any](b *strings.Builder, title string, header table.Row, items []T, row func(T) table.Row) {
	fmt.Fprintf(b, "\n%s\n", title)
	t := table.NewWriter()
	t.SetOutputMirror(b)
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.AppendHeader(header)
	for _, item := range items {
		t.AppendRow(row(item))
	}
	t.Render()
}

func metadataRow(c Class) table.Row {
	row := table.Row{c.Label}
	for _, f := range c.Metadata {
		text := fmt.Sprintf("%.2f", f.Entropy)
		if f.Pooled > 0 {
			text = ">" + text
		}
		row = append(row, text)
	}
	return row
}

func payloadRow(c Class) table.Row {
	row := table.Row{c.Label}
	for _, p := range c.Payload {
		if len(p.Entropy) == 0 {
			row = append(row, "-")
			continue
		}
		sum := 0.0
		for _, h := range p.Entropy {
			sum += h
		}
		row = append(row, fmt.Sprintf("%.2f", sum/float64(len(p.Entropy))))
	}
	return row
}

// shownTransitions is how many of a class's transitions the text shows.
const shownTransitions = 4

func servicesRow(c Class) table.Row {
	var red, shown []string
	for _, s := range c.Services.States {
		if s.Colour == Significant {
			red = append(red, s.Service)
		}
	}
	for _, tr := range mostFrequent(c.Services.Transitions, shownTransitions) {
		shown = append(shown, fmt.Sprintf("%s > %s %.0f %%", tr.From, tr.To, 100*tr.Probability))
	}
	return table.Row{c.Label, c.Services.Seen, strings.Join(red, " "), strings.Join(shown, ", ")}
}

// Shown is the identifier and the share of captures that hold it, for a reader.
func (i *Identifier) Shown() (text, share string) {
	if i == nil {
		return "-", "-"
	}
	return i.Text, Percent(i.Captures.Share)
}

func writeLeaks(b *strings.Builder, l *Leaks) {
	fmt.Fprintf(b, "\nLeaks: %d of %d classes have one unit only; %d are named by one string in 90 %% of their captures, %d by one that names a unit (MAC, serial, UUID, address); %d devices have two labels or more\n",
		l.SingleUnitClasses, len(l.Classes), l.NamedByString, l.NamedByIdentifier, len(l.SharedDevices))
	if l.FlowSample > 1 {
		fmt.Fprintf(b, "Identical flows: every %d-th distinct flow was compared\n", l.FlowSample)
	}
	writeRows(b, "Identifiers in payloads, all classes", table.Row{"Kind", "Records", "Captures", "Windows", "What"},
		identifiers.Infos[:], func(k identifiers.Info) table.Row {
			f := l.All[k.Key]
			return table.Row{k.Key, Percent(f.Records.Share), Percent(f.Captures.Share), Percent(f.Windows.Share), k.Meaning}
		})
	writeRows(b, "Leaks per class, share of records",
		table.Row{"Class", "Units", "MAC", "MAC or address", "UUID", "Serial", "Identical in other capture", "In other split", "In other class"},
		l.Classes, func(c ClassLeaks) table.Row {
			row := table.Row{c.Label, c.Units}
			for _, kind := range []string{"mac", "mac_or_address", "uuid", "serial"} {
				row = append(row, Percent(c.Identifiers[kind].Records.Share))
			}
			return append(row, Percent(c.Identical.OtherCapture.Share), Percent(c.Identical.OtherSplit.Share), Percent(c.Identical.OtherClass.Share))
		})
	writeRows(b, "Strings that no other class has, share of captures",
		table.Row{"Class", "Best", "Captures", "Best that names a unit", "Captures", "Class-only", "Unit-only"},
		l.Classes, func(c ClassLeaks) table.Row {
			best, share := c.Strings.Best.Shown()
			unit, unitShare := c.Strings.BestIdentifier.Shown()
			return table.Row{c.Label, best, share, unit, unitShare, c.Strings.ClassOnly, c.Strings.UnitOnly}
		})
	if len(l.Splits) > 1 {
		var rows []table.Row
		for _, s := range l.Splits {
			for _, other := range slices.Sorted(maps.Keys(s.In)) {
				rows = append(rows, table.Row{s.Split, other, s.In[other].Count, Percent(s.In[other].Share)})
			}
		}
		writeRows(b, "Records that occur identically in another split of their class", table.Row{"Split", "Also in", "Records", "Share"},
			rows, func(row table.Row) table.Row { return row })
	}
	if len(l.Twins) > 0 {
		writeRows(b, "Twins: classes that share flows of one shape", table.Row{"A", "B", "Of A's records", "Of B's"},
			l.Twins, func(w Twins) table.Row { return table.Row{w.A, w.B, Percent(&w.ShareA), Percent(&w.ShareB)} })
	}
}
