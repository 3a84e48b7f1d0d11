package stream_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
	"github.com/iotsense/iotsense/pkg/model/stream"
	"github.com/iotsense/iotsense/pkg/model/stream/streamtest"
)

// file is a model file of the network, and the model.
func file(t *testing.T) (*model.Model, []byte) {
	t.Helper()
	m := streamtest.Model(rand.New(rand.NewPCG(7, 1)), streamtest.Architecture(), classes)
	var text bytes.Buffer
	if err := m.Write(&text); err != nil {
		t.Fatal(err)
	}
	return m, text.Bytes()
}

func TestFileRoundTrip(t *testing.T) {
	m, text := file(t)
	got, err := model.Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, m) {
		t.Error("the model read is not the model written")
	}
	var again bytes.Buffer
	if err := got.Write(&again); err != nil || !bytes.Equal(text, again.Bytes()) {
		t.Errorf("writing the model again gives other bytes, %v", err)
	}
}

// The parameters are those that docs/MODEL.md says.
func TestDefaultParameters(t *testing.T) {
	m := streamtest.Model(rand.New(rand.NewPCG(7, 1)), stream.DefaultArchitecture(), 27)
	if got := m.Parameters(); got != 123307 {
		t.Errorf("%d parameters", got)
	}
}

// A file whose sizes are absurd, contradict each other or its tensors is refused by
// name, before anything of those sizes is made.
func TestHostileFiles(t *testing.T) {
	_, text := file(t)
	for _, c := range []struct{ old, new, want string }{
		{`"kind":"stream"`, `"kind":"strewn"`, "no network of kind"},
		{`"units":64`, `"units":0`, "units is 0"},
		{`"units":64`, `"units":4000000000`, "units is 4000000000"},
		{`"units":64`, `"units":-3`, "units is -3"},
		{`"units":64`, `"units":65`, "numbers.weight has shape"},
		{`"units":64`, `"units":6.5`, "architecture"},
		{`"buckets":2048`, `"buckets":1048576`, "buckets is 1048576"},
		{`"buckets":2048`, `"buckets":2047`, "tokens.weight has shape"},
		{`"width":32`, `"width":1025`, "width is 1025"},
		{`"flows":20`, `"flows":0`, "flows is 0"},
		{`"flows":20`, `"flows":43`, "43 flows of 144 values are 24768 bytes a device"},
		{`"hidden":100`, `"hidden":0`, "hidden is 0"},
		{`"hidden":100`, `"hidden":99`, "dense1.weight has shape"},
		{`"dropout":0.3`, `"dropout":1`, "dropout"},
		{`[68,123,5353]`, `[68,68,5353]`, "own_ports"},
		{`[68,123,5353]`, `[-1,123,5353]`, "own_ports"},
		{`[68,123,5353]`, `[68,123,10000]`, "own_ports"},
		{`[53,80,443]`, `[53,80,32768]`, "remote_ports"},
		{`[53,80,443]`, `[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25]`, "25 remote_ports"},
	} {
		t.Run(c.new, func(t *testing.T) {
			_, err := model.Read(bytes.NewReader(reshaped(t, text, c.old, c.new)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// reshaped is a model file with another architecture.
func reshaped(t *testing.T, text []byte, old, new string) []byte {
	t.Helper()
	n := binary.LittleEndian.Uint64(text)
	var header map[string]any
	if err := json.Unmarshal(text[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	metadata := header["__metadata__"].(map[string]any)
	shape := metadata["architecture"].(string)
	if !strings.Contains(shape, old) {
		t.Fatalf("no %s in %s", old, shape)
	}
	metadata["architecture"] = strings.Replace(shape, old, new, 1)
	changed, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(changed))), changed...), text[8+n:]...)
}

// A network that needs no padding judges strictly from the paper's K-th row on, unless
// it remembers fewer.
func TestStrict(t *testing.T) {
	for flows, want := range map[int]int{20: 5, 5: 5, 3: 3} {
		n := &stream.Net{Arch: stream.Architecture{Flows: flows}}
		if first := model.Strict.First(n.Strict()); first != want-1 || model.Padded.First(n.Strict()) != 0 {
			t.Errorf("of %d flows: the first row judged is number %d, want %d", flows, first, want-1)
		}
	}
}

// What the convolution adds up has the same bits on every machine: products are
// rounded before they are added, which Go leaves to each.
func TestTableHasTheSameBitsEverywhere(t *testing.T) {
	m := streamtest.Model(rand.New(rand.NewPCG(7, 1)), streamtest.Architecture(), classes)
	var table conv.ByteTable
	stream.Tabulate(&table, &streamtest.Net(m).Weights)
	sum := crc32.NewIEEE()
	if err := binary.Write(sum, binary.LittleEndian, table[:]); err != nil {
		t.Fatal(err)
	}
	if got := sum.Sum32(); got != 0xf4000099 {
		t.Errorf("checksum %#x, want that of every machine", got)
	}
}
