// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/gateway"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
)

const (
	// tunnelsEvery is how often at most the copy is told what was measured.
	tunnelsEvery = 30 * time.Second
	// tunnelSettles is how long the first search for the path MTU may take before its absence is told.
	tunnelSettles = 15 * time.Second
	// leastRTTChange is what a round trip must have changed by, beside half of itself, to be told.
	leastRTTChange = time.Millisecond
)

// pathMTUs is the longest encapsulated packet that arrives in each cluster, of its gateways the worst. What an agent that has
// just started has not measured yet, it takes from what the one before has told, and a node that is no gateway and measures
// nothing from its cluster's gateways.
func pathMTUs(own *spokev1alpha1.InterconnectGateway, node string, results []tunnelprobe.Result) map[string]int {
	mtus := map[string]int{}
	for _, r := range results {
		if r.PathMTU != 0 {
			mtus[r.Cluster] = min(cmp.Or(mtus[r.Cluster], r.PathMTU), r.PathMTU)
		}
	}
	if own == nil {
		return mtus
	}
	for _, t := range own.Status.Tunnels {
		if t.Node == node && t.PathMTU != 0 && mtus[t.Cluster] == 0 {
			mtus[t.Cluster] = int(t.PathMTU)
		}
	}
	if len(mtus) > 0 {
		return mtus
	}
	for _, t := range own.Status.Tunnels {
		if known := int(t.PathMTU); known != 0 {
			mtus[t.Cluster] = min(cmp.Or(mtus[t.Cluster], known), known)
		}
	}
	return mtus
}

// echoed is which gateways answer. What an agent that has just started has not measured yet, it takes from what the one before has
// told: else it would send to those again that were known not to be there.
func echoed(own *spokev1alpha1.InterconnectGateway, node string, results []tunnelprobe.Result) map[gateway.Peer]bool {
	answers := map[gateway.Peer]bool{}
	if own != nil {
		for _, t := range own.Status.Tunnels {
			for _, silent := range t.Unreachable {
				if t.Node == node {
					answers[gateway.Peer{Cluster: t.Cluster, Node: silent}] = false
				}
			}
		}
	}
	for _, r := range results {
		answers[gateway.Peer{Cluster: r.Cluster, Node: r.Node}] = r.Reachable
	}
	return answers
}

// reportTunnels says in the own copy what this node has measured: seldom, but at once which gateways answer, for others act on it. Of a
// gateway that is news every three seconds at most.
func (r *Reconciler) reportTunnels(ctx context.Context, own *spokev1alpha1.InterconnectGateway, targets []tunnelprobe.Target) error {
	now := time.Now()
	if own == nil {
		return nil
	}
	entries := tunnelEntries(own.Status.Tunnels, r.Node, targets, r.Echoes.Results(), now)
	if now.Sub(r.tunnelsWritten) < tunnelsEvery && sameAnswers(own.Status.Tunnels, entries) {
		return nil
	}
	written, err := r.writeTunnels(ctx, own, entries)
	if written {
		r.tunnelsWritten = now
	}
	return err
}

// forgetTunnels takes this node out of the own copy's status.
func (r *Reconciler) forgetTunnels(ctx context.Context, own *spokev1alpha1.InterconnectGateway) error {
	if own == nil {
		return nil
	}
	_, err := r.writeTunnels(ctx, own, tunnelEntries(own.Status.Tunnels, r.Node, nil, nil, time.Time{}))
	return err
}

func (r *Reconciler) writeTunnels(ctx context.Context, own *spokev1alpha1.InterconnectGateway, tunnels []spokev1alpha1.Tunnel) (written bool, err error) {
	before := own.DeepCopy()
	own.Status.Tunnels = tunnels
	own.Status.Bound()
	if equality.Semantic.DeepEqual(before.Status, own.Status) {
		return false, nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.client.Status().Patch(ctx, own, patch); err != nil {
		return false, fmt.Errorf("write tunnels of InterconnectGateway %s: %w", own.Name, err)
	}
	r.writes.Wrote(own)
	return true, nil
}

// sameAnswers is true when two lists say the same of which gateways answer.
func sameAnswers(a, b []spokev1alpha1.Tunnel) bool {
	return slices.EqualFunc(a, b, func(a, b spokev1alpha1.Tunnel) bool {
		return a.Cluster == b.Cluster && a.Node == b.Node && a.Answering == b.Answering && slices.Equal(a.Unreachable, b.Unreachable)
	})
}

// tunnelEntries is list with node's entries for targets: one a cluster, that of its gateways which does worst. What has changed
// so little that nobody cares stays as it is, and so does what is not known yet.
func tunnelEntries(list []spokev1alpha1.Tunnel, node string, targets []tunnelprobe.Target, results []tunnelprobe.Result, now time.Time) []spokev1alpha1.Tunnel {
	wanted, old, measured := map[string]bool{}, map[string]spokev1alpha1.Tunnel{}, worst(node, results, now)
	for _, t := range targets {
		wanted[t.Cluster] = true
	}
	var entries []spokev1alpha1.Tunnel
	for _, e := range list {
		if e.Node != node {
			entries = append(entries, e)
		} else if wanted[e.Cluster] {
			old[e.Cluster] = e
		}
	}
	for cluster := range wanted {
		e, is := measured[cluster]
		was, had := old[cluster]
		e = stillSilent(e, was, targets, results)
		switch {
		case is && (!had || matters(was, e)):
			e.LastTransitionTime = was.LastTransitionTime
			if !had || was.Reachable != e.Reachable || was.PathMTU != e.PathMTU || !slices.Equal(was.Unreachable, e.Unreachable) {
				e.LastTransitionTime = metav1.NewTime(now).Rfc3339Copy()
			}
			entries = append(entries, e)
		case had:
			entries = append(entries, was)
		}
	}
	slices.SortFunc(entries, func(a, b spokev1alpha1.Tunnel) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Node, b.Node))
	})
	return entries
}

// stillSilent is e with those gateways that did not answer before and of which nothing is known since.
func stillSilent(e, was spokev1alpha1.Tunnel, targets []tunnelprobe.Target, results []tunnelprobe.Result) spokev1alpha1.Tunnel {
	for _, node := range was.Unreachable {
		is := func(t tunnelprobe.Target) bool { return t.Cluster == was.Cluster && t.Node == node }
		if slices.ContainsFunc(targets, is) && !slices.ContainsFunc(results, func(r tunnelprobe.Result) bool { return is(r.Target) }) {
			e.Unreachable, e.Reachable = append(e.Unreachable, node), false
		}
	}
	slices.Sort(e.Unreachable)
	return e
}

// worst is what is known for good, by cluster.
func worst(node string, results []tunnelprobe.Result, now time.Time) map[string]spokev1alpha1.Tunnel {
	measured := map[string]spokev1alpha1.Tunnel{}
	for _, r := range results {
		if !r.Reachable || r.PathMTU != 0 || r.MTU == 0 || now.Sub(r.Since) >= tunnelSettles {
			measured[r.Cluster] = worse(measured[r.Cluster], entryOf(node, r))
		}
	}
	return measured
}

func entryOf(node string, r tunnelprobe.Result) spokev1alpha1.Tunnel {
	e := spokev1alpha1.Tunnel{
		Cluster: r.Cluster, Node: node, Reachable: r.Reachable, Answering: 1,
		RTTMicroseconds: r.RTT.Microseconds(), LossPermille: int32(1000*r.Loss + 0.5), PathMTU: int32(r.PathMTU),
	}
	if !r.Reachable {
		e.Answering, e.Unreachable = 0, []string{r.Node}
	}
	return e
}

// worse is of each value the worse one; the zero Tunnel is none.
func worse(a, b spokev1alpha1.Tunnel) spokev1alpha1.Tunnel {
	if a.Cluster == "" {
		return b
	}
	a.Reachable = a.Reachable && b.Reachable
	a.Unreachable, a.Answering = append(a.Unreachable, b.Unreachable...), a.Answering+b.Answering
	a.RTTMicroseconds = max(a.RTTMicroseconds, b.RTTMicroseconds)
	a.LossPermille = max(a.LossPermille, b.LossPermille)
	a.PathMTU = min(a.PathMTU, b.PathMTU)
	return a
}

// matters says whether somebody would want to know: another path, a loss that is none, some or much now and was not before, or a
// round trip of another order.
func matters(was, is spokev1alpha1.Tunnel) bool {
	band := func(permille int32) int {
		switch {
		case permille < 10:
			return 0
		case permille < 100:
			return 1
		}
		return 2
	}
	change := is.RTTMicroseconds - was.RTTMicroseconds
	change = max(change, -change)
	return was.Reachable != is.Reachable || was.Answering != is.Answering || !slices.Equal(was.Unreachable, is.Unreachable) || was.PathMTU != is.PathMTU || band(was.LossPermille) != band(is.LossPermille) ||
		change > was.RTTMicroseconds/2 && change >= leastRTTChange.Microseconds()
}
