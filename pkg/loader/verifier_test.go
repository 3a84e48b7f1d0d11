package loader

// This file watches what the verifier has to do for the programs. The figures are
// in docs/KERNELS.md, which scripts/kernels.sh renews.

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/loader/object"
	"github.com/iotsense/iotsense/pkg/loader/probe"
)

// record asks for lines of the table instead of a comparison with it.
var record = flag.Bool("record", false, "print the verifier's figures for docs/KERNELS.md, compare nothing")

const (
	kernelsDoc = "../../docs/KERNELS.md"
	// mostGrowth is how many times the checked-in figure a program may take.
	mostGrowth = 1.2
	// loadColumn is the time from nothing to programs in the kernel.
	loadColumn = "load, ms"
)

func TestVerifiedInstructions(t *testing.T) {
	testenv.Root(t)
	programs := allPrograms(t)
	got := map[string]int{}
	s := newKernel(t, Config{Prefix: object.MaxPrefix}, programs...)
	for _, name := range programs {
		info, err := s.programs[name].Info()
		if err != nil {
			t.Fatal(err)
		}
		n, ok := info.VerifiedInstructions()
		if !ok {
			t.Fatalf("%s: this kernel does not count verified instructions", name)
		}
		got[name] = int(n)
	}
	if *record {
		fmt.Println(recordedLine(kernelKey(t), programs, got, loadTime(t)))
		return
	}
	table := readFigures(t)
	for _, name := range programs {
		if err := checkGrowth(table, kernelKey(t), name, got[name]); err != nil {
			t.Error(err)
		}
	}
}

// allPrograms are the names of the compiled programs, sorted.
func allPrograms(t *testing.T) []string {
	spec, err := gen.LoadIotsense()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(spec.Programs))
}

// loadTime is how long `run` takes to load its programs and maps: the least of three.
func loadTime(t *testing.T) time.Duration {
	least := time.Hour
	for range 3 {
		start := time.Now()
		s, err := load(Config{Interfaces: []string{"lo"}, Prefix: object.MaxPrefix})
		took := time.Since(start)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		least = min(least, took)
	}
	return least
}

// kernelKey names the running kernel as the table does: 6.12 arm64 16K.
func kernelKey(t *testing.T) string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	parts := strings.SplitN(unix.ByteSliceToString(name.Release[:]), ".", 3)
	if len(parts) < 3 {
		t.Fatalf("kernel release %q: want x.y.z", name.Release)
	}
	key := parts[0] + "." + parts[1] + " " + runtime.GOARCH
	if size := os.Getpagesize(); size != 4<<10 {
		key += fmt.Sprintf(" %dK", size>>10)
	}
	return key
}

// recordedLine is a row of the table, below its header.
func recordedLine(key string, programs []string, count map[string]int, load time.Duration) string {
	head, row := "| kernel", "| "+key
	for _, name := range programs {
		head += " | " + name
		row += fmt.Sprintf(" | %d", count[name])
	}
	return fmt.Sprintf("figures: %s | %s |\nfigures: %s | %.1f |", head, loadColumn, row, float64(load.Microseconds())/1e3)
}

// figures are verified instructions by kernel and program.
type figures map[string]map[string]int

func readFigures(t *testing.T) figures {
	text, err := os.ReadFile(kernelsDoc)
	if err != nil {
		t.Fatal(err)
	}
	table, err := parseFigures(string(text))
	if err != nil {
		t.Fatalf("%s: %v", kernelsDoc, err)
	}
	return table
}

// parseFigures reads the table whose first column is headed "kernel" and whose
// last is the load time.
func parseFigures(text string) (figures, error) {
	table := figures{}
	var names []string
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case names == nil && cells[0] == "kernel" && cells[len(cells)-1] == loadColumn:
			names = cells
		case names == nil || strings.HasPrefix(cells[0], "---"):
		case len(cells) != len(names):
			return table, nil
		default:
			row := map[string]int{}
			for i := 1; i < len(cells)-1; i++ {
				n, err := strconv.Atoi(cells[i])
				if err != nil {
					return nil, fmt.Errorf("figure of %s for %s: %w", names[i], cells[0], err)
				}
				row[names[i]] = n
			}
			table[cells[0]] = row
		}
	}
	if len(table) == 0 {
		return nil, errors.New("it has no table of verified instructions: scripts/kernels.sh makes it")
	}
	return table, nil
}

// checkGrowth compares with the figure for that kernel, or for a kernel that is
// not in the table with the highest one there.
func checkGrowth(table figures, kernel, program string, got int) error {
	want, known := table[kernel][program]
	if !known {
		for _, row := range table {
			want = max(want, row[program])
		}
	}
	if want == 0 {
		return fmt.Errorf("%s: no figure in %s: scripts/kernels.sh records it", program, kernelsDoc)
	}
	if float64(got) > mostGrowth*float64(want) {
		return fmt.Errorf("%s on %s: the verifier goes through %d instructions, %.0f %% more than the recorded %d: make it simpler, or record it with scripts/kernels.sh and say why",
			program, kernel, got, 100*(float64(got)/float64(want)-1), want)
	}
	return nil
}

func TestCheckGrowth(t *testing.T) {
	table, err := parseFigures(`
| kernel | a | b | load, ms |
| --- | --: | --: | --: |
| 6.1 amd64 | 1000 | 50 | 12.5 |
| 6.12 arm64 16K | 2000 | 60 | 12.5 |

| kernel | what else |
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		kernel, program string
		got             int
		grown           string // words of the error; empty: none
	}{
		{"6.1 amd64", "a", 1200, ""},
		{"6.1 amd64", "a", 1201, "20 % more than the recorded 1000"},
		{"6.1 amd64", "b", 61, "22 % more"},
		{"6.12 arm64 16K", "a", 2400, ""},
		{"6.18 amd64", "a", 2400, ""}, // not in the table
		{"6.18 amd64", "a", 2401, "the recorded 2000"},
		{"6.1 amd64", "c", 1, "no figure"},
	} {
		err := checkGrowth(table, tt.kernel, tt.program, tt.got)
		if (err != nil) != (tt.grown != "") || err != nil && !strings.Contains(err.Error(), tt.grown) {
			t.Errorf("%s on %s, %d: %v, want %q", tt.program, tt.kernel, tt.got, err, tt.grown)
		}
	}
	for _, text := range []string{"", "| kernel | a | load, ms |\n| 6.1 | many | 1 |\n"} {
		if _, err := parseFigures(text); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}

// What a kernel lacks is named, whatever its own error says.
func TestUnsupportedKernelIsNamed(t *testing.T) {
	testenv.Root(t)
	_, err := load(Config{Interfaces: []string{"lo"}})
	if err == nil {
		t.Skip("this kernel has everything; `make vmtest` runs this on one that has not")
	}
	t.Log(err)
	spec, loadErr := gen.LoadIotsense()
	if loadErr != nil {
		t.Fatal(loadErr)
	}
	lacking := probe.Lacking(spec)
	_, list, _ := strings.Cut(err.Error(), "this kernel lacks ")
	list, advice, _ := strings.Cut(list, ": ")
	for _, name := range strings.Split(list, ", ") {
		if !slices.Contains(lacking, name) {
			t.Errorf("%q is said to be lacking, the probe found %q", name, lacking)
		}
	}
	if !errors.Is(err, ebpf.ErrNotSupported) || !strings.HasPrefix(advice, "use Linux 6.1 or newer") {
		t.Errorf("the error is no refusal with advice: %v", err)
	}
}
