package interchange

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// Any bytes give an error, or a model that an engine takes.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.[hko][5en]*")
	if err != nil || len(files) < 6 {
		f.Fatalf("testdata: %v, %v", files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	like := modeltest.Model(rand.New(rand.NewPCG(65, 66)), model.DefaultArchitecture(5), 4)
	like.Record.Packets, like.Record.Payload = 1, 27
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := parse(data)
		if err != nil {
			return
		}
		m, err := n.Model(like, nil)
		if err != nil {
			return
		}
		if _, err := model.NewEngine(m); err != nil {
			t.Errorf("a model that no engine takes: %v", err)
		}
	})
}
