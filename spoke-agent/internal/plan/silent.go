// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"slices"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// witness is a gateway node, and which others of its cluster do not answer it.
type witness struct {
	node   string
	silent []string
	since  int64
}

// findSilent says which gateway nodes of the own cluster others get no answer from, each with the node that says so. One node's
// word is enough, if that node gets an answer from some other gateway: else it is the one that is cut off. Of two that accuse each
// other the newest word counts, as a node that is gone takes nothing back; and a node whose word has counted stays, so never all are silent.
func findSilent(gateway *spokev1alpha1.InterconnectGateway) map[string]string {
	if gateway == nil {
		return nil
	}
	silent, trusted := map[string]string{}, map[string]bool{}
	for _, w := range witnesses(gateway) {
		if _, gone := silent[w.node]; gone {
			continue
		}
		for _, node := range w.silent {
			if _, known := silent[node]; !known && !trusted[node] {
				silent[node] = w.node
				trusted[w.node] = true
			}
		}
	}
	return silent
}

// witnesses are the gateway nodes that some gateway answers and others of their own cluster do not, the newest word first.
func witnesses(gateway *spokev1alpha1.InterconnectGateway) []witness {
	is, answered := map[string]bool{}, map[string]bool{}
	for _, e := range gateway.Spec.Endpoints {
		is[e.Node] = true
	}
	for _, t := range gateway.Status.Tunnels {
		answered[t.Node] = answered[t.Node] || t.Answering > 0
	}
	var all []witness
	for _, t := range gateway.Status.Tunnels {
		if t.Cluster != gateway.Spec.Cluster || !is[t.Node] || !answered[t.Node] {
			continue
		}
		w := witness{node: t.Node, since: t.LastTransitionTime.Unix()}
		for _, node := range t.Unreachable {
			if is[node] && node != t.Node {
				w.silent = append(w.silent, node)
			}
		}
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b witness) int { return cmp.Or(cmp.Compare(b.since, a.since), cmp.Compare(a.node, b.node)) })
	return all
}
