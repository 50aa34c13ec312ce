// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	differentialSeed    = flag.Uint64("seed", 1, "seed of TestDifferential's packets and TestRandomConfigs' Configs; 0 for a new one")
	differentialFirst   = flag.Uint("first", 0, "number of the first packet of TestDifferential")
	differentialPackets = flag.Uint("packets", 1_000_000, "how many packets TestDifferential sends by each path")
)

// TestDifferential sends the same random packets by the fast path and by the kernel's, between the same pods. What arrives
// of each, octet by octet, and every drop's reason, is what the oracle says; so the paths do the same but where the oracle
// has it otherwise.
func TestDifferential(t *testing.T) {
	const westMTU = 1400 // the port at the far end takes less than the underlay carries
	x := newTransit(t).withSlowPath(t)
	x.shopEast.IP(t, "link set eth0 mtu 1500")
	x.east.IP(t, "link set tbg100 mtu 1500")
	x.west.IP(t, fmt.Sprintf("link set tbg100 mtu %d", westMTU))
	x.again(t)
	d := &differential{transit: x, seed: newSeed(), pods: [2]*wire{newWire(t, x.shopEast), newWire(t, x.shopWest)}}
	packets := uint32(*differentialPackets)
	if testing.Short() {
		packets = min(packets, 50_000)
	}
	for _, slow := range []bool{false, true} {
		if slow {
			x.onlyKernel(t)
		}
		o := newOracle(x.eastConfig.Ports[0], x.westConfig.Ports[0], westMTU, slow)
		start := time.Now()
		d.warm(t, o)
		drops, kernels := d.counted(t)
		d.pass(t, o, uint32(*differentialFirst), packets)
		if t.Failed() { // what failed says so
			t.Fatalf("replay with: go test ./spoke-agent/internal/fastpath -run TestDifferential -seed %d", d.seed)
		}
		nowDrops, nowKernels := d.counted(t)
		if diff := cmp.Diff(o.drops, grown(drops, nowDrops)); diff != "" {
			t.Errorf("seed %d, slow %v: drops of both gateways (-want +got):\n%s", d.seed, slow, diff)
		}
		if diff := cmp.Diff(o.kernels, grown(kernels, nowKernels)); diff != "" {
			t.Errorf("seed %d, slow %v: what east's gateway left to the kernel (-want +got):\n%s", d.seed, slow, diff)
		}
		t.Logf("seed %d, slow %v: %d packets, %d arrived and %d errors came back in %v; drops %v, to the kernel %v", d.seed, slow,
			packets, d.arrived[1], d.arrived[0], time.Since(start).Round(time.Millisecond), o.drops, o.kernels)
	}
}

// newSeed is the same in each run that does not ask for another: a test that fails now and then is of no use to who changes
// something else.
func newSeed() uint64 {
	if *differentialSeed == 0 {
		return rand.Uint64()
	}
	return *differentialSeed
}

// onlyKernel leaves everything to the kernel: where to send is in no map of east's, and what comes in is left to the VXLAN
// device, whose program knows the same law.
func (x *transit) onlyKernel(t *testing.T) {
	t.Helper()
	all, err := x.eastGateway.read(gatewayMapTomboloRemotes)
	if err != nil {
		t.Fatal(err)
	}
	var ways []string
	for key := range all {
		p, err := decodePrefix([]byte(key))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(linkOf(x.westConfig.Ports[0]), p.prefix) {
			ways = append(ways, key)
		}
	}
	if err := x.eastGateway.delete(gatewayMapTomboloRemotes, ways); err != nil {
		t.Fatal(err)
	}
	x.west.MustDo(t, func() error {
		devices, _, err := findDevices(x.westConfig)
		if err != nil {
			return err
		}
		return detach(x.westGateway.linkPath(linkIn, devices["ul0"].index))
	})
}

type differential struct {
	*transit
	seed uint64
	// pods are shop east's, that sends, and shop west's.
	pods    [2]*wire
	arrived [2]int
}

// counted is what both gateways have dropped, and what east's has left to the kernel.
func (d *differential) counted(t *testing.T) (drops, kernels map[string]uint64) {
	t.Helper()
	east, west := counters(t, d.eastGateway), counters(t, d.westGateway)
	drops = maps.Clone(east.Drops)
	for reason, n := range west.Drops {
		drops[reason] += n
	}
	return drops, east.Slow
}

// warm sends one packet until it arrives: gateways and router have to find each other's MAC addresses.
func (d *differential) warm(t *testing.T, o *oracle) {
	t.Helper()
	frame := ethernet(gatewayMAC, routerMAC, 0x0800, ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.2.2", payload: udpDatagram(1, 2, nil)}.bytes())
	arrived := 0
	for deadline := time.Now().Add(time.Minute); arrived == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err := d.pods[0].send([][]byte{frame}); err != nil {
			t.Fatal(err)
		}
		arrived += d.pods[1].receive(func([]byte) {})
	}
	for quiet := 0; quiet < 20; quiet++ { // those that waited for an address
		time.Sleep(5 * time.Millisecond)
		if n := d.pods[1].receive(func([]byte) {}); n > 0 {
			arrived, quiet = arrived+n, 0
		}
	}
	if arrived == 0 {
		t.Fatal("not one packet arrives")
	}
	d.arrived = [2]int{}
	clear(o.drops)
}

// flight is a packet that is under way, and what has to arrive of it at both pods.
type flight struct {
	number uint32
	frame  []byte
	want   [2][][]byte
}

func (d *differential) pass(t *testing.T, o *oracle, first, packets uint32) {
	g := newGenerator(d.seed)
	buffers := make([]byte, batchSize*ringFrame)
	frames, flights := make([][]byte, 0, batchSize), make([]flight, batchSize)
	for n := first; n < first+packets && !t.Failed(); {
		frames = frames[:0]
		o.reset()
		missing := 0
		for ; len(frames) < batchSize && n < first+packets; n++ {
			f := &flights[len(frames)]
			frame := g.frame(n, buffers[len(frames)*ringFrame:][:ringFrame])
			east, west := len(o.toEast), len(o.toWest)
			o.out(frame)
			f.number, f.frame, f.want = n, frame, [2][][]byte{o.toEast[east:], o.toWest[west:]}
			missing += len(f.want[0]) + len(f.want[1])
			frames = append(frames, frame)
		}
		if err := d.pods[0].send(frames); err != nil {
			t.Fatal(err)
		}
		d.collect(t, o, flights[:len(frames)], missing)
	}
	for range 20 { // nothing more may come
		time.Sleep(10 * time.Millisecond)
		d.look(t, o, nil)
	}
	for _, w := range d.pods {
		if n, err := w.lost(); n != 0 || err != nil {
			t.Errorf("%d packets found no room in the ring (%v): the test has lost them, not the gateways", n, err)
		}
	}
}

// collect waits until all has arrived that must.
func (d *differential) collect(t *testing.T, o *oracle, flights []flight, missing int) {
	for deadline := time.Now().Add(time.Minute); ; {
		missing -= d.look(t, o, flights)
		if missing == 0 || t.Failed() {
			return
		}
		if time.Now().After(deadline) {
			break
		}
		time.Sleep(100 * time.Microsecond)
	}
	for _, f := range flights {
		for pod, want := range f.want {
			for _, p := range want {
				if p != nil {
					t.Errorf("seed %d, packet %d, slow %v: does not arrive at pod %d:\nsent %x\nwant %x", d.seed, f.number, o.slow, pod, f.frame, p)
					return
				}
			}
		}
	}
}

// look takes what has arrived off the flights, and returns how much it was.
func (d *differential) look(t *testing.T, o *oracle, flights []flight) (found int) {
	for pod, w := range d.pods {
		n := w.receive(func(frame []byte) {
			if t.Failed() || !bytes.Equal(frame[12:14], []byte{8, 0}) {
				return // ARP
			}
			f := flightOf(flights, pod, frame)
			if f == nil {
				t.Errorf("seed %d, slow %v: pod %d gets what is not under way: %x", d.seed, o.slow, pod, frame)
				return
			}
			got := frame[14:]
			if pod == 0 { // an error may be padded
				got = got[:min(len(got), int(binary.BigEndian.Uint16(got[2:])))]
			}
			i := slices.IndexFunc(f.want[pod], func(want []byte) bool { return want != nil && bytes.Equal(want, got) })
			if i < 0 || !bytes.Equal(frame[:12], append(slices.Clone(routerMAC), gatewayMAC...)) {
				t.Errorf("seed %d, packet %d, slow %v: pod %d gets something else:\nsent %x\ngot  %x\nwant one of %x",
					d.seed, f.number, o.slow, pod, f.frame, frame, f.want[pod])
				return
			}
			f.want[pod][i] = nil
			found++
		})
		d.arrived[pod] += n
	}
	return found
}

// flightOf finds the packet by its identification, which is its number's lower half; errors quote it.
func flightOf(flights []flight, pod int, frame []byte) *flight {
	at := 14
	if pod == 0 {
		at += 28
	}
	if len(flights) == 0 || len(frame) < at+20 {
		return nil
	}
	i := int(binary.BigEndian.Uint16(frame[at+4:]) - uint16(flights[0].number))
	if i >= len(flights) {
		return nil
	}
	return &flights[i]
}
