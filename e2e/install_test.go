// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"slices"
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

// atRest is what Tombolo's containers took then.
var atRest []story.Footprint

// measureInstall makes two Vpcs, peers them and waits for a packet, in a fleet that is just being installed.
func measureInstall(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := fleet.Namespace(ctx, installTenant); err != nil {
		return err
	}
	if err := fleet.Hub.Apply(ctx, []byte(installPeering)); err != nil {
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
	if err != nil {
		return err
	}
	firstPacket = time.Since(fleet.Lab.SpokesInstalled)
	err = settle(ctx)
	return errors.Join(err, from.Delete(ctx), to.Delete(ctx), fleet.Hub.DeleteAll(ctx, []byte(installPeering)))
}

const installPeering = `
apiVersion: network.tombolo.io/v1alpha1
kind: Vpc
metadata: {name: vpc-1, namespace: install}
spec: {clusters: {names: [east]}}
---
apiVersion: network.tombolo.io/v1alpha1
kind: Subnet
metadata: {name: vpc-1, namespace: install}
spec: {vpc: vpc-1, cidrBlock: 10.201.0.0/16}
---
apiVersion: network.tombolo.io/v1alpha1
kind: Vpc
metadata: {name: vpc-2, namespace: install}
spec: {clusters: {names: [west]}}
---
apiVersion: network.tombolo.io/v1alpha1
kind: Subnet
metadata: {name: vpc-2, namespace: install}
spec: {vpc: vpc-2, cidrBlock: 10.202.0.0/16}
---
apiVersion: network.tombolo.io/v1alpha1
kind: VpcPeering
metadata: {name: one-two, namespace: install}
spec: {vpc: vpc-1, peerVpc: {name: vpc-2}}
`

// settle waits for the agents to be at rest: what they needed to load programs and fill caches is given back to the machine. When they
// don't come to what they should have, it is what they have after a minute that counts.
func settle(ctx context.Context) (err error) {
	for begin := time.Now(); ; time.Sleep(time.Second) {
		if atRest, err = fleet.Footprints(ctx); err != nil {
			return err
		}
		if !slices.ContainsFunc(atRest, tooLarge) || time.Since(begin) > time.Minute {
			return nil
		}
	}
}

func tooLarge(f story.Footprint) bool { return f.Component != "hub" && f.RSS > agentMemory }

// TestInstall holds what an installation costs: time until it is of use, and memory of the agents. The checks of docs/install.md find it well.
func TestInstall(t *testing.T) {
	t.Logf(`{"number":"from helm install to the first peered packet","seconds":%.1f}`, firstPacket.Seconds())
	if firstPacket > 3*firstPacketWithin { // a busy machine is slower
		t.Errorf("from helm install to the first packet it took %s, and should take %s", firstPacket, firstPacketWithin)
	}
	seen := map[string]int{}
	for _, f := range atRest {
		report(t, "memory at rest", f)
		seen[f.Component]++
		if tooLarge(f) {
			t.Errorf("%s of %s has %d KiB, and should have at most %d", f.Pod, f.Cluster, f.RSS, agentMemory)
		}
	}
	if seen["controller"] != 4 || seen["node"] != 4 || seen["hub"] != 2 {
		t.Errorf("containers are %v, want 4 controllers, 4 nodes and 2 of the hub", seen)
	}
	for _, cluster := range []string{"hub", "west"} {
		if err := fleet.Lab.Manual(t.Context(), cluster, "check"); err != nil {
			t.Error(err)
		}
	}
	now, err := fleet.Footprints(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range now {
		report(t, "memory after the tests before", f)
	}
}

// report is a line for people, and for who collects numbers.
func report(t *testing.T, number string, f story.Footprint) {
	t.Helper()
	t.Logf(`{"number":%q,"cluster":%q,"node":%q,"component":%q,"rss_mib":%.1f}`, number, f.Cluster, f.Node, f.Component, float64(f.RSS)/1024)
}
