package model

// ComputePadding makes the engine compute padding like every other value, so
// that only the sliding window saves work.
func (e *Engine) ComputePadding() { e.net.whole = true }
