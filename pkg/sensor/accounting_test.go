package sensor_test

// This file holds the test that no packet is lost from the accounts under load:
// TCP as fast as the machine can, and replayed traffic beside it.

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/replay"
)

const (
	shortLoad = 6 * time.Second
	longLoad  = time.Minute
	// loadSpeed makes lives so short that many end under load.
	loadSpeed = 40
)

func TestAccountingUnderLoad(t *testing.T) {
	testenv.Root(t)
	iperf3 := testenv.Tool(t, "iperf3")
	length := shortLoad
	if os.Getenv(longEnv) != "" {
		length = longLoad
	}
	for _, hook := range []attach.Hook{attach.HookTCX, attach.HookTC, attach.HookXDP} {
		t.Run(string(hook), func(t *testing.T) { accountUnderLoad(t, iperf3, hook, length) })
	}
}

func accountUnderLoad(t *testing.T, iperf3 string, hook attach.Hook, length time.Duration) {
	n, err := replay.NewNetwork("load-" + string(hook))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := n.Address(0); err != nil {
		t.Fatal(err)
	}
	sensor := startSensor(t, n, sensorConfig{Hook: hook, Direction: flows.Bi, Speed: loadSpeed})
	server := start(t, n, exec.Command(iperf3, "-s", "-1", "-B", replay.SensorAddr))

	var running sync.WaitGroup
	running.Go(func() {
		out, err := runClient(t.Context(), n, iperf3, length)
		if err != nil {
			t.Errorf("iperf3: %v\n%s", err, out)
		}
	})
	running.Go(func() { playFor(t, n, labFrames(t), hook == attach.HookXDP, length) })
	running.Wait()
	if err := <-server.ended; err != nil {
		t.Errorf("iperf3 server: %v\n%s", err, &server.stderr)
	}

	received, sent, dropped := quietCounters(t, n)
	result := sensor.stop()
	packets := result.Stats.Packets
	if result.Apart > 0 {
		t.Errorf("in_closed was not with_device + no_device in %d answers under load", result.Apart)
	}
	checkIdentities(t, packets)
	want, what := received+sent+dropped, "rx_packets + tx_packets + tx_dropped"
	if hook == attach.HookXDP {
		want, what = received, "rx_packets"
	}
	if packets.Seen != want {
		t.Errorf("seen %d, but %s = %d", packets.Seen, what, want)
	}
	if packets.TableFull != 0 || packets.Malformed != 0 {
		t.Errorf("table full %d, malformed %d: want none", packets.TableFull, packets.Malformed)
	}
	t.Logf("%d packets in %v, %d of them late", packets.Seen, length, packets.Late)
	if least := uint64(length.Seconds()) * 1000; packets.Seen < least {
		t.Errorf("%d packets are no load: want at least %d", packets.Seen, least)
	}
}

// playFor plays the frames again and again.
func playFor(t *testing.T, n *replay.Network, frames []lab.Frame, farEnd bool, length time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	for ctx.Err() == nil {
		if _, err := n.Play(ctx, frames, replay.PlayOptions{Speed: loadSpeed, FarEnd: farEnd}); err != nil && ctx.Err() == nil {
			t.Error(err)
			return
		}
	}
}

// runClient sends from the devices' end to the server behind the sensor.
func runClient(ctx context.Context, n *replay.Network, iperf3 string, length time.Duration) (out []byte, err error) {
	client := func() error {
		seconds := strconv.Itoa(int(length.Seconds()))
		out, err = exec.CommandContext(ctx, iperf3, "-c", replay.SensorAddr, "-t", seconds, "--connect-timeout", "3000").CombinedOutput()
		return err
	}
	for range 20 { // the server may not listen yet
		if err = n.DoDevice(client); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return out, err
}

// quietCounters are the interface's counters once they stand still.
func quietCounters(t *testing.T, n *replay.Network) (received, sent, dropped uint64) {
	t.Helper()
	before := ""
	for range 50 {
		var err error
		if received, sent, dropped, err = n.Counters(); err != nil {
			t.Fatal(err)
		}
		now := fmt.Sprint(received, sent, dropped)
		if now == before {
			return received, sent, dropped
		}
		before = now
		time.Sleep(300 * time.Millisecond)
	}
	t.Fatal("traffic does not stop")
	return 0, 0, 0
}
