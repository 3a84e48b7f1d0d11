package store

// This file makes rows of what is kept, and reads them.

import (
	"context"
	"encoding"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/registry"
)

// MaxEvents is how many events a file keeps, the newest.
const MaxEvents = 10_000

// Write changes the file. When it returns without an error, what it was given is on the disk.
func (s *Store) Write(c *Change) error {
	err := s.atOnce(func() error {
		for i := range c.Gone {
			if err := s.delete(&c.Gone[i]); err != nil {
				return err
			}
		}
		if err := s.each(deviceTable, len(c.Devices), func(i int) ([]any, error) { return deviceRow(&c.Devices[i]) }); err != nil {
			return err
		}
		for device, list := range c.Facts {
			if err := s.writeFacts(device, list); err != nil {
				return err
			}
		}
		if err := s.each(eventTable, len(c.Events), func(i int) ([]any, error) { return eventRow(&c.Events[i]), nil }); err != nil {
			return err
		}
		if n := len(c.Events); n > 0 {
			return s.exec("DELETE FROM event WHERE seq<=?", int64(c.Events[n-1].Seq)-MaxEvents)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	return nil
}

// delete removes a device that is gone.
func (s *Store) delete(g *registry.Gone) error {
	if err := s.exec("DELETE FROM device WHERE id=?", int64(g.ID)); err != nil {
		return err
	}
	for _, name := range g.Names {
		if err := s.exec("DELETE FROM fact WHERE mac=?", name); err != nil {
			return err
		}
		if !g.Said {
			continue
		}
		if err := s.exec("DELETE FROM event WHERE device=?", name); err != nil {
			return err
		}
	}
	return nil
}

// writeFacts replaces those of a MAC: [kind, source, value, count, first, last] of each, as
// JSON.
func (s *Store) writeFacts(mac string, list []facts.Fact) error {
	if len(list) == 0 {
		return s.exec("DELETE FROM fact WHERE mac=?", mac)
	}
	rows := make([][6]any, len(list))
	for i, f := range list {
		rows[i] = [6]any{f.Kind, f.Source, f.Value, f.Count, f.First, f.Last}
	}
	text, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	return s.put(factTable, mac, string(text))
}

// each puts n rows into a table.
func (s *Store) each(t table, n int, row func(int) ([]any, error)) error {
	if n == 0 {
		return nil
	}
	put, err := s.conn.PrepareContext(context.Background(), t.insert())
	if err != nil {
		return err
	}
	defer put.Close()
	for i := range n {
		values, err := row(i)
		if err != nil {
			return err
		}
		if _, err := put.Exec(append(values, sumOf(values))...); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) put(t table, values ...any) error {
	return s.exec(t.insert(), append(values, sumOf(values))...)
}

func (t *table) insert() string {
	return fmt.Sprintf("INSERT OR REPLACE INTO %s (%s, sum) VALUES (?%s)", t.name, strings.Join(t.columns, ", "), strings.Repeat(", ?", len(t.columns)))
}

// sumOf is the sum of a row: a value that is not there changes nothing.
func sumOf(values []any) int64 {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for i, v := range values {
		switch v := v.(type) {
		case nil:
		case int64:
			fmt.Fprintf(h, "%d:%d|", i, v)
		case string:
			fmt.Fprintf(h, "%d:%d:", i, len(v))
			io.WriteString(h, v)
		case []byte:
			fmt.Fprintf(h, "%d:%d:", i, len(v))
			h.Write(v)
		default:
			panic(fmt.Sprintf("column %d is a %T", i, v)) // rows are made here
		}
	}
	return int64(h.Sum32())
}

// rows reads a table, in the order of those columns. Rows that are not what was written are
// damage.
func (s *Store) rows(t table, order string, take func(row []any) error) error {
	rows, err := s.conn.QueryContext(context.Background(), fmt.Sprintf("SELECT %s, sum FROM %s%s", strings.Join(t.columns, ", "), t.name, order))
	if err != nil {
		return err
	}
	defer rows.Close()
	row := make([]any, len(t.columns)+1)
	into := make([]any, len(row))
	for i := range row {
		into[i] = &row[i]
	}
	for n := 1; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		values := row[:len(t.columns)]
		if sum, ok := row[len(values)].(int64); !ok || sum != sumOf(values) {
			return damagedf("row %d of table %s is not what was written", n, t.name)
		}
		if err := take(values); err != nil {
			return damagedf("row %d of table %s: %w", n, t.name, err)
		}
	}
	return rows.Err()
}

// load reads all that there is, and checks how it lies there.
func (s *Store) load() (*Content, error) {
	var verdict string
	if err := s.conn.QueryRowContext(context.Background(), "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return nil, err
	}
	if verdict != "ok" {
		return nil, damagedf("%s", verdict)
	}
	c := &Content{Facts: map[string][]facts.Fact{}}
	err := s.rows(deviceTable, "", func(row []any) error {
		d, err := deviceOf(row)
		c.Devices = append(c.Devices, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.rows(factTable, "", c.addFacts); err != nil {
		return nil, err
	}
	return c, s.rows(eventTable, " ORDER BY seq", func(row []any) error {
		c.Events = append(c.Events, eventOf(row))
		return nil
	})
}

// addFacts takes a row of facts. What another version calls otherwise is left out.
func (c *Content) addFacts(row []any) error {
	var list [][6]json.RawMessage
	if err := json.Unmarshal([]byte(text(row[1])), &list); err != nil {
		return err
	}
	for i := range list {
		var f facts.Fact
		if json.Unmarshal(list[i][0], &f.Kind) != nil || json.Unmarshal(list[i][1], &f.Source) != nil {
			continue
		}
		for at, into := range []any{&f.Value, &f.Count, &f.First, &f.Last} {
			if err := json.Unmarshal(list[i][2+at], into); err != nil {
				return err
			}
		}
		mac := text(row[0])
		c.Facts[mac] = append(c.Facts[mac], f)
	}
	return nil
}

func deviceRow(d *registry.Saved) ([]any, error) {
	var addresses []byte // a line each: it, last, back
	for _, a := range d.Addresses {
		addresses = fmt.Appendf(addresses, "%s %d %d\n", a.Addr, a.Last, a.Back)
	}
	macs, err := json.Marshal(d.MACs)
	if err != nil {
		return nil, err
	}
	return []any{
		int64(d.ID), d.Name, d.First, d.Last, int64(d.Flows), int64(d.IPv6), int64(d.Packets), int64(d.Bytes), d.Newest, boolean(d.Shared),
		string(addresses), boolean(d.Presence.Gone), d.Presence.Since, d.Presence.After, string(d.State), d.As, d.Model, blob(d.Judged),
		string(macs), d.Label, d.Labelled, boolean(d.Locked), boolean(d.Ignored),
	}, nil
}

func deviceOf(row []any) (d registry.Saved, err error) {
	d = registry.Saved{
		ID: uint64(number(row[0])), Name: text(row[1]), First: number(row[2]), Last: number(row[3]), Flows: uint64(number(row[4])),
		IPv6: uint64(number(row[5])), Packets: uint64(number(row[6])), Bytes: uint64(number(row[7])), Newest: number(row[8]), Shared: number(row[9]) != 0,
		Presence: registry.Presence{Gone: number(row[11]) != 0, Since: number(row[12]), After: number(row[13])},
		State:    v1.State(text(row[14])), As: text(row[15]), Model: text(row[16]),
	}
	d.Judged, _ = row[17].([]byte)
	d.Label, d.Labelled, d.Locked = text(row[19]), number(row[20]), number(row[21]) != 0
	d.Ignored = number(row[22]) != 0
	if macs := text(row[18]); macs != "" { // the row is not of the first version
		if err := json.Unmarshal([]byte(macs), &d.MACs); err != nil {
			return d, fmt.Errorf("macs: %w", err)
		}
	}
	for line := range strings.Lines(text(row[10])) {
		var a registry.SavedAddress
		if _, err := fmt.Sscan(line, textOf{&a.Addr}, &a.Last, &a.Back); err != nil {
			return d, fmt.Errorf("addresses: %w", err)
		}
		d.Addresses = append(d.Addresses, a)
	}
	return d, nil
}

// textOf scans what reads text.
type textOf struct{ encoding.TextUnmarshaler }

// Scan implements fmt.Scanner.
func (t textOf) Scan(state fmt.ScanState, _ rune) error {
	word, err := state.Token(true, nil)
	if err != nil {
		return err
	}
	return t.UnmarshalText(word)
}

func eventRow(e *v1.Event) []any {
	return []any{int64(e.Seq), e.Time.UnixMicro(), e.Event, optional(e.Device), optional(e.Label), optional(e.Path), optional(e.Old), optional(e.New)}
}

func eventOf(row []any) v1.Event {
	return v1.Event{
		Seq: uint64(number(row[0])), Time: v1.UnixMicro(number(row[1])), Event: text(row[2]), Device: pointer(row[3]), Label: pointer(row[4]),
		Path: pointer(row[5]), Old: pointer(row[6]), New: pointer(row[7]),
	}
}

// number and text are a column's value; the zero value where it has another type.
func number(v any) int64 { n, _ := v.(int64); return n }
func text(v any) string  { s, _ := v.(string); return s }

func pointer(v any) *string {
	if s, ok := v.(string); ok {
		return &s
	}
	return nil
}

func optional(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

// blob is bytes, or no value: SQLite does not tell an empty one from none.
func blob(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

func boolean(v bool) int64 {
	if v {
		return 1
	}
	return 0
}
