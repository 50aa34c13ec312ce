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

// TestLatency measures from the request that applies a Subnet to the moment that a watch of the cluster's namespace
// shows it: what the hub adds to the time between a person and a cluster.
func TestLatency(t *testing.T) {
	const rounds = 25
	newFleet(t, "east")
	h := startHub(t)
	create(t, vpc("front", "east"))
	router(t, "east", "front", "the Vpc is there", func(*spokev1alpha1.LocalRouter) error { return nil })
	h.settle()

	events, err := admin.Watch(t.Context(), &spokev1alpha1.LocalRouterList{}, client.InNamespace("east"))
	if err != nil {
		t.Fatalf("watch routers: %v", err)
	}
	defer events.Stop()
	var took []time.Duration
	for i := range rounds {
		cidr := networkv1alpha1.CIDR(fmt.Sprintf("10.1.%d.0/24", i))
		start := time.Now()
		create(t, subnet(fmt.Sprintf("s%d", i), "front", "east", cidr))
		awaitSubnet(t, events, string(cidr))
		took = append(took, time.Since(start))
		time.Sleep(150 * time.Millisecond) // a person's change, not a burst
	}
	slices.Sort(took)
	t.Logf("apply to LocalRouter written: p50 %v, p90 %v, max %v", took[rounds/2], took[rounds*9/10], took[rounds-1])
	if took[rounds/2] > 250*time.Millisecond {
		t.Errorf("p50 is %v: a change must reach a cluster's namespace in a fraction of that", took[rounds/2])
	}
}

func awaitSubnet(t *testing.T, events watch.Interface, cidr string) {
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
