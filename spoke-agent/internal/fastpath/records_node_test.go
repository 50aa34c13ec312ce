// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/ringbuf"
)

// TestRecordsOfNodes has pods that send by themselves, and other nodes of the own cluster.
func TestRecordsOfNodes(t *testing.T) {
	ns, f := directGateway(t)
	reader, err := ringbuf.NewReader(f.maps[gatewayMapTomboloRecords])
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	ip := netip.MustParseAddr
	pods, take := f.programs.TomboloPod, f.programs.TomboloIn
	ping := func(src, dst string, ttl byte) ip4 {
		return ip4{ttl: ttl, protocol: icmp, src: src, dst: dst, payload: make([]byte, 8)}
	}
	sent := func(p ip4) []byte { return ethernet(subnetMAC, podMAC, 0x0800, p.bytes()) }
	in := func(src string, p ip4) []byte {
		return relayed{src: src, dst: "192.0.2.1", ttl: 63, vni: 100, inner: p}.bytes(underlayMAC, someMAC)
	}
	out := Record{Direction: "out", Program: "tombolo_pod", Verdict: "forwarded", SrcVpc: "shop/blue", DstVpc: "shop/blue", Cluster: "west",
		VNI: 100, RemoteVNI: 100, Src: ip("10.1.1.2"), Dst: ip("10.1.2.3"), Protocol: icmp, Packets: 1, Bytes: 28}
	last := out
	last.Verdict, last.Reason = "slow", "router"
	part := last
	part.Protocol = udp
	datagram, segment, short := out, out, out
	datagram.Protocol, datagram.SrcPort, datagram.DstPort = udp, 1000, 53
	segment.Protocol, segment.SrcPort, segment.DstPort, segment.Bytes = tcp, 1000, 80, 40
	short.Protocol, short.Bytes = udp, 21
	for name, tc := range map[string]recordStory{
		"pod":          {reason: "it sends by itself", program: pods, ifname: "pod0", packet: sent(ping("10.1.1.2", "10.1.2.3", 64)), want: &out},
		"left to OVN":  {reason: "the TTL ends at a router", program: pods, ifname: "pod0", packet: sent(ping("10.1.1.2", "10.1.2.3", 1)), want: &last},
		"at home":      {reason: "not to another cluster", program: pods, ifname: "pod0", packet: sent(ping("10.1.1.2", "10.1.1.7", 64))},
		"to a link":    {reason: "this node's own", program: pods, ifname: "pod0", packet: sent(ping("10.1.1.2", "169.254.0.2", 64))},
		"forged":       {reason: "the program leaves it alone", program: pods, ifname: "pod0", packet: sent(ping("10.1.1.3", "10.1.2.3", 64))},
		"other router": {reason: "the program leaves it alone", program: pods, ifname: "pod0", packet: ethernet(otherMAC, podMAC, 0x0800, ping("10.1.1.2", "10.1.2.3", 64).bytes())},
		"no pod":       {reason: "an interface of nobody", program: pods, ifname: "tbo100", packet: sent(ping("10.1.1.2", "10.1.2.3", 64))},
		"off":          {reason: "nobody looks", program: pods, ifname: "pod0", packet: sent(ping("10.1.1.2", "10.1.2.3", 64)), sampling: func(e *samplingEntry) { e.every = 0 }},
		"one in many":  {reason: "not this one", program: pods, ifname: "pod0", packet: sent(ping("10.1.1.2", "10.1.2.3", 64)), sampling: func(e *samplingEntry) { e.every = 1<<32 - 1 }},
		"only drops":   {reason: "what OVN gets is none", program: pods, ifname: "pod0", packet: sent(ping("10.1.1.2", "10.1.2.3", 1)), sampling: func(e *samplingEntry) { e.drops = true }},
		"datagram":     {reason: "it has ports", program: pods, ifname: "pod0", packet: sent(ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.2.3", payload: udpDatagram(1000, 53, nil)}), want: &datagram},
		"segment":      {reason: "it has ports", program: pods, ifname: "pod0", packet: sent(ip4{ttl: 64, protocol: tcp, src: "10.1.1.2", dst: "10.1.2.3", payload: tcpSegment(1000, 80, nil)}), want: &segment},
		"fragment":     {reason: "OVN gets it", program: pods, ifname: "pod0", packet: sent(ip4{ttl: 64, frag: 5, protocol: udp, src: "10.1.1.2", dst: "10.1.2.3", payload: make([]byte, 8)}), want: &part},
		"cut off":      {reason: "too short for ports", program: pods, ifname: "pod0", packet: sent(ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.2.3", payload: []byte{1}}), want: &short},
		"reader gone":  {reason: "who was killed is not heard of any more", program: pods, ifname: "pod0", packet: sent(ping("10.1.1.2", "10.1.2.3", 64)), sampling: func(e *samplingEntry) { e.until -= 2 * time.Hour }},
		"no IPv4":      {reason: "although it says so", program: pods, ifname: "pod0", packet: append(append(sent(ping("10.1.1.2", "10.1.2.3", 64))[:14:14], 0x65), sent(ping("10.1.1.2", "10.1.2.3", 64))[15:]...)},
		"other maker":  {reason: "another MAC address from the first octet on", program: pods, ifname: "pod0", packet: ethernet(someMAC, podMAC, 0x0800, ping("10.1.1.2", "10.1.2.3", 64).bytes())},
		"other subnet": {reason: "another MAC address from the third octet on", program: pods, ifname: "pod0", packet: ethernet([]byte{0x0a, 0x58, 9, 9, 1, 1}, podMAC, 0x0800, ping("10.1.1.2", "10.1.2.3", 64).bytes())},
		"from an own node": {
			reason:  "which passes on what west has sent",
			program: take, ifname: "ul0", packet: in("192.0.2.9", ping("10.2.2.3", "10.1.1.2", 64)),
			want: &Record{Direction: "in", Program: "tombolo_in", Verdict: "forwarded", SrcVpc: "shop/red", DstVpc: "shop/blue", Cluster: "west",
				VNI: 100, RemoteVNI: 200, Src: ip("10.2.2.3"), Dst: ip("10.1.1.2"), Protocol: icmp, Packets: 1, Bytes: 28},
		},
		"from an own node, of nobody": {
			reason:  "no cluster has the source",
			program: take, ifname: "ul0", packet: in("192.0.2.9", ping("10.99.2.3", "10.1.1.2", 64)),
			want: &Record{Direction: "in", Program: "tombolo_in", Verdict: "dropped", Reason: "spoofed_source", DstVpc: "shop/blue", Cluster: "east",
				VNI: 100, Src: ip("10.99.2.3"), Dst: ip("10.1.1.2"), Protocol: icmp, Packets: 1, Bytes: 28},
		},
	} {
		t.Run(name, func(t *testing.T) { tc.run(t, ns, f, reader) })
	}
	t.Run("lost", func(t *testing.T) {
		testLostRecords(t, ns, f, reader, pods, "pod0", sent(ping("10.1.1.2", "10.1.2.3", 1)))
	})
}

// TestRecordsOfTransit reads the records of real packets as another process does: by the pins.
func TestRecordsOfTransit(t *testing.T) {
	x := newTransit(t)
	other := openReader(t, x.eastPins)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var got []Record
	enough := errors.New("enough")
	go func() { // until they have been seen
		for ctx.Err() == nil {
			_, _ = x.shopEast.Run("ping", "-c", "1", "-W", "1", "10.1.2.2")
			_, _ = x.bankWest.Run("ping", "-c", "1", "-W", "1", "10.1.1.2")
		}
	}()
	err := other.Records(ctx, RecordOptions{Every: 1}, func(r Record) error {
		if age := time.Since(r.Time); age < 0 || age > time.Minute {
			t.Errorf("the record is %s old", age)
		}
		if len(got) == 0 {
			if err := openReader(t, x.eastPins).Records(ctx, RecordOptions{Every: 1}, nil); err == nil || !strings.Contains(err.Error(), "another process") {
				t.Errorf("a second reader takes the first one's records: %v", err)
			}
		}
		got = append(got, r)
		if len(got) == 40 {
			return enough
		}
		return nil
	})
	cancel()
	if !errors.Is(err, enough) {
		t.Fatalf("%d records, and then: %v", len(got), err)
	}
	flows := map[string]int{}
	for _, r := range got {
		flows[r.SrcVpc+" "+r.Src.String()+" → "+r.DstVpc+" "+r.Dst.String()+" "+r.Direction+" "+r.Cluster+" "+r.Verdict]++
	}
	for _, vpc := range []string{"shop/blue", "bank/blue"} {
		for _, want := range []string{vpc + " 10.1.1.2 → " + vpc + " 10.1.2.2 out west forwarded", vpc + " 10.1.2.2 → " + vpc + " 10.1.1.2 in west forwarded"} {
			if flows[want] == 0 {
				t.Errorf("no record of %s among %v", want, flows)
			}
		}
	}
	wantSampling(t, x.eastGateway, 0, "who ends turns it off")

	// One that is killed does not.
	if err := other.setSampling(samplingEntry{until: 1, every: 1}); err != nil {
		t.Fatal(err)
	}
	if err := other.free(); err != nil {
		t.Errorf("a dead reader keeps the next one out: %v", err)
	}
	x.east.MustDo(t, func() error { return x.eastGateway.Set(x.eastConfig) })
	wantSampling(t, x.eastGateway, 0, "the agent does for who can't")
	sampleAll(t, other, nil)
	x.east.MustDo(t, func() error { return x.eastGateway.Set(x.eastConfig) })
	wantSampling(t, x.eastGateway, 1, "and leaves who is there alone")
}

func openReader(t *testing.T, pins string) *Fastpath {
	t.Helper()
	f, err := Open(Options{PinPath: pins})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func wantSampling(t *testing.T, f *Fastpath, want uint32, reason string) {
	t.Helper()
	e, err := f.sampling()
	if err != nil {
		t.Fatal(err)
	}
	if e.every != want {
		t.Errorf("one record in %d, want %d: %s", e.every, want, reason)
	}
}
