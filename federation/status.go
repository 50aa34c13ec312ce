// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

// chain makes conditions that build on each other: when one is False, those after it are False for the same reason.
type chain struct {
	generation int64
	conditions []metav1.Condition
	// broken is the first refusal that the rest follows from.
	broken *refusal
}

const (
	// maxMessage bounds, in bytes, what is passed on of what one cluster says.
	maxMessage = 1000
	// maxCondition bounds the message of a condition, which sums up many clusters: the API server takes no more than 32768 characters.
	maxCondition = 16000
)

// clip cuts a text that is too long.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + " …"
}

// add appends a condition. r is why it is False, nil when it is True.
func (c *chain) add(typ string, r *refusal, reason, message string) {
	switch {
	case c.broken != nil:
		c.conditions = append(c.conditions, condition(typ, false, c.broken.reason, clip(c.broken.message, maxCondition), c.generation))
	case r != nil:
		c.conditions = append(c.conditions, condition(typ, false, r.reason, clip(r.message, maxCondition), c.generation))
		c.broken = refuse(r.reason, "see the %s condition", typ)
	default:
		c.conditions = append(c.conditions, condition(typ, true, reason, clip(message, maxCondition), c.generation))
	}
}

// accept appends the Accepted condition. What follows from its refusal says only that.
func (c *chain) accept(r *refusal) {
	c.add(networkv1alpha1.ConditionAccepted, r, networkv1alpha1.ReasonAccepted, "nothing stands against it")
	if r != nil {
		c.broken = refuse(networkv1alpha1.ReasonNotAccepted, "see the Accepted condition")
	}
}

// vpcStatus is the status of a Vpc.
func vpcStatus(a *admission, address *vpcAddress, t *territory, r *realization, left *leftovers, f *footprint, e *encryption) *networkv1alpha1.VpcStatus {
	s := &networkv1alpha1.VpcStatus{VNI: address.vni}
	if a.usable || a.fromPool {
		s.CIDRs = texts(a.cidrs)
	}
	var waiting waits
	for _, cluster := range clustersOfVpc(a, r) {
		c := newVpcCluster(cluster, address)
		for _, placed := range t.placed {
			if placed.cluster == cluster {
				c.Subnets = append(c.Subnets, placed.view.name)
			}
		}
		if state := r.in(cluster); state != nil {
			c.Programmed, c.Message = state.own.programmed, state.own.message
			waiting.add(cluster, state.own)
		} else {
			c.Message = "has no link"
		}
		if !a.usable {
			c.Programmed, c.Message = false, "stays as it was, without peers: the Vpc is not accepted"
		}
		s.Clusters = append(s.Clusters, c)
	}
	s.Clusters = addLeftovers(s.Clusters, left, address)
	c := chain{generation: a.generation}
	c.accept(a.refused)
	if a.usable {
		c.broken = nil
	}
	c.add(networkv1alpha1.ConditionAllocated, address.refused, networkv1alpha1.ReasonAllocated, fmt.Sprintf("VNI %d, %d links", address.vni, len(address.links)))
	c.add(networkv1alpha1.ConditionProgrammed, waiting.refusal(), networkv1alpha1.ReasonProgrammed, programmedMessage(len(r.sites)))
	encrypted := pairs{encryption: e}
	encrypted.between(f, f)
	encrypted.report(&c)
	s.Conditions = c.conditions
	return s
}

// clustersOfVpc are those that the Vpc should be in, or is in when it is not accepted.
func clustersOfVpc(a *admission, r *realization) []string {
	if a.usable {
		return a.selection.usable
	}
	var all []string
	for _, s := range r.sites {
		all = append(all, s.cluster)
	}
	return all
}

func newVpcCluster(cluster string, address *vpcAddress) networkv1alpha1.VpcCluster {
	c := networkv1alpha1.VpcCluster{Name: networkv1alpha1.ClusterName(cluster)}
	if prefix, has := address.links.in(cluster); has {
		c.LinkCIDR = prefix.String()
	}
	return c
}

// addLeftovers tells of clusters that still have a router which is not wanted.
func addLeftovers(clusters []networkv1alpha1.VpcCluster, left *leftovers, address *vpcAddress) []networkv1alpha1.VpcCluster {
	for _, l := range left.list {
		message := "stays as it was: nothing proves that it must go"
		if l.because != "" {
			message = "is being removed: " + l.because
		}
		i := slices.IndexFunc(clusters, func(c networkv1alpha1.VpcCluster) bool { return string(c.Name) == l.cluster })
		if i < 0 {
			clusters = append(clusters, newVpcCluster(l.cluster, address))
			i = len(clusters) - 1
		}
		clusters[i].Message = message
	}
	slices.SortFunc(clusters, func(x, y networkv1alpha1.VpcCluster) int { return strings.Compare(string(x.Name), string(y.Name)) })
	return clusters
}

// waits collects the clusters that are behind.
type waits struct {
	messages []string
	failed   bool
}

func (w *waits) add(cluster string, r partState) {
	if r.programmed {
		return
	}
	w.failed = w.failed || r.failed
	w.messages = append(w.messages, cluster+": "+r.message)
}

// refusal sums up who waits for what; nil when nobody does.
func (w *waits) refusal() *refusal {
	switch {
	case len(w.messages) == 0:
		return nil
	case w.failed:
		return refuse(networkv1alpha1.ReasonClusterError, "%s", strings.Join(w.messages, "; "))
	}
	return refuse(networkv1alpha1.ReasonWaitingForClusters, "%s", strings.Join(w.messages, "; "))
}

func programmedMessage(clusters int) string {
	if clusters == 1 {
		return "the cluster has realized it"
	}
	return fmt.Sprintf("all %d clusters have realized it", clusters)
}

// subnetStatus is the status of a Subnet. The realization is that of its Vpc, nil when there is none.
func subnetStatus(v *subnetView, verdict *subnetVerdict, r *realization) *networkv1alpha1.SubnetStatus {
	s := &networkv1alpha1.SubnetStatus{}
	var waiting waits
	for _, placed := range verdict.placed {
		s.Clusters = append(s.Clusters, networkv1alpha1.SubnetCluster{
			Name: networkv1alpha1.ClusterName(placed.cluster), CIDR: placed.prefix.String(), Gateway: placed.gateway.String(),
		})
		state := partState{message: "the Vpc has no link there"}
		if found := r.in(placed.cluster); found != nil {
			state = found.own
		}
		waiting.add(placed.cluster, state)
	}
	c := chain{generation: v.generation}
	c.accept(verdict.refused)
	c.add(networkv1alpha1.ConditionAllocated, verdict.unallocated, networkv1alpha1.ReasonAllocated, fmt.Sprintf("a CIDR in %d of %d clusters", len(verdict.placed), len(v.needs)))
	c.add(networkv1alpha1.ConditionProgrammed, waiting.refusal(), networkv1alpha1.ReasonProgrammed, programmedMessage(len(verdict.placed)))
	s.Conditions = c.conditions
	return s
}

// poolStatus is the status of a pool.
func poolStatus(pool *admittedPool, s *stock, singles int64, room bool) *networkv1alpha1.IPPoolStatus {
	status := &networkv1alpha1.IPPoolStatus{CIDRs: texts(pool.ranges), Allocated: s.allocated + singles}
	for _, e := range s.list {
		status.Allocations = append(status.Allocations, e.allocation())
	}
	unit := "/" + fmt.Sprint(pool.lengths.Default)
	if pool.purpose == networkv1alpha1.PurposeVNI {
		unit = "VNI"
		if pool.last > 0 {
			status.Capacity = int64(pool.last-pool.first) + 1
		}
	}
	for _, r := range pool.ranges {
		status.Capacity += ipam.Size(r)
	}
	c := chain{generation: pool.generation}
	refused := pool.refused
	if pool.deleting {
		refused = refuse(networkv1alpha1.ReasonDeleting, "the IPPool is being deleted: it hands out nothing more")
	}
	c.accept(refused)
	var exhausted *refusal
	switch {
	case s.bytes >= maxLedgerBytes:
		exhausted = refuse(networkv1alpha1.ReasonPoolExhausted, "its ledger is full with %d entries, whatever is left of its ranges: make another IPPool of purpose %s, or one nested in it", len(s.list), pool.purpose)
	case !room:
		exhausted = refuse(networkv1alpha1.ReasonPoolExhausted, "no %s is left: add a range, or make another IPPool of purpose %s", unit, pool.purpose)
	}
	reason, message := networkv1alpha1.ReasonAvailable, "there is room for another "+unit
	if status.Capacity > 0 && status.Allocated*100 >= pool.warn*status.Capacity {
		reason = networkv1alpha1.ReasonNearlyExhausted
		message = fmt.Sprintf("%d of %d are handed out, which is %d %% or more: add a range, or make another IPPool of purpose %s", status.Allocated, status.Capacity, pool.warn, pool.purpose)
	}
	if int64(s.bytes)*100 >= pool.warn*maxLedgerBytes {
		reason = networkv1alpha1.ReasonNearlyExhausted
		message = fmt.Sprintf("its ledger has %d entries, and is full to %d %% or more: make another IPPool of purpose %s, or one nested in it", len(s.list), pool.warn, pool.purpose)
	}
	c.add(networkv1alpha1.ConditionAvailable, exhausted, reason, message)
	status.Conditions = c.conditions
	return status
}
