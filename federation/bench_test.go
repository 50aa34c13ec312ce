// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

const (
	benchVpcs     = 1000
	benchClusters = 100
	benchPeerings = 2000
	benchTenants  = 10
)

// newLargeWorld is 1,000 Vpcs, each in 1 to 5 of 100 clusters with a subnet in each, and 2,000 peerings.
func newLargeWorld() *world {
	w, random := newWorld(), rand.New(rand.NewPCG(1, 2))
	w.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "links"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeLink, CIDRs: []networkv1alpha1.CIDR{"100.64.0.0/10"}}})
	w.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "vnis"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVNI, VNIs: &networkv1alpha1.VNIRange{First: 4097, Last: 65536}}})
	for i := range benchClusters {
		name := fmt.Sprintf("cluster-%d", i)
		w.clusters[name] = Cluster{Name: name, Labels: map[string]string{"region": fmt.Sprint(i % 7)}, Accepted: true}
		w.report(act{Cluster: name, Endpoints: []spokev1alpha1.ReportedEndpoint{{Node: "n1", Address: fmt.Sprintf("192.0.2.%d", i)}}, ReservedCIDRs: []string{"172.16.0.0/16"}})
	}
	for i := range benchVpcs {
		tenant, name := fmt.Sprintf("tenant-%d", i%benchTenants), fmt.Sprintf("vpc-%d", i)
		o := &networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name}}
		for k, c := range random.Perm(benchClusters)[:1+random.IntN(5)] {
			cluster := networkv1alpha1.ClusterName(fmt.Sprintf("cluster-%d", c))
			o.Spec.Clusters.Names = append(o.Spec.Clusters.Names, cluster)
			block := i*8 + k
			w.write(&networkv1alpha1.Subnet{
				ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: fmt.Sprintf("%s-%d", name, k)},
				Spec:       networkv1alpha1.SubnetSpec{Vpc: name, Cluster: cluster, CIDRBlock: networkv1alpha1.CIDR(fmt.Sprintf("10.%d.%d.0/24", block>>8, block&255))},
			})
		}
		w.write(o)
	}
	for i := range benchPeerings {
		a := random.IntN(benchVpcs)
		b := (a + benchTenants*(1+i/benchVpcs+random.IntN(3)*2)) % benchVpcs
		w.write(newPeering(fmt.Sprintf("tenant-%d", a%benchTenants), fmt.Sprintf("peering-%d", i), a, b))
	}
	return w
}

func newPeering(tenant, name string, a, b int) *networkv1alpha1.VpcPeering {
	return &networkv1alpha1.VpcPeering{
		ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name},
		Spec:       networkv1alpha1.VpcPeeringSpec{Vpc: fmt.Sprintf("vpc-%d", a), PeerVpc: networkv1alpha1.VpcReference{Name: fmt.Sprintf("vpc-%d", b)}},
	}
}

// settle plans, stores and realizes until nothing changes.
func (w *world) settle(planner *Planner) Result {
	for {
		result, changes := planner.Plan(w.snapshot())
		if len(changes.Vpcs)+len(changes.Peerings)+len(changes.Routers) == 0 {
			return result
		}
		w.store(result)
		for c := range w.clusters {
			w.realize(c)
		}
	}
}

// reportHeap reports what stays on the heap with a warm planner: its memory, the objects of the snapshot included.
func reportHeap(b *testing.B, keep ...any) {
	b.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MB")
	runtime.KeepAlive(keep)
}

// cpuTime is the time that this process has had a processor, the garbage collector's included: on a machine that
// others use as well, it says more than the clock.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatalf("read processor time: %v", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU reports the processor time of one operation.
func reportCPU(b *testing.B, since time.Duration) {
	b.Helper()
	b.ReportMetric(float64((cpuTime(b)-since).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// BenchmarkPlanFirst plans a fleet that was never planned: everything is allocated.
func BenchmarkPlanFirst(b *testing.B) {
	s := newLargeWorld().snapshot()
	b.ReportAllocs()
	for b.Loop() {
		Plan(s)
	}
}

// BenchmarkPlanFull plans a fleet that runs, from nothing, as a hub that has just started.
func BenchmarkPlanFull(b *testing.B) {
	w := newLargeWorld()
	w.settle(NewPlanner())
	s := w.snapshot()
	b.ReportAllocs()
	start := cpuTime(b)
	for b.Loop() {
		Plan(s)
	}
	reportCPU(b, start)
	reportHeap(b, w, s)
}

// BenchmarkPlanOneChange plans a fleet that runs after one change, as a hub does all day.
func BenchmarkPlanOneChange(b *testing.B) {
	w, planner := newLargeWorld(), NewPlanner()
	active := 0
	for _, s := range w.settle(planner).Peerings {
		if s.State == networkv1alpha1.StateActive {
			active++
		}
	}
	if active < benchPeerings/2 {
		b.Fatalf("only %d of %d peerings are active", active, benchPeerings)
	}
	base := w.snapshot()
	for _, c := range []struct {
		name string
		make func(*world)
	}{
		{"Nothing", func(*world) {}},
		{"Peering", func(w *world) { w.write(newPeering("tenant-1", "extra", 1, 901)) }},
		{"Realized", func(w *world) {
			change(w, w.routers, slices.Min(slices.Collect(maps.Keys(w.routers))), func(o *spokev1alpha1.LocalRouter) { o.Status.ObservedGeneration-- })
		}},
		{"Subnet", func(w *world) {
			w.write(&networkv1alpha1.Subnet{ObjectMeta: metav1.ObjectMeta{Namespace: "tenant-1", Name: "extra"}, Spec: networkv1alpha1.SubnetSpec{Vpc: "vpc-1", Cluster: w.vpcs["tenant-1/vpc-1"].Spec.Clusters.Names[0], CIDRBlock: "10.250.0.0/24"}})
		}},
		{"Vpc", func(w *world) {
			w.write(&networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{Namespace: "tenant-1", Name: "extra"}, Spec: networkv1alpha1.VpcSpec{Clusters: networkv1alpha1.ClusterSelection{Names: []networkv1alpha1.ClusterName{"cluster-1", "cluster-2"}}}})
		}},
		{"LedgerStored", func(w *world) { change(w, w.pools, "links", func(*networkv1alpha1.IPPool) {}) }},
	} {
		changed := *w
		changed.pools, changed.vpcs, changed.subnets = maps.Clone(w.pools), maps.Clone(w.vpcs), maps.Clone(w.subnets)
		changed.peerings, changed.routers = maps.Clone(w.peerings), maps.Clone(w.routers)
		c.make(&changed)
		b.Run(c.name, func(b *testing.B) { planAlternately(b, planner, base, changed.snapshot()) })
	}
}

// planAlternately plans two snapshots in turn, so that each plan sees one change.
func planAlternately(b *testing.B, planner *Planner, x, y Snapshot) {
	planner.Plan(x)
	planner.Plan(y)
	b.ReportAllocs()
	start := cpuTime(b)
	for i := 0; b.Loop(); i++ {
		if i%2 == 0 {
			planner.Plan(x)
		} else {
			planner.Plan(y)
		}
	}
	reportCPU(b, start)
	reportHeap(b, planner, x, y)
}
