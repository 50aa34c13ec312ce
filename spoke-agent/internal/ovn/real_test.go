// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/nbdb"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/ovntest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/vswitchdb"
)

// These tests run real ovsdb-servers and a real ovn-northd.

// TestPeering: with the rows of a peering, OVN's own tracer takes a packet from vpc-1 to vpc-2 over two routers, and not
// to vpc-3, which has vpc-1's addresses and no peering.
func TestPeering(t *testing.T) {
	central := ovntest.StartCentral(t)
	n := dialNorthbound(t, central.NB.Endpoint)
	one, two, three := vpc("vpc-1", "10.0.0.0/16", "p1"), vpc("vpc-2", "172.31.0.0/16", "p2"), vpc("vpc-3", "10.0.0.0/16", "p3")

	ports := setAll(t, n, 3, one, two, three)
	central.Sync(t)
	from, to := ports["pod-p1"], ports["pod-p2"]
	if got := central.Trace(t, "demo.vpc-1.a", packet("pod-p1", from, "0a:58:0a:00:00:01", to.Address)); strings.Contains(got, "output(") {
		t.Errorf("without a peering the packet went somewhere:\n%s", got)
	}

	peer(&one, &two)
	setAll(t, n, 3, one, two, three)
	central.Sync(t)
	got := central.Trace(t, "demo.vpc-1.a", packet("pod-p1", from, "0a:58:0a:00:00:01", to.Address))
	if !strings.Contains(got, `output("pod-p2")`) || strings.Count(got, "ip.ttl--;") != 2 {
		t.Errorf("vpc-1 to vpc-2 should leave at pod-p2 with ttl 64-2=62; ovn-trace says:\n%s", got)
	}
	back := central.Trace(t, "demo.vpc-2.a", packet("pod-p2", to, "0a:58:ac:1f:00:01", from.Address))
	if !strings.Contains(back, `output("pod-p1")`) || strings.Contains(back, "pod-p3") {
		t.Errorf("the reply should reach pod-p1 and not its namesake in vpc-3; ovn-trace says:\n%s", back)
	}
	third := ports["pod-p3"]
	if got := central.Trace(t, "demo.vpc-3.a", packet("pod-p3", third, "0a:58:0a:00:00:01", to.Address)); strings.Contains(got, "output(") {
		t.Errorf("vpc-3 has no peering, but its packet went somewhere:\n%s", got)
	}
	spoofed := from
	spoofed.Address = netip.MustParseAddr("10.0.99.99")
	if got := central.Trace(t, "demo.vpc-1.a", packet("pod-p1", spoofed, "0a:58:0a:00:00:01", to.Address)); strings.Contains(got, "output(") {
		t.Errorf("port_security should drop another's source address, but the packet went somewhere:\n%s", got)
	}
}

// packet is a TCP packet as ovn-trace(8) reads it.
func packet(port string, from PortBinding, router string, to netip.Addr) string {
	return fmt.Sprintf("inport==%q && eth.src==%s && eth.dst==%s && ip4.src==%s && ip4.dst==%s && ip.ttl==64 && tcp",
		port, from.MAC, router, from.Address, to)
}

// TestGateways: the route to the gateways is ECMP over their ports, and a packet leaves there with the gateway's MAC
// although no ARP was ever asked.
func TestGateways(t *testing.T) {
	central := ovntest.StartCentral(t)
	n := dialNorthbound(t, central.NB.Endpoint)
	one := vpc("vpc-1", "10.0.0.0/16", "p1")
	gateways(&one, 2, "10.64.0.0/10")
	from := setAll(t, n, 1, one)["pod-p1"]
	central.Sync(t)

	flows := ovntest.Run(t, "ovn-sbctl", "--db="+central.SB.Endpoint, "lflow-list", "demo.vpc-1")
	if !strings.Contains(flows, "ip4.dst == 10.64.0.0/10") || !strings.Contains(flows, "select(") {
		t.Errorf("northd should have made an ECMP group for 10.64.0.0/10; flows:\n%s", flows)
	}
	got := central.Trace(t, "demo.vpc-1.a", packet("pod-p1", from, "0a:58:0a:00:00:01", netip.MustParseAddr("10.64.0.9")))
	if !strings.Contains(got, `output("gw-demo.vpc-1:node-`) || !strings.Contains(got, "eth.dst = 0a:58:a9:fe:40:0") {
		t.Errorf("the packet should leave at a gateway's port with its MAC; ovn-trace says:\n%s", got)
	}
	in := PortBinding{Address: netip.MustParseAddr("10.64.0.9"), MAC: "0a:58:a9:fe:40:02"}
	if got := central.Trace(t, "ts-demo.vpc-1", packet("gw-demo.vpc-1:node-a", in, "0a:58:a9:fe:40:01", from.Address)); !strings.Contains(got, `output("pod-p1")`) {
		t.Errorf("what a gateway puts in should reach the pod; ovn-trace says:\n%s", got)
	}
}

// TestAddresses: OVN fills a subnet to its last address, and gives neither the gateway nor what is excluded.
func TestAddresses(t *testing.T) {
	central := ovntest.StartCentral(t)
	n := dialNorthbound(t, central.NB.Endpoint)
	one := vpc("vpc-1", "10.0.0.0/28", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8")
	one.Subnets[0].Gateway = netip.MustParseAddr("10.0.0.5") // Not the first one, which OVN would keep anyway.
	one.Subnets[0].ExcludeIPs = []string{"10.0.0.2", "10.0.0.8..10.0.0.9"}
	ports := setAll(t, n, 8, one)
	taken := map[netip.Addr]string{}
	for name, p := range ports {
		if other, twice := taken[p.Address]; twice {
			t.Errorf("%s and %s both have %s", name, other, p.Address)
		}
		taken[p.Address] = name
	}
	for _, a := range []string{"10.0.0.0", "10.0.0.2", "10.0.0.5", "10.0.0.8", "10.0.0.9", "10.0.0.15"} {
		if name, ok := taken[netip.MustParseAddr(a)]; ok {
			t.Errorf("%s has %s, which is the gateway, excluded, the network or the broadcast address", name, a)
		}
	}
}

// TestServerRestarts: the server goes away, somebody changes the database meanwhile (no event tells of it), it comes
// back, and Set puts right what is wrong and deletes nothing.
func TestServerRestarts(t *testing.T) {
	central := ovntest.StartCentral(t)
	n := dialNorthbound(t, central.NB.Endpoint)
	one, two := vpc("vpc-1", "10.0.0.0/16", "p1"), vpc("vpc-2", "172.31.0.0/16", "p2")
	peer(&one, &two)
	setAll(t, n, 2, one, two)
	before := mustDump(t, n)

	central.NB.Stop()
	// What is set already needs no server, until the connection is known to be gone.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := n.Set(short, Desired{Routers: []Router{one, two}})
		cancel()
		if err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("Set says yes without a server")
		}
	}
	sw := identity{"uid-vpc-2", kindSubnet, "demo.vpc-2.a"}
	lost, err := json.Marshal([]any{nbdb.Schema().Name, deleteOp(nbdb.LogicalSwitchTable, sw.uuid())})
	must(t, err)
	ovntest.Run(t, "ovsdb-tool", "transact", central.NB.File, string(lost))
	drain(n)
	central.NB.Start(t)

	start := time.Now()
	select {
	case <-n.Changed():
	case <-time.After(time.Minute):
		t.Fatal("waited a minute for the signal that the database was read again")
	}
	t.Logf("read again %v after the server was back", time.Since(start).Round(time.Millisecond))
	if report := mustSet(t, n, one, two); report.Operations != 4 {
		t.Errorf("Set sent %d operations, want 4: a wait and three inserts for the switch that went", report.Operations)
	}
	setAll(t, n, 2, one, two)
	if diff := cmp.Diff(before, mustDump(t, n)); diff != "" {
		t.Errorf("rows differ from those before (-before +after):\n%s", diff)
	}
}

// TestUninitialised: without an NB_Global row nothing in the database is believed, and nothing is written.
func TestUninitialised(t *testing.T) {
	db := ovntest.StartDatabase(t, "/usr/share/ovn/ovn-nb.ovsschema")
	n := dialNorthbound(t, db.Endpoint)
	size := db.Size(t)
	_, err := n.Set(t.Context(), Desired{Routers: []Router{vpc("vpc-1", "10.0.0.0/16")}})
	if err == nil || !strings.Contains(err.Error(), "no NB_Global row") {
		t.Errorf("Set on a database without NB_Global: error %v", err)
	}
	if db.Size(t) != size {
		t.Error("Set wrote")
	}
	ovntest.Run(t, "ovn-nbctl", "--db="+db.Endpoint, "init")
	select {
	case <-n.Changed():
	case <-time.After(time.Minute):
		t.Fatal("waited a minute for the signal that the database was initialised")
	}
	mustSet(t, n, vpc("vpc-1", "10.0.0.0/16"))
}

// TestIdleWritesNothing: the file is as long after idle Sets as before.
func TestIdleWritesNothing(t *testing.T) {
	central := ovntest.StartCentral(t)
	n := dialNorthbound(t, central.NB.Endpoint)
	one := vpc("vpc-1", "10.0.0.0/16", "p1")
	gateways(&one, 2, "10.64.0.0/10")
	setAll(t, n, 1, one)
	central.Sync(t) // Whatever northd answers is written.
	size := central.NB.Size(t)
	for range 3 {
		if report := mustSet(t, n, one); report.Operations != 0 {
			t.Errorf("an idle Set sent %d operations", report.Operations)
		}
	}
	if got := central.NB.Size(t); got != size {
		t.Errorf("three idle Sets made the file %d bytes longer", got-size)
	}
}

// TestStaleCache: two agents that both think they lead insert the same rows. The second transaction is refused as a
// whole by ovsdb-server: no twin, and no half.
func TestStaleCache(t *testing.T) {
	db := ovntest.StartDatabase(t, "/usr/share/ovn/ovn-nb.ovsschema")
	ovntest.Run(t, "ovn-nbctl", "--db="+db.Endpoint, "init")
	n := dialNorthbound(t, db.Endpoint)
	cl, before, err := n.read(t.Context())
	must(t, err)
	if memory := ovntest.Run(t, "ovs-appctl", "-t", db.Control, "memory/show"); !strings.Contains(memory, " monitors:1 ") {
		t.Errorf("a client should have exactly one monitor; ovsdb-server says %s", memory)
	}
	desired := Desired{Routers: []Router{vpc("vpc-1", "10.0.0.0/16", "p1")}}
	_, err = n.Set(t.Context(), desired)
	must(t, err)
	dump := mustDump(t, n)

	ops, _ := plan(before, desired)
	if err := n.conn.transact(t.Context(), cl, ops); err == nil || !strings.Contains(err.Error(), "timed out") {
		t.Errorf("insert from a stale cache: error %v, want the wait for the name to fail", err)
	}
	noWaits := ops[:0:0]
	for _, op := range ops {
		if op.Op != ovsdb.OperationWait {
			noWaits = append(noWaits, op)
		}
	}
	if err := n.conn.transact(t.Context(), cl, noWaits); err == nil || !strings.Contains(err.Error(), "duplicate") {
		t.Errorf("insert from a stale cache without the wait: error %v, want a duplicate UUID", err)
	}
	if diff := cmp.Diff(dump, mustDump(t, n)); diff != "" {
		t.Errorf("rows changed (-before +after):\n%s", diff)
	}
}

func TestDialErrors(t *testing.T) {
	vs := ovntest.StartDatabase(t, "/usr/share/openvswitch/vswitch.ovsschema")
	tests := map[string]struct {
		reason, endpoint, want string
	}{
		"Nobody": {
			reason:   "the endpoint and what to look at must be in the error",
			endpoint: "unix:/nonexistent/ovnnb_db.sock",
			want: "dial OVN_Northbound: unix:/nonexistent/ovnnb_db.sock: failed to connect to unix:/nonexistent/ovnnb_db.sock: " +
				"failed to open connection: dial unix /nonexistent/ovnnb_db.sock: connect: no such file or directory: " +
				"is its ovsdb-server running, and is this its address?",
		},
		"OtherDatabase": {
			reason:   "a server without our database is no good",
			endpoint: vs.Endpoint,
			want: "dial OVN_Northbound: " + vs.Endpoint + ": failed to connect to " + vs.Endpoint +
				": target database OVN_Northbound not found: is its ovsdb-server running, and is this its address?",
		},
		"NoPort": {
			reason:   "libovsdb would wait for a typing error as for a server",
			endpoint: "tcp:10.0.0.1",
			want:     `parse endpoint "tcp:10.0.0.1": give unix:/PATH, tcp:HOST:PORT or ssl:HOST:PORT, or several with commas`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := DialNorthbound(t.Context(), tc.endpoint, logr.Discard())
			if err == nil {
				t.Fatalf("%s: dialled", tc.reason)
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("%s: error (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestSchemaIsPartOfTheInstalledOne holds schema/ to the files that OVN and Open vSwitch install.
func TestSchemaIsPartOfTheInstalledOne(t *testing.T) {
	for path, ours := range map[string]ovsdb.DatabaseSchema{
		"/usr/share/ovn/ovn-nb.ovsschema": nbdb.Schema(), "/usr/share/openvswitch/vswitch.ovsschema": vswitchdb.Schema(),
	} {
		text, err := os.ReadFile(ovntest.Installed(t, path))
		must(t, err)
		var theirs ovsdb.DatabaseSchema
		must(t, json.Unmarshal(text, &theirs))
		for table, s := range ours.Tables {
			for name, column := range s.Columns {
				want, err1 := json.Marshal(theirs.Tables[table].Columns[name])
				got, err2 := json.Marshal(column)
				if err1 != nil || err2 != nil || string(got) != string(want) {
					t.Errorf("%s: %s.%s is %s, ours says %s", path, table, name, want, got)
				}
			}
		}
	}
}

func drain(n *Northbound) {
	select {
	case <-n.Changed():
	default:
	}
}
