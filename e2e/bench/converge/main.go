// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command converge measures the time from the write of a VpcPeering on the hub
// to the first packet between a pod of one cluster and a pod of the other, over
// many peerings one after the other, in a lab of its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/tombolo-io/tombolo/e2e/bench/result"
	"github.com/tombolo-io/tombolo/e2e/lab"
	"github.com/tombolo-io/tombolo/e2e/story"
)

const tenant = "demo"

// report is what -json writes. Times are milliseconds.
type report struct {
	Rounds  int       `json:"rounds"`
	P50     float64   `json:"p50_ms"`
	P99     float64   `json:"p99_ms"`
	Max     float64   `json:"max_ms"`
	Samples []float64 `json:"samples_ms"`
}

func main() {
	out := flag.String("json", "", "file to write the report to; standard output when empty")
	rounds := flag.Int("rounds", 25, "number of peerings, at least 20")
	dir := flag.String("dir", "/var/tmp/tombolo-bench", "directory of the lab's files")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dir, *rounds, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, rounds int, out string) error {
	if rounds < 20 {
		return fmt.Errorf("-rounds %d: a 99th percentile of fewer than 20 says nothing; give 20 or more", rounds)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := lab.Down(ctx, dir); err != nil {
			fmt.Fprintln(os.Stderr, "remove the lab:", err)
		}
	}()
	from, to, hub, err := start(ctx, dir)
	if err != nil {
		return err
	}
	var samples []float64
	for i := range rounds {
		took, err := story.FirstPacket(ctx, from, to, 4*time.Second, func(ctx context.Context) error {
			return hub.Apply(ctx, story.Manifest("peering"))
		})
		if err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
		samples = append(samples, float64(took.Microseconds())/1000)
		fmt.Fprintf(os.Stderr, "round %d/%d: %.0f ms\n", i+1, rounds, samples[i])
		if err := hub.DeleteAll(ctx, story.Manifest("peering")); err != nil {
			return err
		}
	}
	return result.Write(summarize(samples), out)
}

// start brings up two clusters with a pod in each, not yet peered.
func start(ctx context.Context, dir string) (from, to *story.Pod, hub *story.Cluster, err error) {
	fleet, err := story.Start(ctx, lab.Options{
		Dir: dir, Hub: "hub", Prefix: "tmbench", Tombolo: true,
		Spokes: []lab.SpokeOptions{{Name: "east", Nodes: 1}, {Name: "west", Nodes: 1}},
		Logf:   func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
	})
	if err != nil {
		return nil, nil, nil, err
	}
	if err := fleet.Namespace(ctx, tenant); err != nil {
		return nil, nil, nil, err
	}
	for _, name := range []string{"pools", "vpcs"} {
		if err := fleet.Hub.Apply(ctx, story.Manifest(name)); err != nil {
			return nil, nil, nil, err
		}
	}
	if from, err = fleet.Spokes["east"].StartPod(ctx, story.PodRequest{Namespace: tenant, Name: "one", Subnet: "net1"}); err != nil {
		return nil, nil, nil, err
	}
	to, err = fleet.Spokes["west"].StartPod(ctx, story.PodRequest{Namespace: tenant, Name: "two", Subnet: "net2"})
	return from, to, fleet.Hub, err
}

func summarize(samples []float64) report {
	sorted := slices.Sorted(slices.Values(samples))
	at := func(q float64) float64 { return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))] }
	return report{Rounds: len(samples), P50: at(0.50), P99: at(0.99), Max: sorted[len(sorted)-1], Samples: samples}
}
