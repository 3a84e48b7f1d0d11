package sensor

// This file has the next sensor go on where this one ends, see loader.Keeper.

import (
	"encoding/json"
	"fmt"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
)

// handOverBytes is how much payload of open flows is handed over at most.
const handOverBytes = 8 << 20

// Counts implements loader.Keeper.
func (k *sink) Counts() []uint64 {
	s := k.sensor
	s.mu.Lock()
	defer s.mu.Unlock()
	made, c := s.assembler.Stats(), s.counts
	return []uint64{
		made.WithDevice + c.withDevice, made.NoDevice + c.noDevice, made.Records, made.Incomplete,
		c.protocols.TCP, c.protocols.UDP, c.protocols.ICMP, c.protocols.Other,
	}
}

// Save implements loader.Keeper.
func (k *sink) Save() ([]byte, error) {
	k.sensor.mu.Lock()
	defer k.sensor.mu.Unlock()
	text, err := json.Marshal(k.sensor.assembler.Save(handOverBytes))
	if err != nil {
		return nil, fmt.Errorf("save the open flows: %w", err)
	}
	return text, nil
}

// Restore implements loader.Keeper.
func (k *sink) Restore(n []uint64, saved []byte, ended uint64) error {
	var h flows.Handover
	if saved != nil {
		if err := json.Unmarshal(saved, &h); err != nil {
			return fmt.Errorf("read the open flows: %w", err)
		}
	}
	s := k.sensor
	s.mu.Lock()
	defer s.mu.Unlock()
	h.Stats = flows.AssemblerStats{WithDevice: n[0], NoDevice: n[1], Records: n[2], Incomplete: n[3]}
	if lost := int64(ended - n[0] - n[1]); lost > 0 { // by a sensor that was killed: nobody knows whose they were
		h.Stats.NoDevice += uint64(lost)
		s.cfg.Log.Warn("flows that had ended when the sensor before was killed have no record", "packets", lost)
	}
	s.assembler.Restore(&h)
	s.counts = counts{protocols: v1.ProtocolStats{TCP: n[4], UDP: n[5], ICMP: n[6], Other: n[7]}}
	s.early.stir()
	return nil
}
