package recordfile_test

import (
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
)

// What a records file says of itself is compared with what is asked for; one that says
// nothing holds the paper's records.
func TestRecordsFileServes(t *testing.T) {
	for _, tt := range []struct {
		name, metadata string
		want           flows.RecordSpec
		says           string // "": it serves
	}{
		{"the same", `{"direction":"uni","packets":10,"prefix":1000,"payload":3000,"lifetime_ns":60000000000}`, flows.RecordSpec{Direction: flows.Uni}, ""},
		{"only the direction", `{"direction":"bi"}`, flows.RecordSpec{}, ""},
		{"more than asked for", `{"direction":"bi"}`, flows.RecordSpec{Packets: 3, Prefix: 10, Payload: 100}, ""},
		{"another direction", `{"direction":"uni"}`, flows.RecordSpec{}, "of direction uni, not bi"},
		{"another lifetime", `{"direction":"bi","lifetime_ns":30000000000}`, flows.RecordSpec{}, "live 30s, not 1m0s"},
		{"too little payload", `{"direction":"bi"}`, flows.RecordSpec{Payload: 6000}, "3000 payload values, wanted are 10 of 1000 in 6000"},
		{"nothing, and the paper's do", `{}`, flows.RecordSpec{}, ""},
		{"nothing, and more is wanted", `{}`, flows.RecordSpec{Payload: 6000}, "payload values"},
		{"an unknown direction", `{"direction":"up"}`, flows.RecordSpec{}, ""},
	} {
		spec, _ := recordfile.Spec(map[string]string{recordfile.SpecKey: tt.metadata})
		err := spec.Serve(tt.want)
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
}
