// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// versions are the resourceVersions of everything of ours on the hub.
func versions(t testing.TB) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, list := range []client.ObjectList{
		&networkv1alpha1.IPPoolList{}, &networkv1alpha1.VpcList{}, &networkv1alpha1.SubnetList{}, &networkv1alpha1.VpcPeeringList{},
		&spokev1alpha1.LocalRouterList{}, &spokev1alpha1.InterconnectGatewayList{},
	} {
		if err := admin.List(t.Context(), list); err != nil {
			t.Fatalf("list %T: %v", list, err)
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			object := item.(client.Object)
			found[fmt.Sprintf("%T %s", object, client.ObjectKeyFromObject(object))] = object.GetResourceVersion()
		}
	}
	return found
}

func TestRestartWritesNothing(t *testing.T) {
	newFleet(t, "east", "west")
	first := startHub(t)
	frontAndBack(t)
	create(t, peering("front-back", "front", "back"))
	east, west := newAgent(t, "east"), newAgent(t, "west")
	peeringIs(t, "front-back", "it becomes active", func(p *networkv1alpha1.VpcPeering) error {
		if err := errors.Join(east.realize(t.Context()), west.realize(t.Context())); err != nil {
			return err
		}
		if p.Status.State != networkv1alpha1.StateActive {
			return fmt.Errorf("state %s", p.Status.State)
		}
		return nil
	})
	first.settle()
	first.kill()
	before := versions(t)

	second := startHub(t)
	eventually(t, "the new hub has planned", func() error {
		if second.count("tombolo_hub_plan_total") == 0 {
			return errors.New("no plan yet")
		}
		return nil
	})
	second.settle()
	if writes, own := second.count("tombolo_hub_writes_total"), second.count("tombolo_hub_writes_total", `kind="Fleet"`); writes != own || own != 1 {
		t.Errorf("%v writes after a restart, %v of them of the Fleet, want the new epoch alone: nothing has changed", writes, own)
	}
	for object, version := range versions(t) {
		if before[object] != version {
			t.Errorf("%s went from version %q to %q over a restart", object, before[object], version)
		}
	}
}

// TestTwoLeadersGiveNothingTwice lets two hubs be at work at once, which leader election is to prevent and can't
// guarantee: the ledger's compare-and-swap must.
func TestTwoLeadersGiveNothingTwice(t *testing.T) {
	const vpcs = 30
	newFleet(t, "east", "west")
	hubs := []*hub{startHub(t), startHub(t)}
	for i := range vpcs {
		create(t, vpc(fmt.Sprintf("v%d", i), "east", "west"))
	}

	var routers spokev1alpha1.LocalRouterList
	eventually(t, "every Vpc has its routers", func() error {
		if err := admin.List(t.Context(), &routers); err != nil {
			return err
		}
		if len(routers.Items) != 2*vpcs {
			return fmt.Errorf("%d routers, want %d", len(routers.Items), 2*vpcs)
		}
		return nil
	})
	for _, h := range hubs {
		h.settle()
	}
	noDuplicates(t)
}

// noDuplicates checks that ledgers and routers tell the same, and that nothing was handed out twice.
func noDuplicates(t testing.TB) {
	t.Helper()
	owners := map[string]string{} // value → owner
	ledger := map[string]bool{}
	for _, poolName := range []string{"vnis", "links"} {
		pool, err := get(t, &networkv1alpha1.IPPool{}, "", poolName)
		if err != nil {
			t.Fatal(err)
		}
		for _, allocation := range pool.Status.Allocations {
			if other, taken := owners[allocation.Value]; taken {
				t.Errorf("%s belongs to %s and to %s", allocation.Value, other, allocation.Owner)
			}
			owners[allocation.Value] = allocation.Owner
			ledger[allocation.Value] = true
		}
	}
	var routers spokev1alpha1.LocalRouterList
	if err := admin.List(t.Context(), &routers); err != nil {
		t.Fatal(err)
	}
	links, vnis := map[string]string{}, map[string]string{}
	for _, r := range routers.Items {
		where := r.Namespace + "/" + r.Name
		vni := strconv.Itoa(int(r.Spec.Vpc.VNI))
		if !ledger[vni] || !ledger[r.Spec.LinkCIDR] {
			t.Errorf("router %s uses VNI %s and link %s, which are in no ledger", where, vni, r.Spec.LinkCIDR)
		}
		if other, taken := links[r.Spec.LinkCIDR]; taken {
			t.Errorf("link %s is that of %s and of %s", r.Spec.LinkCIDR, other, where)
		}
		links[r.Spec.LinkCIDR] = where
		if other, taken := vnis[vni]; taken && other != r.Spec.Vpc.Name {
			t.Errorf("VNI %s is that of Vpc %s and of %s", vni, other, r.Spec.Vpc.Name)
		}
		vnis[vni] = r.Spec.Vpc.Name
	}
}

// TestAnotherWriterOfTheLedger stops the hub in its tracks, writes the ledger in its place, and lets it go on: what it
// then decides from its old cache must not be stored.
func TestAnotherWriterOfTheLedger(t *testing.T) {
	newFleet(t, "east")
	h := startHub(t)
	create(t, vpc("first", "east"))
	router(t, "east", "first", "the hub is at work", func(*spokev1alpha1.LocalRouter) error { return nil })
	h.settle()

	h.signal(syscall.SIGSTOP)
	create(t, vpc("second", "east"))
	second, err := get(t, &networkv1alpha1.Vpc{}, "shop", "second")
	if err != nil {
		t.Fatal(err)
	}
	pool, err := get(t, &networkv1alpha1.IPPool{}, "", "vnis")
	if err != nil {
		t.Fatal(err)
	}
	taken := slices.Clone(pool.Status.Allocations)[0]
	pool.Status.Allocations = append(pool.Status.Allocations, networkv1alpha1.Allocation{
		Value: "177", Owner: strings.ReplaceAll(taken.Owner, "first", "second"), UID: string(second.UID),
	})
	if err := admin.Status().Update(t.Context(), pool); err != nil {
		t.Fatalf("write ledger in the hub's place: %v", err)
	}
	h.signal(syscall.SIGCONT)

	router(t, "east", "second", "the hub keeps to what the other writer has handed out", func(r *spokev1alpha1.LocalRouter) error {
		if r.Spec.Vpc.VNI != 177 {
			return fmt.Errorf("VNI %d, want 177", r.Spec.Vpc.VNI)
		}
		return nil
	})
	h.settle()
	noDuplicates(t)
}

func TestSecondHubWaits(t *testing.T) {
	newFleet(t, "east")
	if err := client.IgnoreNotFound(admin.Delete(t.Context(), &coordinationv1.Lease{ObjectMeta: name(systemNamespace, "tombolo-hub")})); err != nil {
		t.Fatal(err)
	}
	leader := startHub(t, "--leader-elect=true", "--leader-election-namespace="+systemNamespace)
	create(t, vpc("first", "east"))
	router(t, "east", "first", "the first hub leads", func(*spokev1alpha1.LocalRouter) error { return nil })
	other := startHub(t, "--leader-elect=true", "--leader-election-namespace="+systemNamespace)
	create(t, vpc("second", "east"))
	router(t, "east", "second", "and goes on", func(*spokev1alpha1.LocalRouter) error { return nil })
	leader.settle()
	if plans := other.count("tombolo_hub_plan_total"); plans != 0 {
		t.Errorf("the second hub has made %v plans, want none: it does not lead", plans)
	}

	leader.signal(os.Interrupt)
	start := time.Now()
	create(t, vpc("third", "east"))
	router(t, "east", "third", "the second hub takes over when the first leaves", func(*spokev1alpha1.LocalRouter) error { return nil })
	t.Logf("took over after %v", time.Since(start).Round(time.Millisecond))
	noDuplicates(t)
}

// signal sends a signal to the process.
func (h *hub) signal(signal os.Signal) {
	h.t.Helper()
	if err := h.process.Process.Signal(signal); err != nil {
		h.t.Fatalf("send %v to the hub: %v", signal, err)
	}
}
