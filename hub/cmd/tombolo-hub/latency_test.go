// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// BenchmarkLatency measures from the request that applies a Subnet to the moment that a watch of the cluster's namespace
// shows it: what the hub adds to the time between a person and a cluster.
func BenchmarkLatency(b *testing.B) {
	newFleet(b, "east")
	h := startHub(b)
	create(b, vpc("front", "east"))
	router(b, "east", "front", "the Vpc is there", func(*spokev1alpha1.LocalRouter) error { return nil })
	h.settle()

	events, err := admin.Watch(b.Context(), &spokev1alpha1.LocalRouterList{}, client.InNamespace("east"))
	if err != nil {
		b.Fatalf("watch routers: %v", err)
	}
	defer events.Stop()
	var took []time.Duration
	for b.Loop() {
		i := len(took)
		cidr := networkv1alpha1.CIDR(fmt.Sprintf("10.%d.%d.0/24", 1+i/256, i%256))
		start := time.Now()
		create(b, subnet(fmt.Sprintf("s%d", i), "front", "east", cidr))
		awaitSubnet(b, events, string(cidr))
		took = append(took, time.Since(start))
		time.Sleep(150 * time.Millisecond) // a person's change, not a burst
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "ms-p50")
	b.ReportMetric(float64(took[len(took)*9/10].Milliseconds()), "ms-p90")
}

// BenchmarkLargeFleet has a fleet of 20 clusters with 200 Vpcs in each, and measures how long one more Subnet takes.
func BenchmarkLargeFleet(b *testing.B) {
	const clusters, vpcs = 20, 200
	var names []networkv1alpha1.ClusterName
	for i := range clusters {
		names = append(names, networkv1alpha1.ClusterName(fmt.Sprintf("c%d", i)))
	}
	newFleet(b)
	widen(b)
	for _, cluster := range names {
		makeNamespace(b, string(cluster))
		joinCluster(b, string(cluster))
	}
	for i := range vpcs {
		create(b, vpc(fmt.Sprintf("v%d", i), names...))
	}
	start := time.Now()
	h := startHub(b)
	amid := make(chan time.Duration, 1)
	go func() { amid <- oneMore(b, names[0]) }()
	within(b, 2*time.Minute, "all clusters are told", func() error {
		if told := h.count("tombolo_hub_objects", `kind="LocalRouter"`); told != clusters*vpcs+1 {
			return fmt.Errorf("%v routers", told)
		}
		return nil
	})
	b.Logf("a Vpc that was made amid this was told after %v", (<-amid).Round(time.Millisecond))
	b.Logf("%d routers told after %v", clusters*vpcs, time.Since(start).Round(time.Millisecond))
	h.settle()
	plans, seconds := h.count("tombolo_hub_plan_total"), h.count("tombolo_hub_plan_seconds_sum")

	events, err := admin.Watch(b.Context(), &spokev1alpha1.LocalRouterList{}, client.InNamespace("c0"))
	if err != nil {
		b.Fatalf("watch routers: %v", err)
	}
	defer events.Stop()
	add := func(i int) {
		cidr := networkv1alpha1.CIDR(fmt.Sprintf("10.%d.%d.0/24", i/250, i%250))
		create(b, subnet(fmt.Sprintf("s%d", i), fmt.Sprintf("v%d", i%vpcs), "c0", cidr))
		awaitSubnet(b, events, string(cidr))
	}
	add(0) // waits for the end of the first large pass
	for i := 1; b.Loop(); i++ {
		add(i)
	}
	h.settle()
	plans, seconds = h.count("tombolo_hub_plan_total")-plans, h.count("tombolo_hub_plan_seconds_sum")-seconds
	b.ReportMetric(1000*seconds/plans, "ms/plan")
}

// oneMore measures how long a new Vpc takes while the hub has much to do.
func oneMore(b *testing.B, cluster networkv1alpha1.ClusterName) time.Duration {
	time.Sleep(3 * time.Second)
	start := time.Now()
	create(b, vpc("amid", cluster))
	router(b, string(cluster), "amid", "a small change does not wait for a large one", func(*spokev1alpha1.LocalRouter) error { return nil })
	return time.Since(start)
}

// widen makes room for a large fleet.
func widen(t testing.TB) {
	t.Helper()
	pool, err := get(t, &networkv1alpha1.IPPool{}, "", "vnis")
	if err != nil {
		t.Fatal(err)
	}
	pool.Spec.VNIs.Last = 9999
	if err := admin.Update(t.Context(), pool); err != nil {
		t.Fatalf("widen pool of VNIs: %v", err)
	}
}

func awaitSubnet(t testing.TB, events watch.Interface, cidr string) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case event := <-events.ResultChan():
			router, ok := event.Object.(*spokev1alpha1.LocalRouter)
			if ok && slices.ContainsFunc(router.Spec.Subnets, func(s spokev1alpha1.RouterSubnet) bool { return s.CIDR == cidr }) {
				return
			}
		case <-timeout:
			t.Fatalf("no router has subnet %s", cidr)
		}
	}
}
