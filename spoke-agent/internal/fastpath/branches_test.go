// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// A twin is a program with a note on each way out of each conditional jump: the octet of a map that says "a packet came
// along here". All else is the program's own instructions, so what the stories do with a twin, they do with the program.

// branch is one way out of a conditional jump.
type branch struct {
	program string
	// line of C that the jump comes from, and the jump.
	line, jump string
	taken      bool
}

func (b branch) String() string {
	return fmt.Sprintf("%s: %q: %s (taken: %v)", b.program, b.line, b.jump, b.taken)
}

// forVerifier is what C says of branches that no packet can take: the verifier can't see that they are never taken.
const forVerifier = "// for the verifier"

type twins struct {
	notes    *ebpf.Map
	branches []branch
	faults   *ebpf.Map
	calls    []call
	programs map[string]*ebpf.Program
	close    func()
}

// newTwins loads the twins of all programs, on the maps of f.
func newTwins(f *Fastpath, notes, faults *ebpf.Map) (*twins, error) {
	w := &twins{notes: notes, faults: faults, programs: map[string]*ebpf.Program{}}
	spec, err := loadGateway()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{gatewayProgTomboloIn, gatewayProgTomboloOut, gatewayProgTomboloSlowIn, gatewayProgTomboloXdp,
		gatewayProgTomboloPod, gatewayProgTomboloSwitch} {
		p := spec.Programs[name]
		p.Instructions = w.annotate(name, p.Instructions)
		p.Name = strings.Replace(name, "tombolo", "twin", 1)
	}
	spec.Programs[slowInTunnelled] = tunnelled(spec.Programs[gatewayProgTomboloSlowIn])
	loaded, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: f.maps})
	if err != nil {
		return nil, fmt.Errorf("load twins: %w", err)
	}
	w.programs, w.close = loaded.Programs, loaded.Close
	return w, nil
}

// startsFunction is true of the first instruction of a function that a program calls; only those have symbols.
func startsFunction(ins asm.Instruction) bool { return ins.Symbol() != "" }

func isConditional(ins asm.Instruction) bool {
	op := ins.OpCode.JumpOp()
	return ins.OpCode.Class().IsJump() && op != asm.Call && op != asm.Exit && op != asm.Ja
}

func isJump(ins asm.Instruction) bool {
	return isConditional(ins) || ins.OpCode.Class().IsJump() && ins.OpCode.JumpOp() == asm.Ja
}

// annotate returns the program with its notes. Jumps get names for where they go, for the assembler to count anew.
func (w *twins) annotate(name string, insns asm.Instructions) asm.Instructions {
	insns = slices.Clone(insns)
	targets, scratch := jumpTargets(insns), stackBelow(insns)
	state := initialized(insns, targets)
	label := func(i int) string { return fmt.Sprintf("%s_%d", name, i) }
	for i, ins := range insns {
		if isJump(ins) {
			insns[i] = ins.WithReference(label(targets[i]))
			insns[i].Offset = -1
		}
	}
	isTarget := map[int]bool{}
	for _, to := range targets {
		isTarget[to] = true
	}
	var out, detours asm.Instructions
	line := ""
	for i, ins := range insns {
		if i > 0 && startsFunction(ins) { // no jump may lead out of a function
			out, detours = append(out, detours...), nil
		}
		if isTarget[i] {
			ins = ins.WithSymbol(label(i))
		}
		if source := ins.Source(); source != nil {
			line = strings.TrimSpace(source.String())
		}
		if !isConditional(ins) {
			out = append(out, w.failing(name, line, ins)...)
			continue
		}
		jump := fmt.Sprintf("%v", ins)
		detour := fmt.Sprintf("%s_detour_%d", name, i)
		taken := w.note(branch{name, line, jump, true}, state[i], scratch)
		taken[0] = taken[0].WithSymbol(detour)
		detours = append(append(detours, taken...), asm.Ja.Label(label(targets[i])))
		out = append(append(out, ins.WithReference(detour)), w.note(branch{name, line, jump, false}, state[i], scratch)...)
	}
	return append(out, detours...)
}

// note writes 1 into the branch's octet. It needs a register, and saves it when the program may still want it.
func (w *twins) note(b branch, r0InUse bool, scratch int16) asm.Instructions {
	offset := uint32(len(w.branches))
	w.branches = append(w.branches, b)
	insns := asm.Instructions{
		asm.LoadMapValue(asm.R0, w.notes.FD(), offset),
		asm.StoreImm(asm.R0, 0, 1, asm.Byte),
	}
	if !r0InUse {
		return insns
	}
	return append(append(asm.Instructions{asm.StoreMem(asm.RFP, scratch, asm.R0, asm.DWord)}, insns...),
		asm.LoadMem(asm.R0, asm.RFP, scratch, asm.DWord))
}

// jumpTargets returns the index of the instruction that each jump (by index) goes to.
func jumpTargets(insns asm.Instructions) map[int]int {
	index, at := map[asm.RawInstructionOffset]int{}, make([]asm.RawInstructionOffset, len(insns))
	for it := insns.Iterate(); it.Next(); {
		index[it.Offset], at[it.Index] = it.Index, it.Offset
	}
	targets := map[int]int{}
	for i, ins := range insns {
		if isJump(ins) {
			targets[i] = index[asm.RawInstructionOffset(int64(at[i])+1+int64(ins.Offset))]
		}
	}
	return targets
}

// stackBelow is a place on the stack that the program does not use.
func stackBelow(insns asm.Instructions) int16 {
	lowest := int64(0)
	for _, ins := range insns {
		class := ins.OpCode.Class()
		switch {
		case class.IsStore() && ins.Dst == asm.RFP, class.IsLoad() && ins.Src == asm.RFP:
			lowest = min(lowest, int64(ins.Offset))
		case class.IsALU() && ins.OpCode.ALUOp() == asm.Add && ins.OpCode.Source() == asm.ImmSource && ins.Constant < 0:
			lowest = min(lowest, ins.Constant) // an address on the stack, or a number that does no harm
		}
	}
	return int16(lowest&^7 - 8)
}

// initialized says of each instruction whether R0 has a value there on every way to it. Where it has none on some way,
// the verifier would not let the program read it.
func initialized(insns asm.Instructions, targets map[int]int) []bool {
	before := make([]bool, len(insns))
	seen := make([]bool, len(insns))
	type visit struct {
		i  int
		r0 bool
	}
	work := []visit{{0, false}}
	for i, ins := range insns {
		if i > 0 && startsFunction(ins) {
			work = append(work, visit{i, false})
		}
	}
	for len(work) > 0 {
		v := work[len(work)-1]
		work = work[:len(work)-1]
		now := v.r0
		if seen[v.i] {
			now = now && before[v.i]
			if now == before[v.i] {
				continue
			}
		}
		seen[v.i], before[v.i] = true, now
		ins := insns[v.i]
		class := ins.OpCode.Class()
		after := now || (class.IsALU() || class.IsLoad()) && ins.Dst == asm.R0 || class.IsJump() && ins.OpCode.JumpOp() == asm.Call
		if isJump(ins) {
			work = append(work, visit{targets[v.i], after})
		}
		if op := ins.OpCode.JumpOp(); !class.IsJump() || op != asm.Exit && op != asm.Ja {
			work = append(work, visit{v.i + 1, after})
		}
	}
	return before
}
