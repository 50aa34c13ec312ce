// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/testr"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/database/inmemory"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
	"github.com/ovn-kubernetes/libovsdb/server"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/nbdb"
)

// vpc is a router demo.NAME with one subnet of two pods.
func vpc(name, cidr string, pods ...string) Router {
	prefix := netip.MustParsePrefix(cidr)
	r := Router{
		Owner: "uid-" + name, Name: "demo." + name,
		Subnets: []Subnet{{Name: "demo." + name + ".a", CIDR: prefix, Gateway: prefix.Addr().Next()}},
	}
	for _, p := range pods {
		r.Subnets[0].Ports = append(r.Subnets[0].Ports, Port{Name: "pod-" + p, Owner: p, Pod: "demo/" + p})
	}
	return r
}

// peer joins two routers as VpcPeering does in one cluster, over 169.254.0.0/30.
func peer(a, b *Router) {
	ab, ba := "pp-"+a.Name+":"+b.Name, "pp-"+b.Name+":"+a.Name
	one, two := netip.MustParsePrefix("169.254.0.1/30"), netip.MustParsePrefix("169.254.0.2/30")
	a.Peers = append(a.Peers, Peer{Name: ab, RemoteName: ba, Address: one, MAC: "0a:58:a9:fe:00:01"})
	b.Peers = append(b.Peers, Peer{Name: ba, RemoteName: ab, Address: two, MAC: "0a:58:a9:fe:00:02"})
	a.Routes = append(a.Routes, Route{Prefix: b.Subnets[0].CIDR, NextHops: []netip.Addr{two.Addr()}})
	b.Routes = append(b.Routes, Route{Prefix: a.Subnets[0].CIDR, NextHops: []netip.Addr{one.Addr()}})
}

// gateways gives a router a transit switch with n gateway nodes, and a route to them.
func gateways(r *Router, n int, to string) {
	r.Transit = Transit{
		Name: "ts-" + r.Name, RouterAddress: netip.MustParsePrefix("169.254.64.1/29"), RouterMAC: "0a:58:a9:fe:40:01",
	}
	route := Route{Prefix: netip.MustParsePrefix(to)}
	for i := range n {
		a := netip.AddrFrom4([4]byte{169, 254, 64, byte(2 + i)})
		r.Transit.Gateways = append(r.Transit.Gateways, TransitPort{
			Name: "gw-" + r.Name + ":node-" + string(rune('a'+i)), Address: a, MAC: macOf(a)})
		route.NextHops = append(route.NextHops, a)
	}
	r.Routes = append(r.Routes, route)
}

// memory is libovsdb's in-memory server with an OVN_Northbound that has only its NB_Global row, and a second client to
// play everybody else: northd and administrators.
type memory struct {
	endpoint string
	other    client.Client
}

func startMemory(t *testing.T) *memory {
	t.Helper()
	log := logr.Discard()
	db, err := nbdb.FullDatabaseModel()
	must(t, err)
	whole, errs := model.NewDatabaseModel(nbdb.Schema(), db)
	if len(errs) > 0 {
		t.Fatalf("build model: %v", errs)
	}
	s, err := server.NewOvsdbServer(inmemory.NewDatabase(map[string]model.ClientDBModel{db.Name(): db}, &log), &log, whole)
	must(t, err)
	dir, err := os.MkdirTemp("", "ovnmem") //nolint:usetesting // with the test's name in it, a socket's path may get too long (108 bytes)
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "sock")
	go func() { _ = s.Serve("unix", socket) }()
	t.Cleanup(s.Close)
	for deadline := time.Now().Add(time.Minute); !s.Ready() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	m := &memory{endpoint: "unix:" + socket}
	m.other = otherClient(t, m.endpoint)
	m.transact(t, insertOp(nbdb.NBGlobalTable, identity{}.uuid(), map[string]any{"name": ""}))
	return m
}

// otherClient is a plain libovsdb client without a monitor.
func otherClient(t *testing.T, endpoint string) client.Client {
	t.Helper()
	log := logr.Discard()
	db, err := nbdb.FullDatabaseModel()
	must(t, err)
	c, err := client.NewOVSDBClient(db, client.WithEndpoint(endpoint), client.WithLogger(&log))
	must(t, err)
	must(t, c.Connect(t.Context()))
	t.Cleanup(c.Close)
	return c
}

func (m *memory) transact(t *testing.T, ops ...ovsdb.Operation) {
	t.Helper()
	results, err := m.other.Transact(t.Context(), ops...)
	must(t, err)
	if _, err := ovsdb.CheckOperationResults(results, ops); err != nil {
		t.Fatalf("transact: %v: %s", err, explain(results, ops))
	}
}

// row of ours that n sees, by kind and id.
func mustRow(t *testing.T, n *Northbound, k kind, id string) *row {
	t.Helper()
	_, s, err := n.read(t.Context())
	must(t, err)
	for _, r := range sorted(maps.Values(s.ours)) {
		if r.kind == k && r.id == id {
			return r
		}
	}
	t.Fatalf("find %s %q: not in the database", k, id)
	return nil
}

func dialNorthbound(t *testing.T, endpoint string) *Northbound {
	t.Helper()
	n, err := DialNorthbound(t.Context(), endpoint, testr.New(t))
	must(t, err)
	t.Cleanup(n.Close)
	return n
}

func mustSet(t *testing.T, n *Northbound, routers ...Router) Report {
	t.Helper()
	report, err := n.Set(t.Context(), Desired{Routers: routers})
	must(t, err)
	return report
}

func mustDump(t *testing.T, n *Northbound) string {
	t.Helper()
	text, err := n.Dump(context.WithoutCancel(t.Context()))
	must(t, err)
	return text
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// setAll sets until nothing is left to do: what OVN answers asks for a second write.
func setAll(t *testing.T, n *Northbound, want int, routers ...Router) map[string]PortBinding {
	t.Helper()
	for {
		report := mustSet(t, n, routers...)
		if report.Operations == 0 && len(report.Ports) == want {
			return report.Ports
		}
		if report.Operations > 0 {
			continue
		}
		select {
		case <-n.Changed():
		case <-time.After(time.Minute):
			t.Fatalf("waited a minute for %d addresses, have %v", want, slices.Sorted(maps.Keys(report.Ports)))
		}
	}
}
