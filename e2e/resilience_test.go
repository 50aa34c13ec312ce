// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/ovn"
	"github.com/tombolo-io/tombolo/e2e/lab/probe"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// pinging is a flow of echo requests that runs beside what a test does.
type pinging struct {
	answer chan probe.PingReport
	failed chan error
}

// ping sends an echo request every 10 ms for as long as d.
func (n *tenant) ping(from, to *story.Pod, d time.Duration) pinging {
	p := pinging{answer: make(chan probe.PingReport, 1), failed: make(chan error, 1)}
	go func() {
		report, err := from.Ping(n.ctx, to.Address, int(d/(10*time.Millisecond)), 10*time.Millisecond)
		p.failed <- err
		p.answer <- report
	}()
	return p
}

// lossless waits for the flow's end and fails when a packet was lost.
func (n *tenant) lossless(p pinging, during string) {
	n.Helper()
	n.must(<-p.failed)
	report := <-p.answer
	if report.Received != report.Sent || report.Sent == 0 {
		n.Errorf("%s: %d of %d packets were lost", during, report.Sent-report.Received, report.Sent)
	}
	n.Logf("%s: %d of %d packets", during, report.Received, report.Sent)
}

// peered is two Vpcs in two clusters, verified, with a pod in each.
func (n *tenant) peered() (pod1, pod2 *story.Pod) {
	n.Helper()
	n.vpc("vpc-1", "east", "10.0.0.0/16")
	n.vpc("vpc-2", "west", "172.31.0.0/16")
	n.peer("one-two", "vpc-1", "vpc-2")
	pod1, pod2 = n.pod("east", "pod-1", "vpc-1"), n.pod("west", "pod-2", "vpc-2")
	n.verified("one-two")
	n.reach(pod1, pod2, 62)
	return pod1, pod2
}

// written is how much has been written to the northbound databases: ovsdb-server appends each transaction to its file.
func (n *tenant) written() map[string]int64 {
	n.Helper()
	sizes := map[string]int64{}
	for _, name := range []string{"east", "west"} {
		info, err := os.Stat(n.northbound(name))
		n.must(err)
		sizes[name] = info.Size()
	}
	return sizes
}

// killAgents ends all agents at once, without a word, and waits until the kubelets have started them again.
func (n *tenant) killAgents() {
	n.Helper()
	killed, err := fleet.Lab.KillAgents(n.ctx, nil)
	n.must(err)
	if killed != 8 {
		n.Fatalf("killed %d agents, want 2 controllers in each cluster and 4 nodes", killed)
	}
	n.must(fleet.Lab.AgentsReady(n.ctx))
}

// TestAgentsRestartWithoutLoss kills every agent under traffic; the kubelets start them again.
func TestAgentsRestartWithoutLoss(t *testing.T) {
	n := newTenant(t, "restart")
	pod1, pod2 := n.peered()
	before, world := n.written(), n.world()
	flow := n.ping(pod1, pod2, 12*time.Second)
	n.killAgents()
	n.lossless(flow, "agents killed and restarted")
	n.notChanged(before, "a restart of the agents")
	if after := n.world(); after != world {
		t.Errorf("OVN or eBPF changed by a restart of the agents:\n%s\nwas\n%s", after, world)
	}
}

// notChanged fails when something else was written to a northbound database than who writes from now on, which each new controller says first.
func (n *tenant) notChanged(before map[string]int64, by string) {
	n.Helper()
	for _, cluster := range []string{"east", "west"} {
		file, err := os.Open(n.northbound(cluster))
		n.must(err)
		_, err = file.Seek(before[cluster], io.SeekStart)
		n.must(err)
		appended, err := io.ReadAll(file)
		n.must(errors.Join(err, file.Close()))
		for line := range strings.Lines(string(appended)) { // a header, and the transaction as JSON: ovsdb(5)
			transaction := map[string]json.RawMessage{}
			if !strings.HasPrefix(line, "{") {
				continue
			}
			n.must(json.Unmarshal([]byte(line), &transaction))
			for table, rows := range transaction {
				if !strings.HasPrefix(table, "_") && (table != "NB_Global" || !strings.Contains(string(rows), "tombolo-writer")) {
					n.Errorf("%s wrote to the northbound database of %s: %s", by, cluster, line)
				}
			}
		}
	}
}

// northbound is the file of a cluster's northbound database.
func (n *tenant) northbound(cluster string) string {
	n.Helper()
	c, err := fleet.Lab.Cluster(cluster)
	n.must(err)
	return strings.TrimSuffix(strings.TrimPrefix(c.Central.NB(), "unix:"), ".sock") + ".db"
}

// restartOVN ends all daemons of OVN and Open vSwitch in a cluster at once, and starts them again from what they have on disk.
func (n *tenant) restartOVN(cluster string) {
	n.Helper()
	c, err := fleet.Lab.Cluster(cluster)
	n.must(err)
	for _, node := range c.Nodes {
		n.must(node.OVS.Stop())
	}
	n.must(c.Central.Stop())
	_, err = ovn.StartCentral(n.ctx, c.Central.CentralOptions)
	n.must(err)
	for _, node := range c.Nodes {
		_, err := ovn.StartNode(n.ctx, node.OVS.NodeOptions)
		n.must(err)
	}
}

// TestHubAway takes the hub's apiserver and node away; clusters go on, even through restarts of their agents and of OVN, and new pods. When the hub is
// back, everything is as it was.
func TestHubAway(t *testing.T) {
	n := newTenant(t, "hub-away")
	pod1, pod2 := n.peered()
	flow := n.ping(pod1, pod2, 15*time.Second)
	n.must(fleet.Lab.StopHub(n.ctx))
	back := false
	comeBack := func() {
		if back {
			return
		}
		back = true
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		n.check(fleet.Lab.StartHub(ctx))
	}
	t.Cleanup(comeBack)

	n.killAgents()
	pod3 := n.pod("east", "pod-3", "vpc-1") // a restarted agent attaches pods from its copy
	n.reach(pod3, pod2, 62)
	n.lossless(flow, "hub away, agents restarted")

	world := n.world()
	n.restartOVN("east")
	n.reach(pod3, pod2, 62)
	if after := n.world(); after != world {
		t.Errorf("OVN or eBPF changed by a restart of OVN without the hub:\n%s\nwas\n%s", after, world)
	}

	comeBack()
	n.verified("one-two")
	if after := n.world(); after != world {
		t.Errorf("OVN or eBPF changed when the hub came back:\n%s\nwas\n%s", after, world)
	}
	n.vpc("vpc-4", "west", "10.4.0.0/16")
	n.peer("one-four", "vpc-1", "vpc-4")
	n.verified("one-four") // and what changes afterwards arrives
}

// TestSpoofedSourceIsDropped sends, from a real gateway's address, packets whose inner source the hub never gave that cluster.
func TestSpoofedSourceIsDropped(t *testing.T) {
	n := newTenant(t, "spoof")
	_, pod2 := n.peered()
	vni, err := fleet.Hub.VNI(n.ctx, n.name, "vpc-2")
	n.must(err)
	west, err := fleet.Lab.Cluster("west")
	n.must(err)
	east, err := fleet.Lab.Cluster("east")
	n.must(err)
	before, err := fleet.Counters(n.ctx, "west")
	n.must(err)

	const packets = 20
	connection, err := netns.DialContext(east.Nodes[0].NetNS)(n.ctx, "udp", fmt.Sprintf("%s:4789", west.Nodes[0].WanIP.Addr()))
	n.must(err)
	defer func() { _ = connection.Close() }()
	for range packets {
		_, err := connection.Write(vxlan(vni, echoRequest(netip.MustParseAddr("10.99.0.1"), pod2.Address)))
		n.must(err)
	}
	n.must(story.Eventually(n.ctx, "the drops to be counted", func(ctx context.Context) error {
		after, err := fleet.Counters(ctx, "west")
		if err != nil {
			return err
		}
		if dropped := after.Drops("spoofed_source") - before.Drops("spoofed_source"); dropped != packets {
			return fmt.Errorf("%.0f of %d spoofed packets were dropped as such", dropped, packets)
		}
		return nil
	}))
}

// vxlan is the UDP payload of RFC 7348 around an IPv4 packet.
func vxlan(vni int32, packet []byte) []byte {
	header := []byte{0x08, 0, 0, 0}
	header = binary.BigEndian.AppendUint32(header, uint32(vni)<<8)
	ethernet := append(make([]byte, 12), 0x08, 0x00)
	return append(append(header, ethernet...), packet...)
}

// echoRequest is an IPv4 packet (RFC 791) with an ICMP echo request (RFC 792).
func echoRequest(from, to netip.Addr) []byte {
	icmp := []byte{8, 0, 0, 0, 0, 1, 0, 1}
	binary.BigEndian.PutUint16(icmp[2:], checksum(icmp))
	ip := []byte{0x45, 0, 0, byte(20 + len(icmp)), 0, 0, 0, 0, 64, 1, 0, 0}
	ip = append(append(ip, from.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	return append(ip, icmp...)
}

// checksum of RFC 1071, over an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
