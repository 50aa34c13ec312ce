// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
)

// fleet is the clusters and what placements decided about them.
type fleet struct {
	// clusters in order of name.
	clusters   []Cluster
	placements map[string][]string
}

// newFleet puts the clusters of a snapshot in order.
func newFleet(s *Snapshot) *fleet {
	clusters := slices.SortedFunc(slices.Values(s.Clusters), func(a, b Cluster) int { return strings.Compare(a.Name, b.Name) })
	placements := make(map[string][]string, len(s.Placements))
	for name, decided := range s.Placements {
		placements[name] = slices.Sorted(slices.Values(decided))
	}
	return &fleet{clusters: clusters, placements: placements}
}

// cluster finds a cluster by name.
func (f *fleet) cluster(name string) (Cluster, bool) {
	i, found := slices.BinarySearchFunc(f.clusters, name, func(c Cluster, name string) int { return strings.Compare(c.Name, name) })
	if !found {
		return Cluster{}, false
	}
	return f.clusters[i], true
}

// unusable says why a cluster is given nothing; empty when it may be given something.
func (f *fleet) unusable(name string) string {
	c, found := f.cluster(name)
	switch {
	case !found:
		return fmt.Sprintf("cluster %q is not in the fleet", name)
	case c.Gone:
		return fmt.Sprintf("cluster %q is gone for good", name)
	case c.Leaving:
		return fmt.Sprintf("cluster %q is leaving the fleet", name)
	case !c.Accepted:
		return fmt.Sprintf("cluster %q is not accepted by the hub", name)
	}
	return ""
}

// selection is the clusters of a Vpc.
type selection struct {
	// certain is false when it can't be told which clusters are meant: then nothing may be deleted.
	certain bool
	// spans is every cluster that is meant, those included that can't be used.
	spans []string
	// usable are the clusters that are given something.
	usable []string
	// unusable says why clusters that are meant by name can't be used.
	unusable []string
	// refused is why nothing is selected.
	refused *refusal
}

// selects is true when the cluster is meant.
func (s *selection) selects(cluster string) bool {
	_, found := slices.BinarySearch(s.spans, cluster)
	return found
}

// selectClusters finds the clusters that a Vpc means.
func (f *fleet) selectClusters(namespace string, spec *networkv1alpha1.ClusterSelection) selection {
	spans, refused := f.spans(namespace, spec)
	if refused != nil {
		return selection{refused: refused}
	}
	sel := selection{certain: true, spans: spans}
	for _, name := range spans {
		why := f.unusable(name)
		if why == "" {
			sel.usable = append(sel.usable, name)
		} else if len(spec.Names) > 0 {
			sel.unusable = append(sel.unusable, why)
		}
	}
	if len(sel.usable) == 0 && len(sel.unusable) == 0 {
		sel.refused = refuse(networkv1alpha1.ReasonNoClusters, "spec.clusters selects no cluster of the fleet: label a cluster so that it is selected, or name one in spec.clusters.names")
	}
	return sel
}

// spans lists the clusters that are meant, in order of name.
func (f *fleet) spans(namespace string, spec *networkv1alpha1.ClusterSelection) ([]string, *refusal) {
	var names []string
	switch {
	case len(spec.Names) > 0:
		for _, name := range spec.Names {
			names = append(names, string(name))
		}
	case spec.Selector != nil:
		selector, err := metav1.LabelSelectorAsSelector(spec.Selector)
		if err != nil {
			return nil, refuse(networkv1alpha1.ReasonInvalid, "spec.clusters.selector can't be used: %v: correct it", err)
		}
		for _, c := range f.clusters {
			if selector.Matches(labels.Set(c.Labels)) {
				names = append(names, c.Name)
			}
		}
	case spec.Placement != "":
		decided, found := f.placements[namespace+"/"+spec.Placement]
		if !found {
			return nil, refuse(networkv1alpha1.ReasonNoClusters, "spec.clusters.placement %q has no decision: make a Placement of that name in namespace %q", spec.Placement, namespace)
		}
		names = slices.Clone(decided)
	default:
		return nil, refuse(networkv1alpha1.ReasonInvalid, "spec.clusters is empty: set one of names, selector and placement")
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// refusal is why something can't be: the reason and message of a condition. A nil refusal is none.
type refusal struct {
	reason  string
	message string
}

func refuse(reason, format string, args ...any) *refusal {
	return &refusal{reason: reason, message: fmt.Sprintf(format, args...)}
}
