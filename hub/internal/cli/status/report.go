// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package status says how a fleet, or one cluster of it, is. A pure function turns what one look found into a report; the report
// is printed as tables, JSON or YAML.
package status

import (
	"cmp"
	"slices"
	"time"

	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

// APIVersion of the JSON form: fields are added to it, and none is taken away or changes its meaning.
const APIVersion = "cli.tombolo.io/v1"

// Report is how things are. What does not concern the side that was looked at is empty.
type Report struct {
	APIVersion string `json:"apiVersion"`
	// Kind is "Status".
	Kind string `json:"kind"`
	// Context of the kubeconfig.
	Context string `json:"context,omitempty"`
	// Hub is true for the report of a hub; else it is what the copies of one cluster say.
	Hub bool `json:"hub"`
	// State is the worst of all that follows.
	State terminal.Level `json:"state"`
	// Frozen is what the hub holds back until somebody confirms it, and the cure (hub only).
	Frozen *Why `json:"frozen,omitempty"`
	// Clusters of the fleet; in a cluster, itself alone.
	Clusters []Cluster `json:"clusters"`
	// Vpcs of the fleet; in a cluster, those that have a router there.
	Vpcs []Vpc `json:"vpcs"`
	// Peerings of the fleet (hub only).
	Peerings []Peering `json:"peerings,omitempty"`
	// Tunnels between gateway nodes and other clusters.
	Tunnels []Tunnel `json:"tunnels,omitempty"`
	// Unread is what could not be read, and is missing here.
	Unread []facts.Unread `json:"unread,omitempty"`
}

// Why is how well something is, and why not.
type Why struct {
	// State: Well, Waiting or Failed.
	State terminal.Level `json:"state"`
	// Reason in one word; that of the condition that is not True.
	Reason string `json:"reason,omitempty"`
	// Message for people, with the cure.
	Message string `json:"message,omitempty"`
}

// Cluster of the fleet.
type Cluster struct {
	Name string `json:"name"`
	// Joined is "add-on" (OCM's agents installed it), "token" (`kubectl tombolo join`), "manual", or "no" while it is not accepted.
	Joined string `json:"joined"`
	// Membership: Member, Draining or Drained; empty while the hub has said nothing.
	Membership string `json:"membership,omitempty"`
	// AgentVersion that the agent reports.
	AgentVersion string `json:"agentVersion,omitempty"`
	// Gateways that the hub has approved.
	Gateways []string `json:"gateways"`
	// Heard is when the hub last heard of it: OCM's agent there, or a status of Tombolo's, which is written when something changes.
	Heard *time.Time `json:"heard,omitempty"`
	Why   `json:",inline"`
}

// Vpc of the fleet.
type Vpc struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	VNI       int32  `json:"vni,omitempty"`
	// Clusters that it is in, and those of them that have not programmed it.
	Clusters []string `json:"clusters"`
	// Pending are the clusters that have not programmed the newest decision.
	Pending []string `json:"pending,omitempty"`
	Why     `json:",inline"`
}

// Peering of two Vpcs.
type Peering struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Vpc and Peer are the two ends, as namespace/name.
	Vpc  string `json:"vpc"`
	Peer string `json:"peer"`
	// Phase is the peering's status.state: Active, PendingAcceptance, …
	Phase string `json:"phase,omitempty"`
	Why   `json:",inline"`
}

// Tunnel is the way from a gateway node to another cluster.
type Tunnel struct {
	From string `json:"from"`
	Node string `json:"node"`
	To   string `json:"to"`
	// RTTMicroseconds is the median round trip of a minute.
	RTTMicroseconds int64 `json:"rttMicroseconds,omitempty"`
	LossPermille    int32 `json:"lossPermille"`
	// PathMTU is the largest encapsulated packet that passes, in bytes; 0 while it is not known.
	PathMTU int32 `json:"pathMTU,omitempty"`
	Why     `json:",inline"`
}

// lossy is the loss, in a thousand, from which a tunnel is not well.
const lossy = 20

// Of makes the report of what was found. With a namespace, Vpcs and peerings are those of that tenant.
func Of(f *facts.Facts, namespace string) *Report {
	r := &Report{APIVersion: APIVersion, Kind: "Status", Context: f.Context, Hub: f.Hub, State: terminal.Well, Unread: f.Unread}
	if f.Hub {
		r.Clusters, r.Vpcs, r.Peerings, r.Frozen = clusters(f), vpcs(f.Vpcs), peerings(f.Peerings), frozen(f)
	} else {
		r.Clusters, r.Vpcs = self(f), routers(f)
	}
	r.Tunnels = tunnels(f)
	if namespace != "" {
		r.Vpcs = slices.DeleteFunc(r.Vpcs, func(v Vpc) bool { return v.Namespace != namespace })
		r.Peerings = slices.DeleteFunc(r.Peerings, func(p Peering) bool { return p.Namespace != namespace })
	}
	sortAll(r)
	for _, why := range r.all() {
		r.State = terminal.Worse(r.State, why.State)
	}
	return r
}

// frozen is what the hub holds back; nil for nothing.
func frozen(f *facts.Facts) *Why {
	if c := f.Frozen(); c != nil {
		return &Why{State: terminal.Failed, Reason: c.Reason, Message: c.Message}
	}
	return nil
}

func sortAll(r *Report) {
	slices.SortFunc(r.Clusters, func(a, b Cluster) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(r.Vpcs, func(a, b Vpc) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(r.Peerings, func(a, b Peering) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(r.Tunnels, func(a, b Tunnel) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Node, b.Node))
	})
}

// all is how well everything in the report is.
func (r *Report) all() []Why {
	var all []Why
	if r.Frozen != nil {
		all = append(all, *r.Frozen)
	}
	for i := range r.Clusters {
		all = append(all, r.Clusters[i].Why)
	}
	for i := range r.Vpcs {
		all = append(all, r.Vpcs[i].Why)
	}
	for i := range r.Peerings {
		all = append(all, r.Peerings[i].Why)
	}
	for i := range r.Tunnels {
		all = append(all, r.Tunnels[i].Why)
	}
	return all
}
