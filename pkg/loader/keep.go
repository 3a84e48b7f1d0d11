package loader

// This file takes over from a sensor that has ended, and leaves the programs to the next.

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/keep"
	"github.com/iotsense/iotsense/pkg/loader/object"
)

// Keeper is a sink whose counts and open lives the next sensor's sink goes on with. Its
// methods are called as those of the sink are.
type Keeper interface {
	flows.Sink
	// Counts are numbers that are kept after each Close, KeeperWords at most.
	Counts() []uint64
	// Save gives what an orderly end hands over.
	Save() ([]byte, error)
	// Restore gives back what Counts and Save gave last; saved is nil where the sensor did not
	// end in order. ended are the packets of all lives that the sink has got, or never will:
	// those that a killed sensor had taken from the kernel.
	Restore(counts []uint64, saved []byte, ended uint64) error
}

// Places of the ledger's numbers.
const (
	atPackets    = iota // of lives that the kernel has told of
	atLives             // such lives
	atCollecting        // as many of the marked list are being collected; 0: none
	atSink              // from here on those of the sink
	// KeeperWords is how many numbers a Keeper may count.
	KeeperWords = keep.Words - atSink
)

// ends are lives that the kernel has told of.
type ends struct{ packets, lives uint64 }

// note counts lives that the kernel has told of: no list is being collected any more.
func (k *Kernel) note(list []flows.Close) {
	for i := range list {
		k.ends.packets += list[i].Packets[0] + list[i].Packets[1]
	}
	k.ends.lives += uint64(len(list))
	k.ledger.Set(atPackets, k.ends.packets, k.ends.lives, 0)
}

func (k *Kernel) noteSink() {
	if keeper, ok := k.sink.(Keeper); ok && k.ledger != nil {
		k.ledger.Set(atSink, keeper.Counts()...)
	}
}

// handover is what an orderly end hands over beside the maps.
type handover struct {
	Pending []flows.Close // see Kernel
	Sink    []byte
}

// openKept loads the programs, with the maps of the sensor before where they fit.
func (k *Kernel) openKept(programs []string) error {
	fresh := k.cfg.object()
	if k.pins == nil || k.cfg.Keep == nil {
		if k.pins != nil {
			k.pins.clear(k.log)
		} else if k.cfg.Keep != nil {
			k.log.Warn("nothing is kept for the next sensor, and nothing taken over: there are no pins")
		}
		return k.loadPrograms(fresh, programs)
	}
	meta, err := keep.NewMeta(string(k.cfg.Hook), k.cfg.Interfaces)
	if err != nil {
		return err
	}
	kept, err := keep.Load(k.cfg.Pin, meta)
	if kept != nil {
		defer kept.Close()
		adopting := fresh
		if err == nil {
			err = adopting.Adopt(kept.Maps)
		}
		if err == nil {
			err = k.loadPrograms(adopting, programs)
		}
		if err == nil {
			k.kept, k.ledger = kept, kept.Ledger
			return k.stage()
		}
		k.refuse(kept, err)
	} else {
		k.log.Info("no sensor before has left anything to take over, counters begin at 0")
	}
	k.pins.clear(k.log)
	if err := k.loadPrograms(fresh, programs); err != nil {
		return err
	}
	if k.ledger, err = keep.NewLedger(meta); err != nil {
		return err
	}
	return k.stage()
}

func (k *Kernel) stage() (err error) {
	if k.handover, err = keep.NewHandover(); err != nil {
		return err
	}
	return keep.Stage(k.cfg.Pin, k.ledger, k.handover, k.programs, k.maps)
}

// refuse says what is lost where the sensor before cannot be taken over from.
func (k *Kernel) refuse(kept *keep.Kept, why error) {
	lost := []any{"why", why}
	if m := kept.Maps[gen.IotsenseMapFlows]; m != nil {
		if lives, packets, err := object.Entries(m); err == nil {
			lost = append(lost, "lost_flows", lives, "their_packets", packets)
		}
	}
	k.log.Warn("nothing is taken over from the sensor before, counters begin anew", lost...)
	_ = kept.Ledger.Close()
}

// takeOver goes on where the sensor before was, however it ended.
func (k *Kernel) takeOver() error {
	if k.kept == nil {
		return nil
	}
	if err := k.closing(0); err != nil {
		return fmt.Errorf("begin where the sensor before was: %w", err)
	}
	numbers := k.ledger.All()
	k.ends = ends{numbers[atPackets], numbers[atLives]}
	k.inClosed, k.closed = k.ends.packets, k.ends.lives
	var h handover
	how := "in order"
	switch text := k.kept.Handover; {
	case text == nil:
		how = "not in order: records of open flows will be incomplete"
	case json.Unmarshal(text, &h) != nil:
		how = "by another build, whose open flows this one cannot read: their records will be incomplete"
		h = handover{}
	}
	k.pending, k.given = h.Pending, h.Sink
	for _, c := range k.pending {
		k.inClosed -= c.Packets[0] + c.Packets[1]
		k.closed--
	}
	if n := numbers[atCollecting]; n > 0 {
		if err := k.readCollected(uint32(n)); err != nil {
			return err
		}
	}
	c, err := k.counters()
	if err != nil {
		return err
	}
	k.refusals.count = c.Refused
	k.log.Info("taken over from the sensor before", "ended", how, "seen", c.Seen, "open_flows", c.Opened-k.closed)
	return nil
}

// resume gives a sink that has come what that of the sensor before had.
func (k *Kernel) resume() error {
	keeper, ok := k.sink.(Keeper)
	if k.kept == nil || !ok {
		return nil
	}
	counts := k.ledger.All()[atSink:]
	err := keeper.Restore(counts, k.given, k.inClosed)
	if err != nil && k.given != nil { // another build's, maybe
		k.log.Error("records of open flows will be incomplete", "error", err)
		err = keeper.Restore(counts, nil, k.inClosed)
	}
	k.kept, k.given = nil, nil
	if err != nil {
		return fmt.Errorf("take over from the sensor before: %w", err)
	}
	return nil
}

// handBack leaves to the next sensor what this one has taken over and done nothing with.
func (k *Kernel) handBack() (err error) {
	if k.kept.Handover != nil && k.handover != nil {
		err = k.handover.Put(k.kept.Handover)
	}
	if k.watcher != nil {
		err = errors.Join(err, k.watcher.Leave())
	}
	k.pins.unlock()
	return err
}

// commitKept has what this sensor pins be what is kept.
func (k *Kernel) commitKept() {
	if k.ledger == nil {
		return
	}
	// Programs of the sensor before that still run go on to others by what is replaced.
	if err := errors.Join(k.grace.wait(), keep.Commit(k.cfg.Pin)); err != nil {
		k.log.Error("the next sensor will not take over", "error", err)
	}
}

// leave tells the sink of what has ended, and hands over the rest. The programs stay on.
func (k *Kernel) leave() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	ended := len(k.pending)
	if err := errors.Join(keep.Holds(k.cfg.Pin), k.grace.wait()); err != nil {
		return err
	}
	if err := k.read(); err != nil {
		return err
	}
	k.ended = append(k.ended, k.pending[:ended]...)
	k.pending = append(k.pending[:0], k.pending[ended:]...)
	for len(k.ended) > 0 {
		k.closeSome(closeBatch)
		k.mu.Unlock() // whoever asks meanwhile is answered
		k.mu.Lock()
	}
	k.noteSink()
	k.left = true
	if err := k.handOver(); err != nil {
		k.log.Error("records of open flows will be incomplete", "error", err)
	}
	k.sink = nil // nothing more is taken from the ring
	return nil
}

// handOver gives the next sensor what no map has.
func (k *Kernel) handOver() error {
	h := handover{Pending: k.pending}
	if keeper, ok := k.sink.(Keeper); ok {
		var err error
		if h.Sink, err = keeper.Save(); err != nil {
			return err
		}
	}
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	return k.handover.Put(text)
}
