// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/measure"
	"github.com/tombolo-io/tombolo/e2e/lab/probe"
)

// sample is what one round has given: medians and 99th percentiles of echo requests in microseconds, ping-pongs of one byte by TCP and
// answers of 18 bytes by UDP per second, and TCP echo, which goes both ways at once, in Mbit/s of each way.
type sample struct {
	RTT     float64 `json:"rtt_us"`
	P99     float64 `json:"rtt_p99_us"`
	Lost    int     `json:"lost"`
	RR      float64 `json:"rr_per_s"`
	UDP     float64 `json:"udp_per_s"`
	UDPLost int     `json:"udp_lost"`
	TCP     float64 `json:"tcp_mbit"`
}

func (s sample) String() string {
	return fmt.Sprintf("round trip %.0f µs, 99 %% within %.0f µs, %d lost; %.0f ping-pongs/s; UDP %.0f/s, %d lost; TCP %.0f Mbit/s",
		s.RTT, s.P99, s.Lost, s.RR, s.UDP, s.UDPLost, s.TCP)
}

func newSample(ping probe.PingReport) (sample, error) {
	var rtts []time.Duration
	for _, r := range ping.Replies {
		if r.Error == "" {
			rtts = append(rtts, r.RTT)
		}
	}
	if len(rtts) == 0 {
		return sample{}, fmt.Errorf("ping %s: none of %d packets came back", ping.Address, ping.Sent)
	}
	slices.Sort(rtts)
	at := func(q float64) float64 {
		return float64(rtts[min(len(rtts)-1, int(q*float64(len(rtts))))].Nanoseconds()) / 1000
	}
	return sample{RTT: at(0.5), P99: at(0.99), Lost: ping.Lost}, nil
}

// values are what is summarized and compared; of rates more is better.
var values = []struct {
	name string
	of   func(sample) float64
	rate bool
}{
	{"rtt_us", func(s sample) float64 { return s.RTT }, false},
	{"rtt_p99_us", func(s sample) float64 { return s.P99 }, false},
	{"rr_per_s", func(s sample) float64 { return s.RR }, true},
	{"udp_per_s", func(s sample) float64 { return s.UDP }, true},
	{"tcp_mbit", func(s sample) float64 { return s.TCP }, true},
}

// summary is the least, the median and the most of all rounds, by the names of values.
type summary map[string]measure.Summary

// report is what -json writes. Ratios are of the same round, their medians count; above 1 the direct path is better.
type report struct {
	Kernel   string              `json:"kernel"`
	CPUs     int                 `json:"cpus"`
	Load     string              `json:"load"`
	Rounds   int                 `json:"rounds"`
	Variants map[string]summary  `json:"variants"`
	Ratios   map[string]summary  `json:"direct_better_than_by"`
	Samples  map[string][]sample `json:"samples"`
}

func summarize(samples map[string][]sample) report {
	r := report{
		Kernel: line("/proc/sys/kernel/osrelease"), CPUs: runtime.NumCPU(), Load: line("/proc/loadavg"),
		Variants: map[string]summary{}, Ratios: map[string]summary{}, Samples: samples,
	}
	direct := samples["direct"]
	for name, all := range samples {
		r.Rounds = len(all)
		r.Variants[name], r.Ratios[name] = summary{}, summary{}
		for _, v := range values {
			var own, ratios []float64
			for i, s := range all {
				ratio := v.of(s) / v.of(direct[i])
				if v.rate {
					ratio = 1 / ratio
				}
				own, ratios = append(own, v.of(s)), append(ratios, ratio)
			}
			slices.Sort(own)
			slices.Sort(ratios)
			r.Variants[name][v.name], r.Ratios[name][v.name] = measure.Summarize(own), measure.Summarize(ratios)
		}
	}
	delete(r.Ratios, "direct")
	return r
}

func line(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
