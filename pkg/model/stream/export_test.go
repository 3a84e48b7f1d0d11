package stream

import (
	"unsafe"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
)

// NewRunnerOn is a runner on one path.
func NewRunnerOn(n *Net, record model.RecordSpec, scaling model.Scaling, path conv.Path) (*Runner, error) {
	return n.runnerOn(record, scaling, path)
}

// MaxTokens is how many tokens a flow has at most.
const MaxTokens = maxTokens

// Room is how many bytes a memory takes.
func Room(m *Memory) int { return cap(m.vectors)*4 + int(unsafe.Sizeof(*m)) }
