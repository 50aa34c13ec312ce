// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/measure"
	"github.com/tombolo-io/tombolo/e2e/lab/probe"
)

// sample is what one round has given: medians and 99th percentiles of echo requests in microseconds, and TCP echo, which goes both
// ways at once, in Mbit/s of each way.
type sample struct {
	RTT  float64 `json:"rtt_us"`
	P99  float64 `json:"rtt_p99_us"`
	Lost int     `json:"lost"`
	TCP  float64 `json:"tcp_mbit"`
}

func (s sample) String() string {
	return fmt.Sprintf("round trip %.0f µs, 99 %% within %.0f µs, %d lost; TCP %.0f Mbit/s", s.RTT, s.P99, s.Lost, s.TCP)
}

func newSample(ping probe.PingReport, tcp string) (sample, error) {
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
	var echo probe.TCPReport
	if err := json.Unmarshal([]byte(tcp), &echo); err != nil {
		return sample{}, fmt.Errorf("read podtool's report: %w (%q)", err, tcp)
	}
	if !echo.Match {
		return sample{}, fmt.Errorf("TCP to %s: other bytes came back", echo.Address)
	}
	return sample{RTT: at(0.5), P99: at(0.99), Lost: ping.Lost, TCP: echo.MbitPerSecond()}, nil
}

// summary is the least, the median and the most of all rounds.
type summary struct {
	RTT measure.Summary `json:"rtt_us"`
	P99 measure.Summary `json:"rtt_p99_us"`
	TCP measure.Summary `json:"tcp_mbit"`
}

// report is what -json writes. Ratios are of the same round, their medians count; above 1 the direct path is better.
type report struct {
	Kernel   string                     `json:"kernel"`
	CPUs     int                        `json:"cpus"`
	Load     string                     `json:"load"`
	Rounds   int                        `json:"rounds"`
	Variants map[string]summary         `json:"variants"`
	Ratios   map[string]measure.Summary `json:"ratios"`
	Samples  map[string][]sample        `json:"samples"`
}

func summarize(samples map[string][]sample) report {
	r := report{
		Kernel: line("/proc/sys/kernel/osrelease"), CPUs: runtime.NumCPU(), Load: line("/proc/loadavg"),
		Variants: map[string]summary{}, Ratios: map[string]measure.Summary{}, Samples: samples,
	}
	of := func(all []sample, value func(sample) float64) measure.Summary {
		var values []float64
		for _, s := range all {
			values = append(values, value(s))
		}
		slices.Sort(values)
		return measure.Summarize(values)
	}
	for name, all := range samples {
		r.Rounds = len(all)
		r.Variants[name] = summary{
			RTT: of(all, func(s sample) float64 { return s.RTT }), P99: of(all, func(s sample) float64 { return s.P99 }), TCP: of(all, func(s sample) float64 { return s.TCP }),
		}
	}
	var rtt, tcp []float64
	for i, direct := range samples["direct"] {
		other := samples["pipeline"][i]
		rtt, tcp = append(rtt, other.RTT/direct.RTT), append(tcp, direct.TCP/other.TCP)
	}
	slices.Sort(rtt)
	slices.Sort(tcp)
	r.Ratios["rtt_pipeline_over_direct"], r.Ratios["tcp_direct_over_pipeline"] = measure.Summarize(rtt), measure.Summarize(tcp)
	return r
}

func line(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
