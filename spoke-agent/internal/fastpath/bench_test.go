// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// BenchmarkTransit sends small datagrams from pod to pod and reports what the two programs cost, as the kernel counts
// it: nanoseconds per packet, of which about 25 are the counting's.
func BenchmarkTransit(b *testing.B) {
	x := newTransit(b)
	listenUDP(b, x.shopWest)
	conn := dialUDP(b, x.shopEast, "10.1.2.2:7")
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		b.Fatal(err)
	}
	defer stats.Close()
	datagram := make([]byte, 18)
	for b.Loop() {
		if _, err := conn.Write(datagram); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	for name, p := range map[string]*ebpf.Program{"out-ns/packet": x.eastGateway.programs.TomboloOut, "in-ns/packet": x.westGateway.programs.TomboloIn} {
		s, err := p.Stats()
		if err != nil {
			b.Fatal(err)
		}
		if s.RunCount < uint64(b.N) {
			b.Fatalf("%s: %d runs for %d datagrams", name, s.RunCount, b.N)
		}
		b.ReportMetric(float64(s.Runtime.Nanoseconds())/float64(s.RunCount), name)
	}
	for _, f := range []*Fastpath{x.eastGateway, x.westGateway} {
		if err := f.Remove(); err != nil {
			b.Fatal(err)
		}
	}
}
