// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command pipeline measures the same pair of pods, in two clusters, by OVN's own interconnection (ovn-ic, Geneve), by Tombolo's gateways behind
// OVN's pipeline, and by Tombolo's direct path, in rounds that take turns, in a lab of its own. Open vSwitch runs its userspace
// datapath there: what is compared is this lab's pipeline, not the kernel datapath's. It needs Debian's packages ovn-ic and ovn-ic-db.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/tombolo-io/tombolo/e2e/bench/result"
	"github.com/tombolo-io/tombolo/e2e/lab"
	"github.com/tombolo-io/tombolo/e2e/lab/ovn"
	"github.com/tombolo-io/tombolo/e2e/lab/probe"
	"github.com/tombolo-io/tombolo/e2e/story"
)

const tenant = "demo"

// variants are the ways, by what the counters of the programs call them: past them all, through the gateway ports, or by the pods themselves.
var variants = []variant{{name: "ovn-ic", interconnection: true}, {name: "pipeline", path: "gateway"}, {name: "direct", path: "pod", direct: true}}

type variant struct {
	name, path              string
	direct, interconnection bool
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
	return result.Write(summarize(samples), out)
}

// pair is two pods in two clusters.
type pair struct {
	fleet    *story.Fleet
	from, to *story.Pod
	ic       *ovn.Interconnection
	members  []ovn.Member
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
	return p, p.interconnect(ctx)
}

// interconnect joins the pods' routers by OVN's own means too.
func (p *pair) interconnect(ctx context.Context) (err error) {
	for i, router := range []string{tenant + ".vpc-1", tenant + ".vpc-2"} {
		c := p.fleet.Lab.Spokes[i]
		address := netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254, 1, byte(i + 1)}), 24)
		p.members = append(p.members, ovn.Member{Central: c.Central, Gateway: c.Nodes[0].OVS, Router: router, Address: address})
	}
	if p.ic, err = p.fleet.Lab.Interconnect(ctx); err != nil {
		return err
	}
	return p.ic.Join(ctx, "transit", p.members...)
}

// take leads packets of both pods by a variant, and waits until they go there.
func (p *pair) take(ctx context.Context, v variant) error {
	for _, cluster := range p.fleet.Lab.Spokes {
		if err := p.fleet.Lab.Upgrade(ctx, cluster.Name, fmt.Sprintf("node.directPath=%t", v.direct)); err != nil {
			return err
		}
	}
	if err := p.route(ctx, v.interconnection); err != nil {
		return err
	}
	return story.Eventually(ctx, "packets by "+v.name, func(ctx context.Context) error {
		const packets, probes = 50, 10
		before, err := p.byPath(ctx)
		if err != nil {
			return err
		}
		report, err := p.from.Ping(ctx, p.to.Address, packets, 2*time.Millisecond)
		if err != nil {
			return err
		}
		if report.Lost > 0 {
			return fmt.Errorf("%d of %d packets were lost", report.Lost, packets)
		}
		after, err := p.byPath(ctx)
		if err != nil {
			return err
		}
		// Each packet counts where it is sent and where it arrives. What arrives and Tombolo has not counted, ovn-ic's Geneve has carried: there is no third way.
		for path, count := range after {
			if grown := count - before[path]; path == v.path && grown < 4*packets || path != v.path && grown > probes {
				return fmt.Errorf("%.0f more by %s", grown, path)
			}
		}
		return nil
	})
}

// route takes the peering away and lets ovn-ic exchange routes, or the other way round: never both.
func (p *pair) route(ctx context.Context, interconnection bool) error {
	peering := story.Manifest("peering")
	if !interconnection {
		if err := p.ic.Route(ctx, false, p.members...); err != nil {
			return err
		}
		return p.fleet.Hub.Apply(ctx, peering)
	}
	if err := p.fleet.Hub.DeleteAll(ctx, peering); err != nil {
		return err
	}
	err := story.Eventually(ctx, "routers without routes", func(ctx context.Context) error {
		for i, m := range p.members {
			routes, err := m.Central.NBCtl(ctx, "lr-route-list", m.Router)
			if other := []*story.Pod{p.to, p.from}[i].Address.As4(); err == nil && strings.Contains(routes, fmt.Sprintf("%d.%d.", other[0], other[1])) {
				err = fmt.Errorf("%s has\n%s", m.Router, routes)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.ic.Route(ctx, true, p.members...)
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
	const pings, interval, bytes, window, duration = 500, 2 * time.Millisecond, 64 << 20, 32, 2 * time.Second
	ping, err := p.from.Ping(ctx, p.to.Address, pings, interval)
	if err != nil {
		return sample{}, err
	}
	s, err := newSample(ping)
	if err != nil {
		return sample{}, err
	}
	var rr, udp probe.RateReport
	var tcp probe.TCPReport
	err = errors.Join(
		p.podtool(ctx, &rr, "rate", "-d", duration.String()),
		p.podtool(ctx, &udp, "rate", "-udp", "-window", fmt.Sprint(window), "-d", duration.String()),
		p.podtool(ctx, &tcp, "tcp", "-bytes", fmt.Sprint(bytes)),
	)
	if err == nil && !tcp.Match {
		err = fmt.Errorf("TCP to %s: other bytes came back", tcp.Address)
	}
	s.RR, s.UDP, s.UDPLost, s.TCP = rr.PerSecond(), udp.PerSecond(), udp.Lost, tcp.MbitPerSecond()
	return s, err
}

// podtool runs a command of the first pod's against the second, and reads its report.
func (p *pair) podtool(ctx context.Context, report any, command ...string) error {
	command = append(append([]string{"/podtool"}, command...), "-json", netip.AddrPortFrom(p.to.Address, 8080).String())
	out, err := p.from.Cluster.Exec(ctx, p.from.Namespace, p.from.Name, command...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), report); err != nil {
		return fmt.Errorf("read podtool's report: %w (%q)", err, out)
	}
	return nil
}
