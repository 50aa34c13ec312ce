// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command pipeline measures the same pair of pods, in two clusters, by way of Open vSwitch and OVN's pipeline and by the direct path, in
// rounds that take turns, in a lab of its own. Open vSwitch runs its userspace datapath there: what is compared is
// this lab's pipeline, not the kernel datapath's.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab"
	"github.com/tombolo-io/tombolo/e2e/story"
)

const tenant = "demo"

// variants are the ways, by what the counters of the programs call them: through the gateway ports, or by the pods themselves.
var variants = []variant{{"pipeline", "gateway", false}, {"direct", "pod", true}}

type variant struct {
	name, path string
	direct     bool
}

func main() {
	out := flag.String("json", "", "file to write the report to; standard output when empty")
	rounds := flag.Int("rounds", 7, "number of rounds")
	dir := flag.String("dir", "/var/tmp/tombolo-pipe", "directory of the lab's files")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dir, *rounds, *out); err != nil {
		fmt.Fprintln(os.Stderr, "pipeline:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, rounds int, out string) error {
	if rounds < 3 {
		return fmt.Errorf("-rounds %d: a median of fewer than 3 says nothing; give 3 or more", rounds)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := lab.Down(ctx, dir); err != nil {
			fmt.Fprintln(os.Stderr, "remove the lab:", err)
		}
	}()
	p, err := start(ctx, dir)
	if err != nil {
		return err
	}
	samples := map[string][]sample{}
	for round := range rounds {
		for i := range variants {
			v := variants[(i+round)%len(variants)] // who is first takes turns
			s, err := p.measure(ctx, v)
			if err != nil {
				return fmt.Errorf("round %d, %s: %w", round+1, v.name, err)
			}
			fmt.Fprintf(os.Stderr, "round %d of %d: %-8s %s\n", round+1, rounds, v.name, s)
			samples[v.name] = append(samples[v.name], s)
		}
	}
	return write(summarize(samples), out)
}

// pair is two pods in two clusters.
type pair struct {
	fleet    *story.Fleet
	from, to *story.Pod
}

func start(ctx context.Context, dir string) (*pair, error) {
	fleet, err := story.Start(ctx, lab.Options{
		Dir: dir, Hub: "hub", Prefix: "tmpipe", Tombolo: true,
		Spokes: []lab.SpokeOptions{{Name: "east", Nodes: 1}, {Name: "west", Nodes: 1}},
		Logf:   func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
	})
	if err != nil {
		return nil, err
	}
	if err := fleet.Namespace(ctx, tenant); err != nil {
		return nil, err
	}
	for _, name := range []string{"pools", "vpcs", "peering"} {
		if err := fleet.Hub.Apply(ctx, story.Manifest(name)); err != nil {
			return nil, err
		}
	}
	p := &pair{fleet: fleet}
	if p.from, err = fleet.Spokes["east"].StartPod(ctx, story.PodRequest{Namespace: tenant, Name: "one", Subnet: "net1"}); err != nil {
		return nil, err
	}
	if p.to, err = fleet.Spokes["west"].StartPod(ctx, story.PodRequest{Namespace: tenant, Name: "two", Subnet: "net2"}); err != nil {
		return nil, err
	}
	return p, nil
}

// take leads packets of both pods by a variant, and waits until they go there.
func (p *pair) take(ctx context.Context, v variant) error {
	for _, cluster := range p.fleet.Lab.Spokes {
		if err := p.fleet.Lab.Upgrade(ctx, cluster.Name, fmt.Sprintf("node.directPath=%t", v.direct)); err != nil {
			return err
		}
	}
	return story.Eventually(ctx, "packets by "+v.path, func(ctx context.Context) error {
		const packets, probes = 50, 10
		before, err := p.byPath(ctx)
		if err != nil {
			return err
		}
		if report, err := p.from.Ping(ctx, p.to.Address, packets, 2*time.Millisecond); err != nil || report.Lost > 0 {
			return fmt.Errorf("%d of %d packets were lost: %w", report.Lost, packets, err)
		}
		after, err := p.byPath(ctx)
		if err != nil {
			return err
		}
		for path, count := range after { // each packet counts where it is sent and where it arrives
			if grown := count - before[path]; path == v.path && grown < 4*packets || path != v.path && grown > probes {
				return fmt.Errorf("%.0f more by %s", grown, path)
			}
		}
		return nil
	})
}

// byPath are the packets between the two Vpcs in both clusters' counters.
func (p *pair) byPath(ctx context.Context) (map[string]float64, error) {
	sum := map[string]float64{}
	for _, cluster := range p.fleet.Lab.Spokes {
		counters, err := p.fleet.Counters(ctx, cluster.Name)
		if err != nil {
			return nil, err
		}
		for _, vpcs := range [][2]string{{tenant + "/vpc-1", tenant + "/vpc-2"}, {tenant + "/vpc-2", tenant + "/vpc-1"}} {
			for path, packets := range counters.ByPath(vpcs[0], vpcs[1]) {
				sum[path] += packets
			}
		}
	}
	return sum, nil
}

// measure takes one sample of a variant.
func (p *pair) measure(ctx context.Context, v variant) (sample, error) {
	if err := p.take(ctx, v); err != nil {
		return sample{}, err
	}
	const pings, interval, bytes = 1000, 2 * time.Millisecond, 64 << 20
	report, err := p.from.Ping(ctx, p.to.Address, pings, interval)
	if err != nil {
		return sample{}, err
	}
	out, err := p.from.Cluster.Exec(ctx, p.from.Namespace, p.from.Name, "/podtool", "tcp", "-json", "-bytes", fmt.Sprint(bytes), p.to.Address.String()+":8080")
	if err != nil {
		return sample{}, err
	}
	return newSample(report, out)
}

func write(r report, out string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if out == "" {
		_, err = os.Stdout.Write(text)
		return err
	}
	return os.WriteFile(out, text, 0o644)
}
