// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// own is what an agent knows of its cluster, and tells in the status of the cluster's InterconnectGateway.
type own struct {
	mu sync.Mutex
	// routers that it has, by name.
	routers map[string]spokev1alpha1.Hold
	// address of the gateway; empty before it is introduced.
	address string
	// gateway is what the hub says of the cluster, told what it was told last.
	gateway *spokev1alpha1.InterconnectGateway
	told    []spokev1alpha1.Hold
	toldOf  int64
	news    chan struct{}
}

func (o *own) wake() {
	select {
	case o.news <- struct{}{}:
	default: // somebody is about to look
	}
}

func (o *own) keep(router *spokev1alpha1.LocalRouter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.routers[router.Name] = spokev1alpha1.Hold{VpcUID: router.Spec.VpcUID, VNI: router.Spec.Vpc.VNI, LinkCIDR: router.Spec.LinkCIDR}
	o.wake()
}

func (o *own) drop(router *spokev1alpha1.LocalRouter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.routers, router.Name)
	o.wake()
}

// introduce lets the agent tell of the cluster's gateway.
func (a *agent) introduce(address string) {
	a.own.mu.Lock()
	defer a.own.mu.Unlock()
	a.own.address = address
	a.own.wake()
}

// introduced is true when the hub has approved the gateway.
func (a *agent) introduced() bool {
	a.own.mu.Lock()
	defer a.own.mu.Unlock()
	return a.own.gateway != nil && len(a.own.gateway.Spec.Endpoints) > 0
}

// gateway is told of the directory's changes.
func (a *agent) gateway(kind string, object json.RawMessage) error {
	gateway := &spokev1alpha1.InterconnectGateway{}
	if err := json.Unmarshal(object, gateway); err != nil || gateway.Name != a.cluster || kind == "DELETED" {
		return err
	}
	a.own.mu.Lock()
	defer a.own.mu.Unlock()
	a.own.gateway = gateway
	a.own.wake()
	return nil
}

// report tells the hub of the gateway, what the cluster holds, and which question that answers, as often as it changes.
func (a *agent) report(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.own.news:
		}
		status, needed := a.own.status()
		if !needed {
			continue
		}
		err := a.patch(ctx, api+"/namespaces/"+a.cluster+"/interconnectgateways/"+a.cluster+"/status", map[string]any{"status": status})
		if err != nil && ctx.Err() == nil { // the hub has not made the cluster's role yet, or is away
			a.own.forget()
			time.AfterFunc(time.Second, a.own.wake)
		}
	}
}

func (o *own) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told, o.toldOf = nil, 0
}

// status is what to tell, if it is something else than was told last. As the real agent it answers no question as long as it sees a router of a Vpc
// that it is asked about.
func (o *own) status() (status spokev1alpha1.InterconnectGatewayStatus, needed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gateway == nil || o.address == "" {
		return status, false
	}
	holds := slices.SortedFunc(maps.Values(o.routers), func(a, b spokev1alpha1.Hold) int { return cmp.Compare(a.VpcUID, b.VpcUID) })
	if holds == nil {
		holds = []spokev1alpha1.Hold{}
	}
	generation := o.gateway.Generation
	if slices.ContainsFunc(holds, func(h spokev1alpha1.Hold) bool { return slices.Contains(o.gateway.Spec.ReleasedVpcs, h.VpcUID) }) {
		generation = o.gateway.Status.HoldsGeneration
	}
	if o.told != nil && o.toldOf == generation && slices.Equal(o.told, holds) {
		return status, false
	}
	o.told, o.toldOf = holds, generation
	return spokev1alpha1.InterconnectGatewayStatus{
		AgentVersion: "bench", ClusterID: "id-" + o.gateway.Name, Endpoints: []spokev1alpha1.ReportedEndpoint{{Node: "n1", Address: o.address}},
		ObservedGeneration: o.gateway.Generation, Holds: &holds, HoldsGeneration: generation,
		Conditions: []metav1.Condition{{
			Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionTrue, Reason: "Programmed", ObservedGeneration: o.gateway.Generation,
			LastTransitionTime: metav1.Now().Rfc3339Copy(),
		}},
	}, true
}
