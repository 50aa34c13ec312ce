// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/nbdb"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/ovntest"
)

var update = flag.Bool("update", false, "write testdata/story.txtar anew")

// TestStory leads one database through the states that a cluster goes through. testdata/story.txtar holds all rows of
// ours after each step.
func TestStory(t *testing.T) {
	m := startMemory(t)
	n := dialNorthbound(t, m.endpoint)
	one, two := vpc("vpc-1", "10.0.0.0/16", "p1"), vpc("vpc-2", "172.31.0.0/16")

	steps := []struct {
		name string
		do   func(d *Desired)
	}{
		{"two Vpcs without anything between them", func(d *Desired) { d.Routers = []Router{one, two} }},
		{"OVN gives the pod its address, then port_security follows", func(*Desired) {
			port := mustRow(t, n, kindPodPort, "pod-p1")
			m.transact(t, updateOp(port.table, port.uuid, map[string]any{"dynamic_addresses": []string{"0a:00:00:00:00:01 10.0.0.2"}}))
			ovntest.Eventually(t, "the address in the cache", func() bool { return mustRow(t, n, kindPodPort, "pod-p1").dynamicAddresses != "" })
		}},
		{"the two are peered", func(d *Desired) { peer(&d.Routers[0], &d.Routers[1]) }},
		{"vpc-1 gets two gateway nodes", func(d *Desired) { gateways(&d.Routers[0], 2, "10.64.0.0/10") }},
		{"one gateway node goes", func(d *Desired) {
			r := &d.Routers[0]
			r.Transit.Gateways, r.Routes[1].NextHops = r.Transit.Gateways[:1], r.Routes[1].NextHops[:1]
		}},
		{"a subnet comes, the pod goes, an address is excluded", func(d *Desired) {
			r := &d.Routers[0]
			r.Subnets[0].Ports, r.Subnets[0].ExcludeIPs = nil, []string{"10.0.0.3..10.0.0.9"}
			r.Subnets = append(r.Subnets, Subnet{
				Name: "demo.vpc-1.b", CIDR: netip.MustParsePrefix("10.1.0.0/16"), Gateway: netip.MustParseAddr("10.1.0.1")})
		}},
		{"the peering ends", func(d *Desired) {
			d.Routers[0].Peers, d.Routers[1].Peers, d.Routers[1].Routes = nil, nil, nil
			d.Routers[0].Routes = d.Routers[0].Routes[1:]
		}},
		{"vpc-2 is not mentioned any more: it stays as an orphan", func(d *Desired) { d.Routers = d.Routers[:1] }},
		{"vpc-2 is removed by name", func(d *Desired) { d.Removed = []string{"uid-vpc-2"} }},
		{"vpc-1 is removed and made again under its name", func(d *Desired) {
			again := vpc("vpc-1", "10.0.0.0/16", "p2")
			again.Owner = "uid-vpc-1-again"
			*d = Desired{Routers: []Router{again}, Removed: []string{"uid-vpc-1"}}
		}},
	}

	got := &txtar.Archive{Comment: []byte("All rows of ours in OVN_Northbound after each step of TestStory. Write anew with -update.\n\n")}
	var d Desired
	for _, step := range steps {
		step.do(&d)
		report, err := n.Set(t.Context(), d)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		text := fmt.Sprintf("operations=%d orphans=%v ports=%v\n%s", report.Operations, report.Orphans, report.Ports, mustDump(t, n))
		got.Files = append(got.Files, txtar.File{Name: step.name, Data: []byte(text)})
		if again, err := n.Set(t.Context(), d); err != nil || again.Operations != 0 {
			t.Errorf("%s: a second Set sent %d operations (error %v), want none", step.name, again.Operations, err)
		}
	}
	const file = "testdata/story.txtar"
	if *update {
		must(t, os.WriteFile(file, txtar.Format(got), 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if diff := cmp.Diff(string(want), string(txtar.Format(got))); diff != "" {
		t.Errorf("rows differ from %s (-want +got):\n%s", file, diff)
	}
}

// TestOthersRows holds Set to its promise: rows of others are not changed, whatever they are and wherever they hang.
func TestOthersRows(t *testing.T) {
	m := startMemory(t)
	n := dialNorthbound(t, m.endpoint)
	one := vpc("vpc-1", "10.0.0.0/16", "p1")
	mustSet(t, n, one)

	router, port := mustRow(t, n, kindRouter, "demo.vpc-1"), mustRow(t, n, kindPodPort, "pod-p1")
	const theirs, theirRouter = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	m.transact(t,
		insertOp(nbdb.LogicalRouterStaticRouteTable, theirs, map[string]any{"ip_prefix": "0.0.0.0/0", "nexthop": "10.0.0.254"}),
		mutateOp(router.table, router.uuid, addOrRemove("static_routes", []string{theirs}, nil)...),
		updateOp(router.table, router.uuid, map[string]any{"options": map[string]string{"mcast_relay": "true"}}),
		insertOp(nbdb.LogicalRouterTable, theirRouter, map[string]any{"name": "ovn-cluster"}),
		updateOp(port.table, port.uuid, map[string]any{"type": "localport", "port_security": []string{"0a:00:00:00:00:09"}}),
	)
	ovntest.Eventually(t, "the changes in the cache", func() bool {
		return len(mustRow(t, n, kindRouter, "demo.vpc-1").children["static_routes"]) == 1
	})
	if report := mustSet(t, n, one); report.Operations != 2 {
		t.Errorf("Set sent %d operations, want 2: our router's option back, our port's type back", report.Operations)
	}
	_, err := n.Set(t.Context(), Desired{})
	must(t, err)

	_, s, err := n.read(t.Context())
	must(t, err)
	router = mustRow(t, n, kindRouter, "demo.vpc-1")
	if diff := cmp.Diff(map[string]string{"mcast_relay": "true", "mac_binding_age_threshold": "300"}, router.columns["options"]); diff != "" {
		t.Errorf("options of others stay beside ours (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{theirs}, router.children["static_routes"]); diff != "" {
		t.Errorf("a route by hand in our router stays (-want +got):\n%s", diff)
	}
	if len(s.named[nbdb.LogicalRouterTable]["ovn-cluster"]) != 1 {
		t.Error("the router of others is gone")
	}
	if got := mustRow(t, n, kindPodPort, "pod-p1").columns["type"]; got != "" {
		t.Errorf("type of our port is %q, want it repaired", got)
	}
}

// TestChanged: somebody deletes a row of ours. That wakes whoever waits, and Set makes it again.
func TestChanged(t *testing.T) {
	m := startMemory(t)
	n := dialNorthbound(t, m.endpoint)
	one := vpc("vpc-1", "10.0.0.0/16", "p1")
	mustSet(t, n, one)
	before := mustDump(t, n)
	sw, port := mustRow(t, n, kindSubnet, "demo.vpc-1.a"), mustRow(t, n, kindPodPort, "pod-p1")
	m.transact(t, mutateOp(sw.table, sw.uuid, addOrRemove("ports", nil, []string{port.uuid})...))
	for mustDump(t, n) == before {
		select {
		case <-n.Changed():
		case <-time.After(time.Minute):
			t.Fatal("waited a minute for the signal that a row of ours is gone")
		}
	}
	mustSet(t, n, one)
	if diff := cmp.Diff(before, mustDump(t, n)); diff != "" {
		t.Errorf("rows changed (-before +after):\n%s", diff)
	}
}

// TestTwins: a person copied a row of ours with its external_ids. Ours stays, the copy goes.
func TestTwins(t *testing.T) {
	m := startMemory(t)
	n := dialNorthbound(t, m.endpoint)
	one := vpc("vpc-1", "10.0.0.0/16")
	mustSet(t, n, one)
	before := mustDump(t, n)
	sw := mustRow(t, n, kindSubnet, "demo.vpc-1.a")
	m.transact(t, insertOp(sw.table, "11111111-1111-4111-8111-111111111111", map[string]any{
		"name": "demo.vpc-1.a", "external_ids": sw.externalIDs(nil)}))
	ovntest.Eventually(t, "the copy in the cache", func() bool {
		c, err := n.Counts(t.Context())
		return err == nil && c.Switches == 2
	})
	if report := mustSet(t, n, one); report.Operations != 1 {
		t.Errorf("Set sent %d operations, want 1: the copy's deletion", report.Operations)
	}
	if diff := cmp.Diff(before, mustDump(t, n)); diff != "" {
		t.Errorf("rows changed (-before +after):\n%s", diff)
	}
	if mustRow(t, n, kindSubnet, "demo.vpc-1.a").uuid != sw.uuid {
		t.Error("the copy stayed and ours went")
	}
}

func TestSetRefuses(t *testing.T) {
	tests := map[string]struct {
		reason  string
		desired Desired
		want    string
	}{
		"OwnerTwice": {
			reason:  "two routers of one owner could not be told apart",
			desired: Desired{Routers: []Router{vpc("vpc-1", "10.0.0.0/16"), {Owner: "uid-vpc-1", Name: "demo.vpc-2"}}},
			want: "validate desired state: router \"demo.vpc-2\": owner uid-vpc-1 is already that of router \"demo.vpc-1\": " +
				"an owner is one router, or removed",
		},
		"DesiredAndRemoved": {
			reason:  "it cannot be both",
			desired: Desired{Routers: []Router{vpc("vpc-1", "10.0.0.0/16")}, Removed: []string{"uid-vpc-1"}},
			want: "validate desired state: router \"demo.vpc-1\": owner uid-vpc-1 is already that of removed[0]: " +
				"an owner is one router, or removed",
		},
		"NameTwice": {
			reason:  "port names are unique in the database",
			desired: Desired{Routers: []Router{vpc("vpc-1", "10.0.0.0/16", "p1"), vpc("vpc-2", "10.0.0.0/16", "p1")}},
			want: "validate desired state: router \"demo.vpc-2\" subnet \"demo.vpc-2.a\" port: Logical_Switch_Port \"pod-p1\" is already " +
				"that of router \"demo.vpc-1\" subnet \"demo.vpc-1.a\" port: names are unique in the database",
		},
		"GatewayOutside": {
			reason: "OVN would take it and route nothing",
			desired: Desired{Routers: []Router{{Owner: "u", Name: "demo.vpc-1", Subnets: []Subnet{{
				Name: "demo.vpc-1.a", CIDR: netip.MustParsePrefix("10.0.0.0/16"), Gateway: netip.MustParseAddr("10.9.0.1")}}}}},
			want: "validate desired state: router \"demo.vpc-1\" subnet \"demo.vpc-1.a\" gateway: 10.9.0.1 is not in 10.0.0.0/16: give an address of it",
		},
		"ExcludeIPsWrong": {
			reason: "northd only logs a wrong one, and hands the address out",
			desired: Desired{Routers: []Router{{Owner: "u", Name: "demo.vpc-1", Subnets: []Subnet{{
				Name: "demo.vpc-1.a", CIDR: netip.MustParsePrefix("10.0.0.0/16"), Gateway: netip.MustParseAddr("10.0.0.1"),
				ExcludeIPs: []string{"10.0.0.9-10.0.0.20"}}}}}},
			want: "validate desired state: router \"demo.vpc-1\" subnet \"demo.vpc-1.a\": excludeIPs \"10.0.0.9-10.0.0.20\": " +
				"give an address of 10.0.0.0/16, or a first and last one as \"10.0.0.2..10.0.0.9\"",
		},
		"RouteWithoutNextHop": {
			reason:  "it would be no row, and so silently no route",
			desired: Desired{Routers: []Router{{Owner: "u", Name: "demo.vpc-1", Routes: []Route{{Prefix: netip.MustParsePrefix("10.64.0.0/10")}}}}},
			want: "validate desired state: router \"demo.vpc-1\" route 10.64.0.0/10: nextHops is empty: " +
				"give the address of a gateway or of the peer's port",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			m := startMemory(t)
			n := dialNorthbound(t, m.endpoint)
			before := mustDump(t, n)
			_, err := n.Set(t.Context(), tc.desired)
			if err == nil {
				t.Fatalf("%s: Set said yes", tc.reason)
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("%s: error (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(before, mustDump(t, n)); diff != "" {
				t.Errorf("%s: something was written (-before +after):\n%s", tc.reason, diff)
			}
		})
	}
}
