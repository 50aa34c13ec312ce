// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/tombolo-io/tombolo/e2e/story"
)

// Numbers of an installation: what is wanted of Tombolo, on a machine that does nothing else.
const (
	firstPacketWithin = 60 * time.Second
	agentMemory       = 64 << 10 // KiB
)

// firstPacket is how long it took from the first helm install on a spoke to the first packet between two Vpcs.
var firstPacket time.Duration

// installTenant is where that packet is sent.
const installTenant = "install"

// measureInstall makes two Vpcs, peers them and waits for a packet, in a fleet that is just being installed.
func measureInstall(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := fleet.Namespace(ctx, installTenant); err != nil {
		return err
	}
	if err := fleet.Hub.Apply(ctx, []byte(`
apiVersion: network.tombolo.io/v1alpha1
kind: Vpc
metadata: {name: vpc-1, namespace: install}
spec: {clusters: {names: [east]}}
---
apiVersion: network.tombolo.io/v1alpha1
kind: Subnet
metadata: {name: vpc-1, namespace: install}
spec: {vpc: vpc-1, cidrBlock: 10.0.0.0/16}
---
apiVersion: network.tombolo.io/v1alpha1
kind: Vpc
metadata: {name: vpc-2, namespace: install}
spec: {clusters: {names: [west]}}
---
apiVersion: network.tombolo.io/v1alpha1
kind: Subnet
metadata: {name: vpc-2, namespace: install}
spec: {vpc: vpc-2, cidrBlock: 172.31.0.0/16}
---
apiVersion: network.tombolo.io/v1alpha1
kind: VpcPeering
metadata: {name: one-two, namespace: install}
spec: {vpc: vpc-1, peerVpc: {name: vpc-2}}
`)); err != nil {
		return err
	}
	from, err := fleet.Spokes["east"].StartPod(ctx, story.PodRequest{Namespace: installTenant, Name: "pod-1", Subnet: "vpc-1"})
	if err != nil {
		return err
	}
	to, err := fleet.Spokes["west"].StartPod(ctx, story.PodRequest{Namespace: installTenant, Name: "pod-2", Subnet: "vpc-2"})
	if err != nil {
		return err
	}
	err = story.Eventually(ctx, "the first packet between two Vpcs", func(ctx context.Context) error {
		report, err := from.Ping(ctx, to.Address, 1, time.Millisecond)
		if err == nil && report.Received == 0 {
			err = errors.New("no reply")
		}
		return err
	})
	firstPacket = time.Since(fleet.Lab.SpokesInstalled)
	return err
}

// TestInstall holds what an installation costs: time until it is of use, and memory of the agents.
func TestInstall(t *testing.T) {
	newTenant(t, installTenant) // to be removed
	line := func(number string, value any, more map[string]any) {
		if more == nil {
			more = map[string]any{}
		}
		more["number"], more["value"] = number, value
		text, err := json.Marshal(more)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s", text)
	}
	line("helm install to first peered packet, s", firstPacket.Seconds(), nil)
	if firstPacket > 3*firstPacketWithin { // a busy machine is slower
		t.Errorf("from helm install to the first packet it took %s, and should take %s", firstPacket, firstPacketWithin)
	}
	footprints, err := fleet.Footprints(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, f := range footprints {
		line("memory (RSS), KiB", f.RSS, map[string]any{"cluster": f.Cluster, "node": f.Node, "pod": f.Pod, "component": f.Component})
		seen[f.Component]++
		if f.Component != "hub" && f.RSS > agentMemory {
			t.Errorf("%s of %s has %d KiB, want at most %d", f.Pod, f.Cluster, f.RSS, agentMemory)
		}
	}
	if seen["controller"] != 4 || seen["node"] != 4 || seen["hub"] == 0 {
		t.Errorf("containers are %v, want 4 controllers, 4 nodes and the hub's", seen)
	}
}
