// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// readAll takes what is in the ring.
func readAll(t *testing.T, f *Fastpath, reader *ringbuf.Reader) []Record {
	t.Helper()
	clusters, err := f.clusterNames()
	if err != nil {
		t.Fatal(err)
	}
	vpcs, err := f.vpcNames()
	if err != nil {
		t.Fatal(err)
	}
	reader.SetDeadline(time.Unix(1, 0)) // only what is there
	var all []Record
	for {
		raw, err := reader.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		e, err := decodeRecord(raw.RawSample)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, recordNames{clusters: clusters, vpcs: vpcs}.record(e))
	}
}

func sampleAll(t *testing.T, f *Fastpath, change func(*samplingEntry)) {
	t.Helper()
	now, err := monotonic()
	if err != nil {
		t.Fatal(err)
	}
	e := samplingEntry{until: now + time.Hour, every: 1}
	if change != nil {
		change(&e)
	}
	if err := f.setSampling(e); err != nil {
		t.Fatal(err)
	}
}

// recordStory is a packet, and the record that it makes, if any.
type recordStory struct {
	reason   string
	program  *ebpf.Program
	ifname   string
	packet   []byte
	context  skbContext
	sampling func(*samplingEntry)
	want     *Record
}

func (s recordStory) run(t *testing.T, ns *linktest.Namespace, f *Fastpath, reader *ringbuf.Reader) {
	t.Helper()
	sampleAll(t, f, s.sampling)
	runStory(t, ns, f, s.program, s.ifname, s.packet, s.context)
	got := readAll(t, f, reader)
	if coverage != nil {
		return // runStory has sent it more often, with failures of the kernel's helpers: TestRecords itself compares
	}
	var want []Record
	if s.want != nil {
		want = []Record{*s.want}
	}
	ipv4 := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(want, got, ipv4, cmpopts.IgnoreFields(Record{}, "Time")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", s.reason, diff)
	}
}

func TestRecords(t *testing.T) {
	ns, f := relayGateway(t)
	reader, err := ringbuf.NewReader(f.maps[gatewayMapTomboloRecords])
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	ip := netip.MustParseAddr
	out := func(p ip4) []byte { return ethernet(gatewayMAC, routerMAC, 0x0800, p.bytes()) }
	in := func(src string, vni uint32, p ip4) []byte {
		return relayed{src: src, dst: "192.0.2.1", ttl: 63, vni: vni, inner: p}.bytes(underlayMAC, someMAC)
	}
	give, take := f.programs.TomboloOut, f.programs.TomboloIn
	asked := ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.2.2.3", payload: udpDatagram(1000, 53, []byte("question"))}
	answered := ip4{ttl: 64, protocol: tcp, src: "10.2.2.3", dst: "10.1.1.2", payload: tcpSegment(80, 2000, nil)}
	later := ip4{ttl: 64, frag: 5, protocol: udp, src: "10.1.1.2", dst: "10.2.2.3", payload: []byte("the rest")}
	short := ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.2.2.3", payload: []byte{1}}
	back := ip4{ttl: 64, protocol: udp, src: "10.2.2.3", dst: "10.1.1.2", payload: []byte{1}}
	ping := ip4{ttl: 64, protocol: icmp, src: "10.1.1.2", dst: "10.1.2.3", payload: make([]byte, 8)}
	astray := ip4{ttl: 64, protocol: icmp, src: "10.1.1.2", dst: "10.77.0.1", payload: make([]byte, 8)}
	forged := ip4{ttl: 64, protocol: icmp, src: "10.1.3.3", dst: "10.1.1.2", payload: make([]byte, 8)}
	passing := ip4{ttl: 64, protocol: icmp, src: "10.5.2.7", dst: "10.5.3.9", payload: make([]byte, 8)}
	stub := in("198.51.100.1", 100, ping)
	arp := append(bytes.Clone(stub[:64]), 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 10, 1, 1, 2)
	arp[63] = 6
	stub = stub[:64+4] // ends within the inner IPv4 header

	for name, tc := range map[string]recordStory{
		"out": {
			reason:  "to the peer, whose Vpc the destination tells",
			program: give, ifname: "tbg100", packet: out(asked),
			want: &Record{Direction: "out", Program: "tombolo_out", Verdict: "forwarded", SrcVpc: "shop/blue", DstVpc: "shop/red", Cluster: "west",
				VNI: 100, RemoteVNI: 200, Src: ip("10.1.1.2"), Dst: ip("10.2.2.3"), Protocol: udp, SrcPort: 1000, DstPort: 53, Packets: 1, Bytes: 36},
		},
		"in": {
			reason:  "from the peer, as the inner packet says and not the outer",
			program: take, ifname: "ul0", packet: in("198.51.100.1", 100, answered),
			want: &Record{Direction: "in", Program: "tombolo_in", Verdict: "forwarded", SrcVpc: "shop/red", DstVpc: "shop/blue", Cluster: "west",
				VNI: 100, RemoteVNI: 200, Src: ip("10.2.2.3"), Dst: ip("10.1.1.2"), Protocol: tcp, SrcPort: 80, DstPort: 2000, Packets: 1, Bytes: 40},
		},
		"no ports": {
			reason:  "ICMP has none",
			program: give, ifname: "tbg100", packet: out(ping),
			want: &Record{Direction: "out", Program: "tombolo_out", Verdict: "forwarded", SrcVpc: "shop/blue", DstVpc: "shop/blue", Cluster: "west",
				VNI: 100, RemoteVNI: 100, Src: ip("10.1.1.2"), Dst: ip("10.1.2.3"), Protocol: icmp, Packets: 1, Bytes: 28},
		},
		"later fragment": {
			reason:  "its first octets are no ports",
			program: give, ifname: "tbg100", packet: out(later),
			want: &Record{Direction: "out", Program: "tombolo_out", Verdict: "forwarded", SrcVpc: "shop/blue", DstVpc: "shop/red", Cluster: "west",
				VNI: 100, RemoteVNI: 200, Src: ip("10.1.1.2"), Dst: ip("10.2.2.3"), Protocol: udp, Packets: 1, Bytes: 28},
		},
		"too short for ports": {
			reason:  "it says UDP, and ends",
			program: give, ifname: "tbg100", packet: out(short),
			want: &Record{Direction: "out", Program: "tombolo_out", Verdict: "forwarded", SrcVpc: "shop/blue", DstVpc: "shop/red", Cluster: "west",
				VNI: 100, RemoteVNI: 200, Src: ip("10.1.1.2"), Dst: ip("10.2.2.3"), Protocol: udp, Packets: 1, Bytes: 21},
		},
		"no route": {
			reason:  "a drop says why, and whose it was",
			program: give, ifname: "tbg100", packet: out(astray),
			want: &Record{Direction: "out", Program: "tombolo_out", Verdict: "dropped", Reason: "no_route", SrcVpc: "shop/blue",
				VNI: 100, Src: ip("10.1.1.2"), Dst: ip("10.77.0.1"), Protocol: icmp, Packets: 1, Bytes: 28},
		},
		"malformed": {
			reason:  "nothing to read",
			program: take, ifname: "ul0", packet: stub,
			want: &Record{Direction: "in", Program: "tombolo_in", Verdict: "dropped", Reason: "malformed", DstVpc: "shop/blue", Cluster: "west", VNI: 100,
				Src: ip("0.0.0.0"), Dst: ip("0.0.0.0"), Packets: 1, Bytes: 4},
		},
		"forged": {
			reason:  "10.1.3.0/24 is south's, and nobody knows whose Vpc's packet it is",
			program: take, ifname: "ul0", packet: in("198.51.100.1", 100, forged),
			want: &Record{Direction: "in", Program: "tombolo_in", Verdict: "dropped", Reason: "spoofed_source", DstVpc: "shop/blue", Cluster: "west",
				VNI: 100, Src: ip("10.1.3.3"), Dst: ip("10.1.1.2"), Protocol: icmp, Packets: 1, Bytes: 28},
		},
		"stranger": {
			reason:  "no cluster's, to a VNI of ours",
			program: take, ifname: "ul0", packet: in("198.51.100.77", 100, answered),
			want: &Record{Direction: "in", Program: "tombolo_in", Verdict: "dropped", Reason: "unknown_endpoint", DstVpc: "shop/blue",
				VNI: 100, Src: ip("10.2.2.3"), Dst: ip("10.1.1.2"), Protocol: tcp, SrcPort: 80, DstPort: 2000, Packets: 1, Bytes: 40},
		},
		"passing": {
			reason:  "relayed for a Vpc that is not here",
			program: take, ifname: "ul0", packet: in("198.51.100.1", 500, passing),
			want: &Record{Direction: "in", Program: "tombolo_in", Verdict: "forwarded", Cluster: "west",
				VNI: 500, Src: ip("10.5.2.7"), Dst: ip("10.5.3.9"), Protocol: icmp, Packets: 1, Bytes: 28},
		},
		"only drops": {
			reason:  "a drop is one",
			program: give, ifname: "tbg100", packet: out(astray), sampling: func(e *samplingEntry) { e.drops = true },
			want: &Record{Direction: "out", Program: "tombolo_out", Verdict: "dropped", Reason: "no_route", SrcVpc: "shop/blue",
				VNI: 100, Src: ip("10.1.1.2"), Dst: ip("10.77.0.1"), Protocol: icmp, Packets: 1, Bytes: 28},
		},
		"not among drops": {
			reason:  "what goes on is none",
			program: give, ifname: "tbg100", packet: out(asked), sampling: func(e *samplingEntry) { e.drops = true },
		},
		"only drops in": {
			reason:  "a drop is one",
			program: take, ifname: "ul0", packet: in("198.51.100.1", 100, forged), sampling: func(e *samplingEntry) { e.drops = true },
			want: &Record{Direction: "in", Program: "tombolo_in", Verdict: "dropped", Reason: "spoofed_source", DstVpc: "shop/blue", Cluster: "west",
				VNI: 100, Src: ip("10.1.3.3"), Dst: ip("10.1.1.2"), Protocol: icmp, Packets: 1, Bytes: 28},
		},
		"not among drops in": {
			reason:  "what goes on is none",
			program: take, ifname: "ul0", packet: in("198.51.100.1", 100, answered), sampling: func(e *samplingEntry) { e.drops = true },
		},
		"one in very many in": {
			reason:  "not this one",
			program: take, ifname: "ul0", packet: in("198.51.100.1", 100, answered), sampling: func(e *samplingEntry) { e.every = 1<<32 - 1 },
		},
		"reader gone in": {
			reason:  "who was killed is not heard of any more",
			program: take, ifname: "ul0", packet: in("198.51.100.1", 100, answered), sampling: func(e *samplingEntry) { e.until -= 2 * time.Hour },
		},
		"too short for ports in": {
			reason:  "it says UDP, and ends",
			program: take, ifname: "ul0", packet: in("198.51.100.1", 100, back),
			want: &Record{Direction: "in", Program: "tombolo_in", Verdict: "forwarded", SrcVpc: "shop/red", DstVpc: "shop/blue", Cluster: "west",
				VNI: 100, RemoteVNI: 200, Src: ip("10.2.2.3"), Dst: ip("10.1.1.2"), Protocol: udp, Packets: 1, Bytes: 21},
		},
		"off": {
			reason:  "nobody looks",
			program: give, ifname: "tbg100", packet: out(asked), sampling: func(e *samplingEntry) { e.every = 0 },
		},
		"one in very many": {
			reason:  "not this one, but for once in four thousand million",
			program: give, ifname: "tbg100", packet: out(asked), sampling: func(e *samplingEntry) { e.every = 1<<32 - 1 },
		},
		"reader gone": {
			reason:  "who was killed ends nothing, and is not heard of any more",
			program: give, ifname: "tbg100", packet: out(asked), sampling: func(e *samplingEntry) { e.until -= 2 * time.Hour },
		},
		"ARP on a port": {
			reason:  "not ours: no program has done anything with it",
			program: give, ifname: "tbg100", packet: ethernet(gatewayMAC, routerMAC, 0x0806, make([]byte, 28)),
		},
		"no port": {
			reason:  "an interface of no Vpc",
			program: give, ifname: "tbo100", packet: out(asked),
		},
		"the node's own": {
			reason:  "what else comes in on the underlay is nobody's business",
			program: take, ifname: "ul0",
			packet: ethernet(underlayMAC, someMAC, 0x0800, ip4{ttl: 64, protocol: tcp, src: "198.51.100.1", dst: "192.0.2.1", payload: tcpSegment(1, 22, make([]byte, 60))}.bytes()),
		},
		"inner ARP": {
			reason:  "no addresses to read, and a drop all the same",
			program: take, ifname: "ul0", packet: arp,
			want: &Record{Direction: "in", Program: "tombolo_in", Verdict: "dropped", Reason: "not_ipv4", DstVpc: "shop/blue", Cluster: "west", VNI: 100,
				Src: ip("0.0.0.0"), Dst: ip("0.0.0.0"), Packets: 1, Bytes: 28},
		},
		"outer options": {
			reason:  "where its VNI is, no program asks",
			program: take, ifname: "ul0", packet: append(append(in("198.51.100.1", 100, answered)[:14:14], 0x46), in("198.51.100.1", 100, answered)[15:]...),
		},
		"short": {
			reason:  "no encapsulation at all",
			program: take, ifname: "ul0",
			packet: ethernet(underlayMAC, someMAC, 0x0800, ip4{ttl: 64, protocol: icmp, src: "198.51.100.1", dst: "192.0.2.1", payload: make([]byte, 8)}.bytes()),
		},
		"echo": {
			reason:  "no Vpc's",
			program: take, ifname: "ul0", packet: echoed{src: "198.51.100.1", dst: "192.0.2.1", srcPort: 40000, dstPort: 4789, asked: 1, asking: 2, protocol: 0x88b5}.bytes(underlayMAC, someMAC),
		},
	} {
		t.Run(name, func(t *testing.T) { tc.run(t, ns, f, reader) })
	}
	t.Run("lost", func(t *testing.T) { testLostRecords(t, ns, f, reader, give, "tbg100", out(astray)) })
}

// testLostRecords sends a packet, which the program must leave as it is, more often than the ring has room for.
func testLostRecords(t *testing.T, ns *linktest.Namespace, f *Fastpath, reader *ringbuf.Reader, p *ebpf.Program, ifname string, packet []byte) {
	t.Helper()
	sampleAll(t, f, nil)
	before, err := f.lostRecords()
	if err != nil {
		t.Fatal(err)
	}
	const packets = 20_000 // with its header each takes 56 of the ring's 2^20 octets
	ns.MustDo(t, func() error {
		devices, _, err := findDevices(storyConfig())
		if err != nil {
			return err
		}
		context := skbContext{Ifindex: uint32(devices[ifname].index)}
		if _, err := p.Run(&ebpf.RunOptions{Data: packet, Context: context, Repeat: packets}); err != nil || coverage == nil {
			return err
		}
		return coverage.run(f, p, packet, context)
	})
	got := len(readAll(t, f, reader))
	after, err := f.lostRecords()
	if err != nil {
		t.Fatal(err)
	}
	lost := int(after - before)
	if lost == 0 || coverage == nil && got+lost != packets { // coverage sends more
		t.Errorf("%d records and %d lost of %d packets", got, lost, packets)
	}
}
