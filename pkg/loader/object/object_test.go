package object

import (
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/iotsense/iotsense/gen"
)

func compiled(t *testing.T) *ebpf.CollectionSpec {
	t.Helper()
	spec, err := gen.LoadIotsense()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// However many CPUs share a ring, one of them wakes the reader before half of it is taken.
func TestWakeBytes(t *testing.T) {
	for _, ring := range []int{MinRingSize, DefaultRingSize} {
		for _, cpus := range []int{1, 2, 3, 4, 16, 17, 256, 8192} {
			bytes := int(Config{RingSize: ring}.constants(cpus).WakeBytes)
			if bytes&(bytes-1) != 0 || bytes*cpus > ring/4 || bytes*cpus <= ring/16 {
				t.Errorf("ring of %d, %d CPUs: each wakes the reader every %d bytes", ring, cpus, bytes)
			}
		}
	}
}

// Verifiers before Linux 6.4 refuse a loop that ends in anything but a jump. The
// compiler decides that, so the object itself is looked at.
func TestLoopsEndInAJump(t *testing.T) {
	for name, program := range compiled(t).Programs {
		if from, to, found := fallThroughLoop(program.Instructions); found {
			t.Errorf("%s: instruction %d falls through into %d, where its loop begins", name, from, to)
		}
	}
	loop := asm.Instructions{
		asm.Mov.Imm(asm.R0, 0),                              // 0
		asm.Ja.Label("middle"),                              // 1
		asm.Add.Imm(asm.R0, 1).WithSymbol("end"),            // 2 falls through into 3
		asm.JGT.Imm(asm.R0, 9, "exit").WithSymbol("middle"), // 3
		asm.Ja.Label("end"),                                 // 4
		asm.Return().WithSymbol("exit"),                     // 5
	}
	for i, offset := range map[int]int16{1: 1, 3: 1, 4: -3} {
		loop[i].Offset = offset
	}
	if from, to, found := fallThroughLoop(loop); !found || from != 2 || to != 3 {
		t.Errorf("a loop that falls through: from %d to %d, %v", from, to, found)
	}
}

// Where a packet looks twice, what it has read between is read by an atomic operation
// that returns it: a load could come after the second look on arm64.
func TestSecondLookIsOrdered(t *testing.T) {
	spec := compiled(t)
	for _, name := range []string{gen.IotsenseProgIotsenseRest, gen.IotsenseProgIotsenseRestXdp} {
		var sizes []asm.Size
		ordered := false // read, and not looked yet
		for _, ins := range spec.Programs[name].Instructions {
			switch op := ins.OpCode; {
			case op.Class().IsStore() && op.Mode() == asm.AtomicMode && op.AtomicOp() == asm.FetchOr:
				ordered = true
				sizes = append(sizes, op.Size())
			case ordered && op.JumpOp() == asm.Call:
				if ins.Constant != int64(asm.FnMapLookupElem) {
					t.Errorf("%s: %v where a lookup should follow what was read", name, ins)
				}
				ordered = false
			}
		}
		if slices.Sort(sizes); !slices.Equal(sizes, []asm.Size{asm.Word, asm.DWord}) {
			t.Errorf("%s: %v, want a life and a MAC's share read so", name, sizes)
		}
	}
}

// fallThroughLoop walks a program as the verifier does (check_cfg): depth first,
// the next instruction before the target of a jump.
func fallThroughLoop(program asm.Instructions) (from, to int, found bool) {
	code := map[int]asm.Instruction{}
	size := map[int]int{}
	for i := program.Iterate(); i.Next(); {
		code[int(i.Offset)] = *i.Ins
		size[int(i.Offset)] = int(i.Ins.Size()) / asm.InstructionSize
	}
	const open, done = 1, 2
	state := map[int]int{}
	var walk func(at int) bool
	walk = func(at int) bool {
		state[at] = open
		defer func() { state[at] = done }()
		next, target := at+size[at], -1
		falls := true // the edge to next comes from no jump
		switch op := code[at].OpCode.JumpOp(); op {
		case asm.Exit:
			return false
		case asm.Ja:
			next, falls = at+1+int(code[at].Offset), false
		case asm.InvalidJumpOp, asm.Call:
		default:
			target, falls = at+1+int(code[at].Offset), false
		}
		for _, n := range []int{next, target} {
			switch {
			case n < 0:
			case state[n] == open && falls:
				from, to, found = at, n, true
				return true
			case state[n] == 0 && walk(n):
				return true
			}
		}
		return false
	}
	walk(0)
	return from, to, found
}
