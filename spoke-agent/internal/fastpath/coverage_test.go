// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// wantCoverage of the branches of each program that a packet can take, in percent.
const wantCoverage = 95

// lessCoverage is for programs that have branches which no packet takes and C can't say so, as they are of functions that other
// programs use too: tombolo_slow_in never ends with TCX_NEXT, and 3 of its 237 branches ask for that.
var lessCoverage = map[string]float64{"tombolo_slow_in": 1.3}

// notesSize is room for a note on each branch.
const notesSize = 1 << 14

// coverage is where runStory lets packets through the twins as well, while TestCoverage runs.
var coverage *recorder

type recorder struct {
	notes, faults *ebpf.Map
	branches      []branch
	twins         map[*Fastpath]*twins
	// byFault are the branches that were taken because a helper failed.
	byFault [notesSize]bool
	// prepare, if any, makes the maps again what they were before the packet.
	prepare func() error
}

// of returns the twins of f's programs.
func (r *recorder) of(f *Fastpath) (*twins, error) {
	if w := r.twins[f]; w != nil {
		return w, nil
	}
	w, err := newTwins(f, r.notes, r.faults)
	if err != nil {
		return nil, err
	}
	r.twins[f], r.branches = w, w.branches
	return w, nil
}

// attach makes the gateway forward real packets with the twins.
func (r *recorder) attach(f *Fastpath, cfg Config) error {
	w, err := r.of(f)
	if err != nil {
		return err
	}
	f.programs.TomboloIn, f.programs.TomboloOut, f.programs.TomboloSlowIn =
		w.programs[gatewayProgTomboloIn], w.programs[gatewayProgTomboloOut], w.programs[gatewayProgTomboloSlowIn]
	f.programs.TomboloPod, f.programs.TomboloSwitch = w.programs[gatewayProgTomboloPod], w.programs[gatewayProgTomboloSwitch]
	return f.Set(cfg)
}

// run sends the packet through the twin of the program, with answers in the cache and without, which changes the maps
// two times more.
func (r *recorder) run(f *Fastpath, p *ebpf.Program, packet []byte, ctx skbContext) error {
	w, err := r.of(f)
	if err != nil {
		return err
	}
	name, ok := map[*ebpf.Program]string{f.programs.TomboloIn: gatewayProgTomboloIn, f.programs.TomboloOut: gatewayProgTomboloOut,
		f.programs.TomboloXdp: gatewayProgTomboloXdp, f.programs.TomboloPod: gatewayProgTomboloPod,
		f.programs.TomboloSwitch: gatewayProgTomboloSwitch}[p]
	if !ok {
		name = slowInTunnelled
	}
	prepared := r.prepare != nil
	if prepared {
		if err := r.prepare(); err != nil {
			return err
		}
		r.prepare = nil
	}
	for range 2 {
		if _, _, err := runProgram(w.programs[name], packet, ctx); err != nil {
			return err
		}
		f.epoch.bump()
	}
	if prepared {
		return nil
	}
	return r.fail(w, f, name, packet, ctx)
}

// fail lets the packet meet failures of the kernel's helpers, and keeps the notes of that apart.
func (r *recorder) fail(w *twins, f *Fastpath, name string, packet []byte, ctx skbContext) error {
	var before, after []byte
	if err := r.notes.Lookup(uint32(0), &before); err != nil {
		return err
	}
	failed := w.failures(f, name, packet, ctx)
	if err := r.notes.Lookup(uint32(0), &after); err != nil {
		return err
	}
	for i := range after {
		r.byFault[i] = r.byFault[i] || after[i] != before[i]
	}
	return errors.Join(failed, r.notes.Put(uint32(0), before))
}

// TestCoverage runs the stories once more and asks which ways out of which conditional jumps of the programs a packet has
// taken. A branch that the stories don't know is one that nobody has seen work.
func TestCoverage(t *testing.T) {
	notes, faults := octets(t, notesSize), octets(t, 1<<12)
	coverage = &recorder{notes: notes, faults: faults, twins: map[*Fastpath]*twins{}}
	defer func() {
		for _, w := range coverage.twins {
			w.close()
		}
		coverage = nil
	}()
	for name, story := range map[string]func(*testing.T){
		"direct in": TestDirectIn, "direct out": TestDirectOut, "switch": TestSwitch, "learn": TestLearn, "memo": TestMemo, "numbers": TestSlots, "direct maps": TestDirectHalfWritten, "direct real packets": coverDirect, "direct, slow in": TestSlowInDirect, "pod's clamp": TestPodClamp, "direct in, tunnel": TestDirectInTunnel,
		"in": TestIn, "out": TestOut, "out slow": TestOutSlow, "in slow": TestInSlow, "slow in": TestSlowIn, "slow in, too big": TestSlowInTooBig, "slow in, encrypted": TestSlowInEncrypted, "to router": TestToRouter, "no slow path": TestOutWithoutTunnel, "clamp": TestClamp, "slow real packets": coverSlow, "encrypted": TestEncrypted, "relay": TestRelay, "xdp": TestXDPPasses, "cache": TestCacheSlots, "maps": TestHalfWritten, "real packets": coverReal,
		"echo": TestEcho, "quiet": TestQuiet, "narrow": TestNarrowPath, "records": TestRecords, "records of nodes": TestRecordsOfNodes, "records of slow in": TestRecordsOfSlowIn,
	} {
		t.Run(name, story)
	}
	var met []byte
	if err := notes.Lookup(uint32(0), &met); err != nil {
		t.Fatal(err)
	}
	reached, all, faulty := map[string]int{}, map[string]int{}, map[string]int{}
	for i, b := range coverage.branches {
		switch {
		case met[i] != 0 && b.taken && met[i+1] != 0 && strings.Contains(b.line, forVerifier):
			t.Errorf("packets go both ways, and C says it is for the verifier only: %v", b)
		case met[i] != 0:
			reached[b.program]++
			all[b.program]++
		case strings.Contains(b.line, forVerifier):
		case coverage.byFault[i]:
			faulty[b.program]++
			all[b.program]++
		default:
			all[b.program]++
			t.Logf("no packet: %v", b)
		}
	}
	for program, n := range all {
		percent := 100 * float64(reached[program]+faulty[program]) / float64(n)
		t.Logf("%s: %d of %d branches, and %d when a helper fails: %.1f %%", program, reached[program], n, faulty[program], percent)
		if want := wantCoverage - lessCoverage[program]; percent < want {
			t.Errorf("%s: the stories meet %.1f %% of its branches, want %.1f %%: add a story, or write %q behind a check that "+
				"only the verifier needs", program, percent, want, forVerifier)
		}
	}
}

// octets is a map of one value.
func octets(t *testing.T, size uint32) *ebpf.Map {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: size, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// coverReal sends real packets through the twins: BPF_PROG_TEST_RUN makes neither super-packets nor packets whose headers
// must be pulled together first.
func coverReal(t *testing.T) {
	x := newTransit(t)
	for _, gw := range []struct {
		ns  *linktest.Namespace
		f   *Fastpath
		cfg Config
	}{{x.east, x.eastGateway, x.eastConfig}, {x.west, x.westGateway, x.westConfig}} {
		gw.ns.MustDo(t, func() error { return coverage.attach(gw.f, gw.cfg) })
		sampleAll(t, gw.f, nil) // into a ring that nobody reads
		t.Cleanup(func() {
			if err := gw.f.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
	echo(t, x.shopWest, "shop-west")
	transfer(t, x.shopEast, x.shopWest, "10.1.2.2:80", 32<<20)
	transfer(t, x.bankWest, x.bankEast, "10.1.1.2:80", 1<<20)
	conn := dialUDP(t, x.shopEast, "10.1.2.2:7")
	for _, n := range []int{0, 1422, 20000} {
		ask(t, conn, strings.Repeat("x", n))
	}
	bigTCP(t, x.shopEast, 150_000)
	transfer(t, x.shopEast, x.shopWest, "10.1.2.2:82", 32<<20)
	bigTCP(t, x.shopEast, 1<<16)
	x.testDrops(t)
	x.testVLAN(t)
	tagged := slices.Insert(ethernet(gatewayMAC, routerMAC, 0x0800, ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.2.2"}.bytes()), 12, 0x81, 0, 0, 5)
	x.shopEast.MustDo(t, func() error { return sendFrame("eth0", tagged) })
}

// coverSlow is coverReal with the kernel's slow path under both gateways, and packets that need it.
func coverSlow(t *testing.T) {
	x := newTransit(t).withSlowPath(t)
	for _, ns := range []*linktest.Namespace{x.shopEast, x.shopWest, x.bankEast, x.bankWest} {
		ns.IP(t, "link set eth0 mtu 1500")
	}
	for _, gw := range []struct {
		ns  *linktest.Namespace
		f   *Fastpath
		cfg Config
	}{{x.east, x.eastGateway, x.eastConfig}, {x.west, x.westGateway, x.westConfig}} {
		gw.ns.IP(t, "link set tbg100 mtu 1500")
		gw.ns.IP(t, "link set tbg300 mtu 1500")
		gw.ns.MustDo(t, func() error { return coverage.attach(gw.f, gw.cfg) })
		if gw.ns == x.west { // into a ring that nobody reads
			sampleAll(t, gw.f, nil)
		}
		t.Cleanup(func() {
			if err := gw.f.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
	x.again(t)
	for _, pod := range []struct {
		ns   *linktest.Namespace
		name string
	}{{x.shopEast, "shop-east"}, {x.shopWest, "shop-west"}, {x.bankEast, "bank-east"}, {x.bankWest, "bank-west"}} {
		echo(t, pod.ns, pod.name)
	}
	x.testMTU(t)
	x.testLateMTU(t)
	x.testFragments(t)
	x.testSegments(t)
	x.testSmallerPort(t)
	x.testEmptyMaps(t)
	x.testForged(t)
}

// TestTwins holds annotate against a program whose branches are known.
func TestTwins(t *testing.T) {
	notes := octets(t, 64)
	w := &twins{notes: notes, faults: octets(t, 64)}
	// R0 is 1 or 2, by the length of the packet; the wide instruction shifts the offsets.
	skip := asm.JGT.Imm(asm.R1, 20, "")
	skip.Offset = 2
	insns := asm.Instructions{
		asm.LoadMem(asm.R1, asm.R1, 0, asm.Word),
		asm.Mov.Imm(asm.R0, 1),
		skip,
		asm.LoadImm(asm.R0, 2, asm.DWord),
		asm.Return(),
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: w.annotate("known", insns)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, tc := range []struct {
		length int
		want   uint32
		met    []byte
	}{{14, 2, []byte{0, 1}}, {64, 1, []byte{1, 1}}} {
		got, err := p.Run(&ebpf.RunOptions{Data: make([]byte, tc.length)})
		if err != nil {
			t.Fatal(err)
		}
		var met []byte
		if err := notes.Lookup(uint32(0), &met); err != nil {
			t.Fatal(err)
		}
		if got != tc.want || !slices.Equal(met[:2], tc.met) {
			t.Errorf("%d octets: returns %d, want %d; branches %v, want %v (taken, not taken)", tc.length, got, tc.want, met[:2], tc.met)
		}
	}
}
