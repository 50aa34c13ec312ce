// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// A twin can also be told that a call of a kernel's helper fails, which no packet brings about: an octet of a second map per
// call. What the program does then is held against failsSafely.

// failed has the helpers that can fail, and what they return then: no entry of a map, or -EINVAL.
var failed = map[asm.BuiltinFunc]int32{
	asm.FnMapLookupElem:   0,
	asm.FnSkbLoadBytes:    -22,
	asm.FnSkbStoreBytes:   -22,
	asm.FnSkbPullData:     -22,
	asm.FnSkbAdjustRoom:   -22,
	asm.FnSkbChangeTail:   -22,
	asm.FnSkbChangeHead:   -22,
	asm.FnSkbChangeType:   -22,
	asm.FnL3CsumReplace:   -22,
	asm.FnL4CsumReplace:   -22,
	asm.FnFibLookup:       -22,
	asm.FnSkbGetTunnelKey: -22,
	asm.FnXdpLoadBytes:    -22,
	asm.FnXdpStoreBytes:   -22,
}

// call is where a program asks the kernel for something that can fail.
type call struct{ program, line, helper string }

func (c call) String() string { return fmt.Sprintf("%s: %q: %s fails", c.program, c.line, c.helper) }

// Octets of the map, for each call: told by the test, and noted by the twin.
const (
	callFails = iota
	callMade
	callOctets
)

// failing returns a call that does not take place if the twin is told so. Before a call register 0 is nobody's.
func (w *twins) failing(program, line string, ins asm.Instruction) asm.Instructions {
	value, ok := failed[asm.BuiltinFunc(ins.Constant)]
	if !ok || !ins.IsBuiltinCall() {
		return asm.Instructions{ins}
	}
	offset := uint32(callOctets * len(w.calls))
	w.calls = append(w.calls, call{program, line, fmt.Sprint(asm.BuiltinFunc(ins.Constant))})
	made, skip := asm.JEq.Imm(asm.R0, 0, ""), asm.Ja.Label("")
	made.Offset, skip.Offset = 2, 1
	first := asm.LoadMapValue(asm.R0, w.faults.FD(), offset)
	if name := ins.Symbol(); name != "" { // where a jump leads
		first, ins = first.WithSymbol(name), ins.WithSymbol("")
	}
	return asm.Instructions{
		first,
		asm.StoreImm(asm.R0, callMade, 1, asm.Byte),
		asm.LoadMem(asm.R0, asm.R0, callFails, asm.Byte),
		made,
		asm.Mov.Imm(asm.R0, value),
		skip,
		ins,
	}
}

// made returns the calls that have been made since the last time, and forgets them.
func (w *twins) made() ([]int, error) {
	var octets []byte
	if err := w.faults.Lookup(uint32(0), &octets); err != nil {
		return nil, err
	}
	var made []int
	for i := range w.calls {
		if octets[callOctets*i+callMade] != 0 {
			made = append(made, i)
		}
	}
	return made, w.faults.Put(uint32(0), make([]byte, len(octets)))
}

// result is what a packet causes, as far as failsSafely asks.
type result struct {
	verdict     int32
	packet      []byte
	drops, slow map[string]uint64
}

func (r result) String() string {
	return fmt.Sprintf("verdict %d, %d octets, drops %v, slow %v", r.verdict, len(r.packet), r.drops, r.slow)
}

func resultOf(f *Fastpath, p *ebpf.Program, packet []byte, ctx skbContext) (e result, err error) {
	before, err := f.Counters()
	if err != nil {
		return e, err
	}
	f.epoch.bump() // answers from the cache need fewer calls
	if e.verdict, e.packet, err = runProgram(p, packet, ctx); err != nil {
		return e, err
	}
	after, err := f.Counters()
	e.drops, e.slow = grown(before.Drops, after.Drops), grown(before.Slow, after.Slow)
	return e, err
}

// failures lets the packet through the program once for each call that the packet makes it do, which fails.
func (w *twins) failures(f *Fastpath, name string, packet []byte, ctx skbContext) error {
	p := w.programs[name]
	if _, err := w.made(); err != nil {
		return err
	}
	usual, err := resultOf(f, p, packet, ctx)
	if err != nil {
		return err
	}
	calls, err := w.made()
	if err != nil {
		return err
	}
	var problems []error
	for _, i := range calls {
		octets := make([]byte, w.faults.ValueSize())
		octets[callOctets*i+callFails] = 1
		if err := w.faults.Put(uint32(0), octets); err != nil {
			return err
		}
		got, err := resultOf(f, p, packet, ctx)
		if err != nil {
			return err
		}
		if !w.calls[i].failsSafely(p.Type() == ebpf.XDP, packet, usual, got) {
			problems = append(problems, fmt.Errorf("%v, and it is neither dropped nor passed on well: %v; usually %v", w.calls[i], got, usual))
		}
	}
	if _, err := w.made(); err != nil {
		return err
	}
	return errors.Join(problems...)
}

// failsSafely: what a failed call leaves is dropped and counted, or left to the kernel, counted or as it came, or sent as
// long as usual and with checksums as right as usual: nothing half done leaves the node.
func (c call) failsSafely(xdp bool, packet []byte, usual, got result) bool {
	switch {
	case strings.Contains(c.line, "&tombolo_places") && got.verdict == redirect:
		return true // who does not know where a pod is gives its packet to OVN, or to who does
	case c.program == gatewayProgTomboloPod && bytes.Equal(got.packet, packet):
		return true // left to the integration bridge
	case got.verdict == usual.verdict && bytes.Equal(got.packet, usual.packet):
		return true
	case xdp && got.verdict == xdpPass:
		return bytes.Equal(got.packet, packet)
	case got.verdict == dropped:
		return len(got.drops) == 1
	case got.verdict == next:
		return len(got.slow) == 1 || bytes.Equal(got.packet, packet)
	}
	sent, usually := unpadded(got.packet), unpadded(usual.packet)
	return got.verdict == usual.verdict && len(sent) == len(usually) && slices.Equal(checksums(sent), checksums(usually))
}

// unpadded is a frame without what lies behind its IPv4 packet.
func unpadded(frame []byte) []byte {
	if len(frame) < 34 {
		return frame
	}
	return frame[:min(len(frame), 14+int(binary.BigEndian.Uint16(frame[16:])))]
}

// checksums says which checksums of a frame are right: of each IPv4 header, and of TCP or ICMP in the last one.
func checksums(frame []byte) (right []bool) {
	ip := frame[14:]
	for len(ip) >= 20 && ip[0]>>4 == 4 {
		header := int(ip[0]&15) * 4
		length := min(int(binary.BigEndian.Uint16(ip[2:])), len(ip))
		if header < 20 || length < header {
			return append(right, false)
		}
		right = append(right, onesComplement(ip[:header]) == 0)
		payload := ip[header:length]
		switch {
		case ip[9] == udp && len(payload) > 30 && binary.BigEndian.Uint16(payload[2:]) == 4789:
			ip = payload[30:]
			continue
		case ip[9] == tcp:
			pseudo := binary.BigEndian.AppendUint16(append(bytes.Clone(ip[12:20]), 0, tcp), uint16(len(payload)))
			right = append(right, onesComplement(even(append(pseudo, payload...))) == 0)
		case ip[9] == icmp:
			right = append(right, onesComplement(even(payload)) == 0)
		}
		return right
	}
	return right
}

func even(b []byte) []byte {
	if len(b)%2 == 1 {
		return append(bytes.Clone(b), 0)
	}
	return b
}
