package flows

// This file holds the accounting that the kernel half and the file source share.

import "github.com/iotsense/iotsense/pkg/api/v1"

// PacketStats says what became of every packet, in wire packets.
type PacketStats = v1.PacketStats

// AccountingError says which sum of [PacketStats] does not hold.
type AccountingError = v1.AccountingError
