// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab"
	"github.com/tombolo-io/tombolo/e2e/story"
)

const tenant = "demo"

type demo struct {
	out   io.Writer
	begin time.Time

	fleet            *story.Fleet
	pod1, pod2, pod3 *story.Pod
}

// run is the demo's table of contents.
func (d *demo) run(ctx context.Context, dir string) error {
	steps := []struct {
		title string
		do    func(context.Context) error
	}{
		{"Start a hub and the clusters east and west", func(ctx context.Context) error { return d.start(ctx, dir) }},
		{"vpc-1 (10.0.0.0/16) in east, vpc-2 (172.31.0.0/16) in west, a pod in each", d.vpcs},
		{"Before the peering nothing passes", d.before},
		{"Apply the VpcPeering and wait for the first packet", d.peer},
		{"Wait until the probes say Verified", d.verified},
		{"Ping both ways, and a TCP stream", d.traffic},
		{"A third Vpc, peered with vpc-2 only, reaches vpc-2 but not vpc-1", d.third},
		{"The routers in OVN", d.routers},
		{"The counters of the eBPF programs", d.counters},
		{"Delete the peering: packets stop", d.unpeer},
	}
	for i, step := range steps {
		fmt.Fprintf(d.out, "\n[%5.1fs] %d/%d %s\n", time.Since(d.begin).Seconds(), i+1, len(steps), step.title)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.title, err)
		}
	}
	d.lookAround(dir)
	return nil
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "         "+format+"\n", args...)
}

func (d *demo) start(ctx context.Context, dir string) error {
	fleet, err := story.Start(ctx, lab.Options{
		Dir: dir, Hub: "hub", Tombolo: true,
		Spokes: []lab.SpokeOptions{{Name: "east", Nodes: 2}, {Name: "west", Nodes: 1, Join: lab.JoinToken}},
		Logf:   d.say,
	})
	if err != nil {
		return err
	}
	d.fleet = fleet
	return nil
}

func (d *demo) vpcs(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := d.fleet.Namespace(ctx, tenant); err != nil {
		return err
	}
	for _, name := range []string{"pools", "vpcs"} {
		if err := d.fleet.Hub.Apply(ctx, story.Manifest(name)); err != nil {
			return err
		}
	}
	// On the node that is no gateway, so that packets cross geneve too.
	if d.pod1, err = d.pod(ctx, "east", "vpc-1-pod", "net1", "n2"); err != nil {
		return err
	}
	d.pod2, err = d.pod(ctx, "west", "vpc-2-pod", "net2", "")
	return err
}

func (d *demo) pod(ctx context.Context, cluster, name, subnet, node string) (*story.Pod, error) {
	pod, err := d.fleet.Spokes[cluster].StartPod(ctx, story.PodRequest{Namespace: tenant, Name: name, Subnet: subnet, Node: node})
	if err != nil {
		return nil, err
	}
	d.say("pod %s of %s runs in subnet %s with address %s", name, cluster, subnet, pod.Address)
	return pod, nil
}

func (d *demo) before(ctx context.Context) error {
	if err := d.pod1.MustNotReach(ctx, d.pod2.Address); err != nil {
		return err
	}
	d.say("%s → %s: no reply to 10 packets", d.pod1.Name, d.pod2.Address)
	return nil
}

func (d *demo) peer(ctx context.Context) error {
	var begin time.Time
	took, err := story.FirstPacket(ctx, d.pod1, d.pod2, 6*time.Second, func(ctx context.Context) error {
		begin = time.Now()
		return d.fleet.Hub.Apply(ctx, story.Manifest("peering"))
	})
	if err != nil {
		return err
	}
	d.say("from kubectl apply to the first reply: %d ms", took.Milliseconds())
	d.say("from helm install on the clusters to that reply: %.1f s, this demo's own steps among them", begin.Add(took).Sub(d.fleet.Lab.SpokesInstalled).Seconds())
	return nil
}

func (d *demo) verified(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	peering, err := d.fleet.Hub.Verified(ctx, tenant, "one-two")
	if err != nil {
		return err
	}
	for _, c := range peering.Status.Conditions {
		d.say("%-10s %-5s %s", c.Type, c.Status, c.Message)
	}
	return nil
}

func (d *demo) traffic(ctx context.Context) error {
	for _, way := range [][2]*story.Pod{{d.pod1, d.pod2}, {d.pod2, d.pod1}} {
		from, to := way[0], way[1]
		report, err := from.MustReach(ctx, to, 62)
		if err != nil {
			return err
		}
		d.say("%s → %s: %d of %d packets, ttl=%d, %.2f ms", from.Name, to.Address, report.Received, report.Sent, report.TTL, report.AvgMS)
		line, err := from.TCP(ctx, to.Address, 8<<20)
		if err != nil {
			return err
		}
		d.say("TCP %s", strings.TrimSpace(line))
	}
	return nil
}

func (d *demo) third(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := d.fleet.Hub.Apply(ctx, story.Manifest("third")); err != nil {
		return err
	}
	if d.pod3, err = d.pod(ctx, "east", "vpc-3-pod", "net3", ""); err != nil {
		return err
	}
	if _, err := d.fleet.Hub.Verified(ctx, tenant, "two-three"); err != nil {
		return err
	}
	report, err := d.pod3.MustReach(ctx, d.pod2, 62)
	if err != nil {
		return err
	}
	d.say("%s → vpc-2 %s: %d of %d packets", d.pod3.Name, d.pod2.Address, report.Received, report.Sent)
	for _, way := range [][2]*story.Pod{{d.pod3, d.pod1}, {d.pod1, d.pod3}} {
		if err := way[0].MustNotReach(ctx, way[1].Address); err != nil {
			return err
		}
		d.say("%s → %s: no reply to 10 packets", way[0].Name, way[1].Address)
	}
	return nil
}

func (d *demo) routers(ctx context.Context) error {
	for _, cluster := range []string{"east", "west"} {
		out, err := d.fleet.OVN(ctx, cluster)
		if err != nil {
			return err
		}
		d.block(cluster, out)
	}
	return nil
}

func (d *demo) counters(ctx context.Context) error {
	for _, cluster := range []string{"east", "west"} {
		counters, err := d.fleet.Counters(ctx, cluster)
		if err != nil {
			return err
		}
		if counters.Packets(tenant+"/vpc-1", tenant+"/vpc-2") == 0 && counters.Packets(tenant+"/vpc-2", tenant+"/vpc-1") == 0 {
			return fmt.Errorf("the programs of %s have counted no packet between vpc-1 and vpc-2:\n%s", cluster, counters.Text)
		}
		d.block(cluster, counters.Text)
	}
	return nil
}

func (d *demo) block(title, text string) {
	d.say("%s:", title)
	for line := range strings.Lines(text) {
		d.say("  %s", strings.TrimRight(line, "\n"))
	}
}

func (d *demo) unpeer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	begin := time.Now()
	if err := d.fleet.Hub.DeleteAll(ctx, story.Manifest("peering")); err != nil {
		return err
	}
	d.say("VpcPeering gone after %d ms: both clusters have confirmed", time.Since(begin).Milliseconds())
	for _, way := range [][2]*story.Pod{{d.pod1, d.pod2}, {d.pod2, d.pod1}} {
		if err := way[0].MustNotReach(ctx, way[1].Address); err != nil {
			return err
		}
		d.say("%s → %s: no reply to 10 packets", way[0].Name, way[1].Address)
	}
	if _, err := d.pod3.MustReach(ctx, d.pod2, 62); err != nil {
		return fmt.Errorf("the other peering must go on: %w", err)
	}
	d.say("%s → %s: still there", d.pod3.Name, d.pod2.Address)
	return nil
}

func (d *demo) lookAround(dir string) {
	fmt.Fprintf(d.out, "\n[%5.1fs] Everything held. Look around:\n", time.Since(d.begin).Seconds())
	for _, line := range d.fleet.LookAround(dir) {
		fmt.Fprintf(d.out, "  %s\n", line)
	}
	fmt.Fprintln(d.out, "  make demo-down        # remove all of it")
}
