package replay

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
)

// childEnv makes the test binary build a network and wait to be killed.
const childEnv = "IOTSENSE_TEST_REPLAY_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		leaveNetwork()
	}
	os.Exit(m.Run())
}

// network makes a network for one test.
func network(t *testing.T, purpose string) *Network {
	t.Helper()
	testenv.Root(t)
	n, err := NewNetwork(purpose)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(n.Close(), n.Close()); err != nil {
			t.Errorf("close, twice: %v", err)
		}
	})
	return n
}

func udpFrame(fromDevice bool, size int) []byte {
	payload := packet.UDP(4000, 53, packet.Payload(size-14-20-8))
	f := packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.UDPProto}, payload))
	if !fromDevice {
		copy(f[:12], slices.Concat(packet.DeviceMAC[:], packet.RouterMAC[:]))
	}
	return f
}

// seen is a frame as a packet socket on Interface sees it.
type seen struct {
	at       time.Time
	data     []byte
	outgoing bool
}

// record receives count frames on Interface.
func record(t *testing.T, n *Network, count int) (wait func() []seen) {
	t.Helper()
	fd := -1
	err := n.Do(func() error {
		link, err := netlink.LinkByName(Interface)
		if err != nil {
			return err
		}
		all := uint16(unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8)
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(all)); err != nil {
			return err
		}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Attrs().Index})
	})
	if err != nil {
		t.Fatal(err)
	}
	frames := make(chan []seen, 1)
	go func() {
		var got []seen
		defer func() { frames <- got }()
		defer unix.Close(fd)
		buf := make([]byte, 1<<16)
		for len(got) < count {
			size, from, err := unix.Recvfrom(fd, buf, 0)
			if errors.Is(err, unix.EINTR) {
				continue // signal(7): a socket with a timeout is not restarted after Go's own signals
			}
			if err != nil {
				return
			}
			outgoing := from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING
			got = append(got, seen{time.Now(), bytes.Clone(buf[:size]), outgoing})
		}
	}()
	return func() []seen { return <-frames }
}

func TestPlay(t *testing.T) {
	base := time.Date(2016, 9, 1, 0, 0, 0, 0, time.UTC)
	frames := []lab.Frame{
		{Time: base, Data: udpFrame(true, 60), FromDevice: true},
		{Time: base.Add(200 * time.Millisecond), Data: udpFrame(false, 1514), FromDevice: false},
		{Time: base.Add(200*time.Millisecond - 80*time.Microsecond), Data: udpFrame(true, 70), FromDevice: true}, // steps back
		{Time: base.Add(400 * time.Millisecond), Data: udpFrame(false, 9014), FromDevice: false},                 // jumbo
		{Time: base.Add(600 * time.Millisecond), Data: packet.Ethernet(packet.ARPType, make([]byte, 28)), FromDevice: true},
	}
	tests := []struct {
		name     string
		opts     PlayOptions
		outgoing []bool
		ingress  uint64
		last     time.Duration
	}{
		{"both ends", PlayOptions{Speed: 2}, []bool{false, true, false, true, false}, 3, 300 * time.Millisecond},
		{"far end", PlayOptions{Speed: 4, FarEnd: true}, make([]bool, 5), 5, 150 * time.Millisecond},
		{"as recorded", PlayOptions{}, []bool{false, true, false, true, false}, 3, 600 * time.Millisecond},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := network(t, fmt.Sprintf("test-play%d", i))
			wait := record(t, n, len(frames))
			begin := time.Now()
			played, err := n.Play(t.Context(), frames, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			if played.Frames != 5 || played.Ingress != tt.ingress || played.Bytes != 60+1514+70+9014+42 {
				t.Errorf("played %+v: want 5 frames, %d of them ingress, 10700 bytes", played, tt.ingress)
			}
			got := wait()
			if len(got) != len(frames) {
				t.Fatalf("%d frames arrived, want %d", len(got), len(frames))
			}
			for k, g := range got {
				if !bytes.Equal(g.data, frames[k].Data) || g.outgoing != tt.outgoing[k] {
					t.Errorf("frame %d: %d bytes, outgoing %v; want %d bytes, outgoing %v",
						k, len(g.data), g.outgoing, len(frames[k].Data), tt.outgoing[k])
				}
			}
			// No frame is early, and none later than Played.Latest says: a busy
			// machine may take its time, but the speed must be right.
			const slack = 250 * time.Millisecond // until the receiver has read the clock
			if took := got[4].at.Sub(begin); took < tt.last || took > tt.last+played.Latest+slack {
				t.Errorf("the last frame came after %v, want %v, at most %v late", took, tt.last, played.Latest)
			}
			received, sent, dropped, err := n.Counters()
			if err != nil || received != tt.ingress || sent != 5-tt.ingress || dropped != 0 {
				t.Errorf("counters %d, %d, %d, %v: want %d, %d, 0", received, sent, dropped, err, tt.ingress, 5-tt.ingress)
			}
		})
	}
}

func TestPlayStops(t *testing.T) {
	n := network(t, "test-stop")
	at := func(d time.Duration) time.Time { return time.Unix(0, 0).Add(d) }
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	played, err := n.Play(ctx, []lab.Frame{{Time: at(0), Data: udpFrame(true, 60), FromDevice: true}, {Time: at(time.Hour), Data: udpFrame(true, 60), FromDevice: true}}, PlayOptions{})
	if !errors.Is(err, context.DeadlineExceeded) || played.Frames != 1 || time.Since(begin) > 5*time.Second {
		t.Errorf("played %d frames in %v, error %v: want 1 and the context's error", played.Frames, time.Since(begin), err)
	}
	if _, err := n.Play(t.Context(), []lab.Frame{{Time: at(0), Data: make([]byte, 20000), FromDevice: true}}, PlayOptions{}); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("a frame above the MTU: error %v, want EMSGSIZE", err)
	}
	if played, err := n.Play(t.Context(), nil, PlayOptions{}); err != nil || played.Frames != 0 {
		t.Errorf("no frames: %+v, %v", played, err)
	}
}

func TestNetworkIsSilentAndWireExact(t *testing.T) {
	ethtool := testenv.Tool(t, "ethtool")
	n := network(t, "test-silent")
	check := func(want string) {
		t.Helper()
		for name, do := range map[string]func(func() error) error{Interface: n.Do, DeviceInterface: n.DoDevice} {
			var out []byte
			if err := do(func() (err error) { out, err = exec.Command(ethtool, "-k", name).Output(); return err }); err != nil {
				t.Fatal(err)
			}
			for _, feature := range offloads {
				// ethtool prints rx-gro and tx-generic-segmentation by their old names.
				feature = strings.NewReplacer("rx-gro", "generic-receive-offload", "tx-generic-segmentation", "generic-segmentation-offload").Replace(feature)
				if !regexp.MustCompile(`(?m)^\s*` + feature + `: ` + want).Match(out) {
					t.Errorf("%s of %s is not %s:\n%s", feature, name, want, out)
				}
			}
		}
	}
	check("off")
	for _, on := range []bool{true, false} {
		if err := n.SetOffloads(on); err != nil {
			t.Fatal(err)
		}
		check(map[bool]string{true: "on", false: "off"}[on])
	}
	time.Sleep(300 * time.Millisecond)
	if received, sent, dropped, err := n.Counters(); err != nil || received+sent+dropped != 0 {
		t.Errorf("nothing was played, yet %d received, %d sent, %d dropped, %v", received, sent, dropped, err)
	}
}

func TestStart(t *testing.T) {
	n := network(t, "test-start")
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "cat", "/proc/self/net/dev")
	cmd.Stdout = &out
	ended, err := n.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil || !strings.Contains(out.String(), Interface) {
		t.Errorf("the command ended with %v and saw:\n%s", err, &out)
	}
	if own, err := os.ReadFile("/proc/thread-self/net/dev"); err != nil || strings.Contains(string(own), Interface) {
		t.Errorf("this process sees %s too (error %v)", Interface, err)
	}
	if _, err := n.Start(exec.Command("/does/not/exist")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing command: error %v", err)
	}
}

func TestRemoveStale(t *testing.T) {
	testenv.Root(t)
	kept := network(t, "test-kept")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self)
	child.Env = append(os.Environ(), childEnv+"=1")
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var grandchild int
	if _, err := fmt.Fscan(out, &grandchild); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(runDir, dirName("test-left", child.Process.Pid))
	if err := RemoveStale(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(left); err != nil {
		t.Errorf("the directory of a running process: %v", err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	if err := RemoveStale(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", left, err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for running(grandchild) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d, started on the killed process's network, still runs", grandchild)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := os.Stat(kept.Dir); err != nil {
		t.Errorf("the directory of a network in use: %v", err)
	}
}

// running reports whether the process lives; a zombie that nobody waits for does not.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

// leaveNetwork is the child of TestRemoveStale.
func leaveNetwork() {
	n, err := NewNetwork("test-left")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	sleeper := exec.Command("sleep", "60")
	ended, err := n.Start(sleeper)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(sleeper.Process.Pid)
	<-ended
}

func TestNewNetworkErrors(t *testing.T) {
	network(t, "test-twice")
	if _, err := NewNetwork("test-twice"); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a second network of one name: error %v", err)
	}
}

func TestMerge(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(ms) }
	got := Merge(2*time.Millisecond,
		[]lab.Frame{{Time: at(1000), Data: []byte("a0"), FromDevice: true}, {Time: at(1010), Data: []byte("a10"), FromDevice: true}, {Time: at(1009), Data: []byte("a9"), FromDevice: false}, {Time: at(1012), Data: []byte("a12"), FromDevice: true}},
		nil,
		[]lab.Frame{{Time: at(50), Data: []byte("b0"), FromDevice: true}, {Time: at(61), Data: []byte("b11"), FromDevice: false}},
	)
	var text []string
	for _, f := range got {
		text = append(text, fmt.Sprintf("%s@%d", f.Data, f.Time.UnixMilli()))
	}
	if want := "a0@0 b0@4 a10@10 a9@10 a12@12 b11@15"; strings.Join(text, " ") != want {
		t.Errorf("got  %v\nwant %s", text, want)
	}
}

func TestReadCapture(t *testing.T) {
	at := time.Date(2016, 9, 1, 12, 0, 0, 123456000, time.UTC)
	frames := [][]byte{udpFrame(true, 60), udpFrame(false, 100)}
	write := func(w interface {
		WritePacket(gopacket.CaptureInfo, []byte) error
	}, frames ...[]byte) {
		for _, f := range frames {
			if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(f), Length: len(f)}, f); err != nil {
				t.Fatal(err)
			}
		}
	}
	var pcap, short, raw, pcapng, zipped bytes.Buffer
	for _, c := range []struct {
		to     *bytes.Buffer
		link   layers.LinkType
		frames [][]byte
	}{
		{&pcap, layers.LinkTypeEthernet, frames}, {&short, layers.LinkTypeEthernet, [][]byte{{1, 2, 3}}}, {&raw, layers.LinkTypeRaw, frames},
	} {
		w := pcapgo.NewWriter(c.to)
		if err := w.WriteFileHeader(65535, c.link); err != nil {
			t.Fatal(err)
		}
		write(w, c.frames...)
	}
	ng, err := pcapgo.NewNgWriter(&pcapng, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	write(ng, frames...)
	if err := ng.Flush(); err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(pcap.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		data []byte
		err  string // empty: the two frames
	}{
		{"pcap", pcap.Bytes(), ""},
		{"pcapng", pcapng.Bytes(), ""},
		{"gzip", zipped.Bytes(), ""},
		{"empty", nil, "not a capture"},
		{"text", []byte("capture,mac,label"), "not a pcap or pcapng file"},
		{"cut", pcap.Bytes()[:pcap.Len()-5], "frame 1"},
		{"short frame", short.Bytes(), "3 bytes are no Ethernet frame"},
		{"no Ethernet", raw.Bytes(), "cannot be replayed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "capture")
			if err := os.WriteFile(path, tt.data, 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := ReadCapture(path, flows.MAC(packet.DeviceMAC))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), path) {
					t.Fatalf("error %v: want the file's name and %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := []lab.Frame{{Time: at, Data: frames[0], FromDevice: true}, {Time: at, Data: frames[1], FromDevice: false}}
			if !slices.EqualFunc(got, want, func(x, y lab.Frame) bool {
				return x.Time.Equal(y.Time) && bytes.Equal(x.Data, y.Data) && x.FromDevice == y.FromDevice
			}) {
				t.Errorf("got %v\nwant %v", got, want)
			}
		})
	}
	if _, err := ReadCapture(filepath.Join(t.TempDir(), "none")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("missing file: error %v", err)
	}
}
