// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ipam shows who has which addresses: pools and their use, what waits for whom, and what overlaps. A pure function turns what one look
// found into a report.
package ipam

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/apis/version"
	arithmetic "github.com/tombolo-io/tombolo/federation/ipam"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

// Report is who has what.
type Report struct {
	APIVersion string `json:"apiVersion"`
	// Kind is "IPAM".
	Kind string `json:"kind"`
	// Context of the kubeconfig.
	Context string `json:"context,omitempty"`
	// State is the worst of all pools.
	State terminal.Level `json:"state"`
	// Pools of the hub; with a name, that pool alone.
	Pools []Pool `json:"pools"`
	// Holdings are what the named pool has handed out.
	Holdings []Holding `json:"holdings,omitempty"`
	// Overlaps of pools and Vpcs with the clusters' own ranges.
	Overlaps []Overlap `json:"overlaps"`
	// Unread is what could not be read, and is missing here.
	Unread []facts.Unread `json:"unread,omitempty"`
}

// Pool is an IPPool and its use.
type Pool struct {
	Name    string   `json:"name"`
	Purpose string   `json:"purpose"`
	Parent  string   `json:"parent,omitempty"`
	Ranges  []string `json:"ranges"`
	// Capacity and Allocated in addresses, or VNIs.
	Capacity  int64 `json:"capacity"`
	Allocated int64 `json:"allocated"`
	// Released is how many entries wait for clusters to let go.
	Released int `json:"released"`
	// LargestFree is the largest prefix that nobody has; empty for VNIs and when there is none.
	LargestFree string `json:"largestFree,omitempty"`
	// FragmentedPercent is how much of what is free lies outside of that prefix.
	FragmentedPercent int64          `json:"fragmentedPercent"`
	State             terminal.Level `json:"state"`
	Reason            string         `json:"reason,omitempty"`
	Message           string         `json:"message,omitempty"`
}

// Holding is one entry of a ledger, or a single address.
type Holding struct {
	Value string `json:"value"`
	Owner string `json:"owner"`
	UID   string `json:"uid,omitempty"`
	// Released is true in quarantine, and Awaited is what it waits for.
	Released bool     `json:"released,omitempty"`
	Awaited  []string `json:"awaited,omitempty"`
}

// Overlap is a range that a cluster uses for its own pods, services or nodes, too.
type Overlap struct {
	// Of is the pool or Vpc, such as "Vpc shop/a".
	Of          string `json:"of"`
	CIDR        string `json:"cidr"`
	Cluster     string `json:"cluster"`
	ClusterCIDR string `json:"clusterCIDR"`
}

// Of makes the report; name is that of one pool, or empty.
func Of(f *facts.Facts, name string) (*Report, error) {
	r := &Report{APIVersion: "cli.tombolo.io/v1", Kind: "IPAM", Context: f.Context, State: terminal.Well, Pools: []Pool{}, Overlaps: overlaps(f, name), Unread: f.Unread}
	for i := range f.Pools {
		if o := &f.Pools[i]; name == "" || o.Name == name {
			r.Pools = append(r.Pools, poolOf(o, f.Addresses))
			if name != "" {
				r.Holdings = holdings(f, o)
			}
		}
	}
	if name != "" && len(r.Pools) == 0 {
		return nil, fmt.Errorf("IPPool %q does not exist: `kubectl tombolo ipam` lists them", name)
	}
	slices.SortFunc(r.Pools, func(a, b Pool) int { return cmp.Compare(a.Name, b.Name) })
	for i := range r.Pools {
		r.State = terminal.Worse(r.State, r.Pools[i].State)
	}
	return r, nil
}

func poolOf(o *networkv1alpha1.IPPool, addresses []networkv1alpha1.IPAddress) Pool {
	p := Pool{Name: o.Name, Purpose: string(o.Spec.Purpose), Ranges: slices.Clone(o.Status.CIDRs), Capacity: o.Status.Capacity, Allocated: o.Status.Allocated, State: terminal.Well}
	if o.Spec.Parent != nil {
		p.Parent = o.Spec.Parent.Name
	}
	if v := o.Spec.VNIs; v != nil {
		p.Ranges = []string{fmt.Sprintf("%d-%d", v.First, v.Last)}
	}
	for _, a := range o.Status.Allocations {
		if a.Released {
			p.Released++
		}
	}
	if o.Spec.VNIs == nil {
		p.LargestFree, p.FragmentedPercent = free(o, addresses)
	}
	for _, typ := range []string{networkv1alpha1.ConditionAccepted, networkv1alpha1.ConditionAvailable} {
		c := meta.FindStatusCondition(o.Status.Conditions, typ)
		switch {
		case c == nil:
			p.State, p.Reason, p.Message = terminal.Waiting, "Unknown", "the hub has said nothing of it"
		case c.Status != metav1.ConditionTrue:
			p.State, p.Reason, p.Message = terminal.Failed, c.Reason, c.Message
		case c.Reason == networkv1alpha1.ReasonNearlyExhausted:
			p.State, p.Reason, p.Message = terminal.Waiting, c.Reason, c.Message
		}
		if p.State != terminal.Well {
			break
		}
	}
	return p
}

// free finds the largest prefix that nobody has, and how much of what is free lies elsewhere.
func free(o *networkv1alpha1.IPPool, addresses []networkv1alpha1.IPAddress) (largest string, fragmented int64) {
	space, ranges := arithmetic.NewSpace(), prefixes(o.Status.CIDRs)
	for _, a := range o.Status.Allocations {
		for _, p := range prefixes([]string{a.Value}) {
			space.Reserve(p)
		}
	}
	for i := range addresses {
		if addresses[i].Spec.Pool == o.Name {
			for _, p := range prefixes([]string{string(addresses[i].Spec.Address) + "/32"}) {
				space.Reserve(p)
			}
		}
	}
	for _, e := range o.Spec.Exclude {
		if first, last, err := arithmetic.ParseRange(string(e)); err == nil {
			for _, p := range arithmetic.Between(first, last) {
				space.Reserve(p)
			}
		}
	}
	left := o.Status.Capacity - o.Status.Allocated
	for bits := range 33 {
		if p, found := space.Find(arithmetic.Request{Bits: bits, From: ranges}); found {
			if left > 0 {
				fragmented = max(0, 100-100*arithmetic.Size(p)/left)
			}
			return p.String(), fragmented
		}
	}
	return "", 0
}

func prefixes(cidrs []string) []netip.Prefix {
	var all []netip.Prefix
	for _, c := range cidrs {
		if p, err := arithmetic.ParsePrefix(c); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// holdings are what a pool has handed out, in order of address or VNI.
func holdings(f *facts.Facts, o *networkv1alpha1.IPPool) []Holding {
	var all []Holding
	for _, a := range o.Status.Allocations {
		h := Holding{Value: a.Value, Owner: a.Owner, UID: a.UID, Released: a.Released}
		if a.Released {
			h.Awaited = awaited(f, a)
		}
		all = append(all, h)
	}
	for i := range f.Addresses {
		if s := &f.Addresses[i].Spec; s.Pool == o.Name {
			all = append(all, Holding{Value: string(s.Address), Owner: s.Owner.Kind + "/" + s.Owner.Namespace + "/" + s.Owner.Name, UID: s.Owner.UID})
		}
	}
	slices.SortStableFunc(all, func(a, b Holding) int {
		if x, err := strconv.Atoi(a.Value); err == nil {
			if y, err := strconv.Atoi(b.Value); err == nil {
				return cmp.Compare(x, y)
			}
		}
		x, _ := netip.ParseAddr(strings.Split(a.Value, "/")[0])
		y, _ := netip.ParseAddr(strings.Split(b.Value, "/")[0])
		return x.Compare(y)
	})
	return all
}

// awaited says who must let go of a released entry: the cluster of a link; for a VNI or a range, those of all links of its Vpc.
func awaited(f *facts.Facts, a networkv1alpha1.Allocation) []string {
	clusters := map[string]bool{}
	own := strings.SplitN(a.Owner, "/", 4)
	for i := range f.Pools {
		for _, b := range f.Pools[i].Status.Allocations {
			if parts := strings.SplitN(b.Owner, "/", 4); len(parts) == 4 && parts[0] == "Vpc" && b.UID == a.UID && (len(own) < 4 || parts[3] == own[3]) {
				clusters[parts[3]] = true
			}
		}
	}
	for i := range f.Gateways {
		g := &f.Gateways[i]
		if g.Status.Holds != nil && len(own) < 4 && slices.ContainsFunc(*g.Status.Holds, func(h spokev1alpha1.Hold) bool { return h.VpcUID == a.UID }) {
			clusters[g.Name] = true
		}
	}
	var all []string
	for cluster := range clusters {
		all = append(all, why(f, cluster, a.UID))
	}
	slices.Sort(all)
	return all
}

// why a cluster is waited for.
func why(f *facts.Facts, cluster, uid string) string {
	i := slices.IndexFunc(f.Gateways, func(g spokev1alpha1.InterconnectGateway) bool { return g.Namespace == cluster && g.Name == cluster })
	switch {
	case i < 0:
		return cluster + " is not known: if it is gone for good, kubectl tombolo leave " + cluster + " --gone"
	case f.Gateways[i].Status.Holds == nil:
		return cluster + " has never said what it holds: upgrade its agent"
	case version.Older(f.Gateways[i].Status.AgentVersion, f.Gateways[i].Status.HoldsVersion):
		return fmt.Sprintf("%s does not say what it holds since its agent was rolled back from %s to %s: upgrade it again", cluster,
			f.Gateways[i].Status.HoldsVersion, f.Gateways[i].Status.AgentVersion)
	case slices.ContainsFunc(*f.Gateways[i].Status.Holds, func(h spokev1alpha1.Hold) bool { return h.VpcUID == uid }):
		return cluster + " still has it"
	}
	return cluster + " has not answered"
}

// overlaps compares pools and Vpcs with what clusters report of their own ranges.
func overlaps(f *facts.Facts, name string) []Overlap {
	all := []Overlap{}
	compare := func(of string, cidrs []string, in func(cluster string) bool) {
		for i := range f.Gateways {
			g := &f.Gateways[i]
			if g.Namespace != g.Name || !in(g.Name) {
				continue
			}
			for _, p := range prefixes(cidrs) {
				for _, q := range prefixes(g.Status.ReservedCIDRs) {
					if p.Overlaps(q) {
						all = append(all, Overlap{Of: of, CIDR: p.String(), Cluster: g.Name, ClusterCIDR: q.String()})
					}
				}
			}
		}
	}
	for i := range f.Pools {
		if o := &f.Pools[i]; name == "" || o.Name == name {
			compare("IPPool "+o.Name, o.Status.CIDRs, func(string) bool { return true })
		}
	}
	for i := range f.Vpcs {
		v := &f.Vpcs[i]
		if name == "" {
			compare("Vpc "+v.Namespace+"/"+v.Name, v.Status.CIDRs, func(cluster string) bool {
				return slices.ContainsFunc(v.Status.Clusters, func(c networkv1alpha1.VpcCluster) bool { return string(c.Name) == cluster })
			})
		}
	}
	slices.SortFunc(all, func(a, b Overlap) int {
		return cmp.Or(cmp.Compare(a.Of, b.Of), cmp.Compare(a.CIDR, b.CIDR), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.ClusterCIDR, b.ClusterCIDR))
	})
	return all
}
