package recordfile

// This file puts the rows of other tools' files in order: what has been through Spark,
// dask or pandas may be shuffled, and a window is of records that follow each other.

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/flows"
)

// rowTime is what a row's place in its stream depends on.
type rowTime struct {
	device, capture string
	first           int64
}

// times reads of every row what its order depends on.
func (f *recordsFile) times(ctx context.Context) ([]rowTime, error) {
	var times []rowTime
	for g, group := range f.meta.RowGroups {
		start, rows := len(times), group.NumRows
		if rows < 0 || int64(start)+rows > parquetRows {
			return nil, fmt.Errorf("more than %d rows: cut the file in parts", parquetRows)
		}
		for i, c := range f.columns {
			if c.name != colDevice && c.name != colCapture && c.name != colFirstSeen {
				continue
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			err := f.readValues(g, i, 0, int(rows), func(i int, v value) error {
				if start+i == len(times) { // grows with what really comes
					times = append(times, rowTime{})
				}
				return times[start+i].set(c, v, f.names)
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return times, nil
}

func (t *rowTime) set(c recordColumn, v value, names names) (err error) {
	if c.name == colFirstSeen {
		t.first, _, err = c.integer(v)
		return err
	}
	name, err := names.of(v)
	if err != nil {
		return err
	}
	if c.name == colDevice {
		t.device = name
	} else {
		t.capture = name
	}
	return nil
}

// ranks are the places of the rows when each device's in each capture are in order of
// time; nil where they are already. Files of Writer are in the order in which the
// packets arrived, which a clock that was set does not change.
func (f *recordsFile) ranks(ctx context.Context) ([]int32, error) {
	if strings.HasPrefix(f.meta.CreatedBy, recordsWriter) {
		return nil, nil
	}
	times, err := f.times(ctx)
	if err != nil || inOrder(times) {
		return nil, err
	}
	rows := make([]int32, len(times))
	for i := range rows {
		rows[i] = int32(i)
	}
	slices.SortStableFunc(rows, func(a, b int32) int { return cmp.Compare(times[a].first, times[b].first) })
	ranks := make([]int32, len(rows))
	for rank, row := range rows {
		ranks[row] = int32(rank)
	}
	return ranks, nil
}

func inOrder(times []rowTime) bool {
	type stream struct{ device, capture string }
	last := map[stream]int64{}
	for _, t := range times {
		s := stream{t.device, t.capture}
		if before, ok := last[s]; ok && t.first < before {
			return false
		}
		last[s] = t.first
	}
	return true
}

// readOrdered gives the records by their ranks. It reads the file as often as it takes to
// keep no more than so many of them.
func (f *recordsFile) readOrdered(ctx context.Context, ranks []int32, most int, emit func(flows.LabelledRecord) error) error {
	for from := 0; from < len(ranks); from += most {
		kept := make([]flows.LabelledRecord, min(most, len(ranks)-from))
		err := f.readRows(ctx, func(row int, r flows.LabelledRecord) error {
			if at := int(ranks[row]) - from; at >= 0 && at < len(kept) {
				kept[at] = r
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, r := range kept {
			if err := emit(r); err != nil {
				return err
			}
		}
	}
	return nil
}
