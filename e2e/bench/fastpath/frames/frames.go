// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package frames measures what a gateway costs per packet: frames that the kernel
// makes (BPF_PROG_TEST_RUN with live frames) go through a topology.Station, and the
// CPU time of the thread is divided by those that arrive.
package frames

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/load"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/programs"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/topology"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

const (
	// inner is the length of the Ethernet frame inside a tunnel, and outer what the tunnel adds.
	inner = 64
	outer = 50
)

// Bench is a Station with a counter at its end.
type Bench struct {
	station *topology.Station
	counter *programs.Counter
}

// New makes a Station count.
func New(s *topology.Station) (*Bench, error) {
	b := &Bench{station: s}
	length := inner
	if s.Role == topology.Encap || s.Role == topology.Transit {
		length += outer
	}
	err := netns.Do(s.OutNamespace, func() (err error) { b.counter, err = programs.Count(s.Out, length, s.XDP); return err })
	return b, err
}

// Close ends the counter.
func (b *Bench) Close() error { return b.counter.Close() }

// Traffic is a generator of packets for a Bench.
type Traffic struct {
	*Bench
	generator    *programs.Generator
	destinations int
}

// To makes packets to destinations, in turn; their number is a power of two.
func (b *Bench) To(destinations []netip.Addr) (*Traffic, error) {
	t := &Traffic{Bench: b, destinations: len(destinations)}
	err := netns.Do(b.station.InNamespace, func() (err error) {
		t.generator, err = programs.NewGenerator(b.station.In, frame(b.station), destinations)
		return err
	})
	return t, err
}

// Close ends the generator, and not its Bench.
func (t *Traffic) Close() error { return t.generator.Close() }

// Run is a Traffic in use.
type Run struct {
	traffic       *Traffic
	namespace     vnetns.NsHandle
	softirq       *load.Softirq
	sent, arrived int
}

// Start sends a frame to each destination, and n at least: what is measured is a gateway that has seen them all.
func (t *Traffic) Start(cpu, n int) (*Run, error) {
	namespace, err := vnetns.GetFromName(t.station.InNamespace)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", t.station.InNamespace, err)
	}
	r := &Run{traffic: t, namespace: namespace}
	if r.softirq, err = load.OpenSoftirq(cpu); err == nil {
		err = netns.Do(t.station.InNamespace, func() error { return t.generator.Run(max(t.destinations, n)) })
	}
	if err != nil {
		return nil, errors.Join(err, r.End())
	}
	return r, nil
}

// Turn sends frames, n at a time, until their CPU time is atLeast, and gives that of all work on one that arrived in nanoseconds, the generator's
// and the counter's among it. It leaves the calling thread in the generator's network namespace: the thread has to be locked, and thrown away.
func (r *Run) Turn(n int, atLeast time.Duration) (float64, error) {
	if err := vnetns.Set(r.namespace); err != nil {
		return 0, fmt.Errorf("enter network namespace of %s: %w", r.traffic.station.Name, err)
	}
	before, err := r.traffic.counter.Arrived()
	if err != nil {
		return 0, err
	}
	helped, err := r.softirq.Time()
	if err != nil {
		return 0, err
	}
	spent := time.Duration(0)
	for begin := load.ThreadTime(); spent < atLeast; spent = load.ThreadTime() - begin {
		if err := r.traffic.generator.Run(n); err != nil {
			return 0, fmt.Errorf("send frames through %s: %w", r.traffic.station.Name, err)
		}
		r.sent += n
	}
	after, err := r.softirq.Time()
	if err != nil {
		return 0, err
	}
	now, err := r.traffic.counter.Arrived()
	r.arrived += int(now - before)
	return float64(spent+after-helped) / max(float64(now-before), 1), err
}

// End closes what Start has opened. That fewer than 99 of 100 have arrived is an error: what is dropped costs less.
func (r *Run) End() error {
	err := r.namespace.Close()
	if r.softirq != nil {
		err = errors.Join(err, r.softirq.Close())
	}
	if r.arrived*100 < r.sent*99 {
		err = errors.Join(err, fmt.Errorf("send frames through %s: only %d of %d arrived", r.traffic.station.Name, r.arrived, r.sent))
	}
	return err
}

// frame is what the generator sends, but for the inner destination.
func frame(s *topology.Station) []byte {
	source := topology.Near
	if s.Role == topology.Decap {
		source = topology.Remote.Addr().Next()
	}
	if s.Role == topology.Encap || s.Role == topology.Base {
		return datagram(s.InMAC, source, netip.IPv4Unspecified(), 5000, 7000, make([]byte, inner-42))
	}
	vxlan := make([]byte, 8)
	vxlan[0] = 0x08 // RFC 7348 section 5: the I flag
	binary.BigEndian.PutUint32(vxlan[4:], topology.TunnelVNI<<8)
	payload := datagram(s.TunnelMAC, source, netip.IPv4Unspecified(), 5000, 7000, make([]byte, inner-42))
	return datagram(s.InMAC, topology.TunnelFrom, topology.TunnelTo, 50000, s.TunnelPort(), append(vxlan, payload...))
}

// datagram is UDP over IPv4 over Ethernet, without a UDP checksum.
func datagram(to net.HardwareAddr, source, destination netip.Addr, sport, dport uint16, payload []byte) []byte {
	b := make([]byte, 42, 42+len(payload))
	copy(b, to)
	copy(b[6:], []byte{0x0a, 0x58, 0, 0, 0, 1})
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IP)
	ip := b[14:34]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(28+len(payload)))
	copy(ip[12:], source.AsSlice())
	copy(ip[16:], destination.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	binary.BigEndian.PutUint16(b[34:], sport)
	binary.BigEndian.PutUint16(b[36:], dport)
	binary.BigEndian.PutUint16(b[38:], uint16(8+len(payload)))
	return append(b, payload...)
}

// checksum is RFC 1071's.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// Prefixes are n different /26 of topology.Remote, spread over it, the same ones every time.
func Prefixes(n int) []netip.Prefix {
	const room = 1 << (26 - 9)
	base := binary.BigEndian.Uint32(topology.Remote.Addr().AsSlice())
	var out []netip.Prefix
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(room)[:n] {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], base|uint32(i)<<6)
		out = append(out, netip.PrefixFrom(netip.AddrFrom4(a), 26))
	}
	return out
}

// Draw is destinations in prefixes: each prefix as often as the others, or by Zipf's law with exponent 1.1, as
// destinations of real traffic are. How the destinations are stored costs the same for any number of prefixes.
func Draw(prefixes []netip.Prefix, zipf bool) []netip.Addr {
	r := rand.New(rand.NewPCG(2, 2))
	law := rand.NewZipf(r, 1.1, 1, uint64(len(prefixes)-1))
	out := make([]netip.Addr, programs.MaxDestinations)
	for i := range out {
		n := r.IntN(len(prefixes))
		if zipf {
			n = int(law.Uint64())
		}
		out[i] = prefixes[n].Addr().Next()
	}
	return out
}
