// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

// What a cluster says of its gateways is a petition: other clusters will send packets there and believe what comes from there. So nobody gets what
// another cluster has; who had it first keeps it, and when two ask at once the one whose name sorts first gets it.

// unsendable are ranges that no underlay routes from cluster to cluster (RFC 6890): those that no host has, and link-local addresses, where
// every cluster would find something of its own, such as its cloud's metadata service.
var unsendable = ipam.NewSet(append(unroutable.Prefixes(), netip.MustParsePrefix("169.254.0.0/16"))...)

// approver approves what clusters report of their gateways and nodes.
type approver struct {
	links *linkRanges
	// places is how many gateways a link has room for.
	places int32
	// holder is the cluster that an address was approved for.
	holder map[netip.Addr]string
	// keys is who has which WireGuard key.
	keys keyring
	// routed are the clusters that have routers.
	routed *clusterNames
}

func newApprover(links *linkRanges, p *pools, routed *clusterNames) *approver {
	return &approver{links: links, places: gatewayPlaces(p), holder: map[netip.Addr]string{}, keys: keyring{}, routed: routed}
}

// gatewayPlaces is how many gateways fit into the smallest link: all addresses but the network's, the router's and broadcast.
func gatewayPlaces(p *pools) int32 {
	bits := int32(0)
	for _, pool := range p.open(networkv1alpha1.PurposeLink) {
		bits = max(bits, pool.lengths.Default)
	}
	return 1<<(32-cmp.Or(bits, linkBits)) - 3
}

// hold notes an address that was approved before.
func (a *approver) hold(cluster, address string) {
	if addr, err := ipam.ParseAddr(address); err == nil && a.holder[addr] == "" {
		a.holder[addr] = cluster
	}
}

// petition is what one cluster reports, and what becomes of it.
type petition struct {
	*approver
	cluster string
	// before is what was approved of it before.
	before *spokev1alpha1.InterconnectGatewaySpec
	// had are the addresses among that.
	had map[string]bool
	pin pin

	endpoints []spokev1alpha1.GatewayEndpoint
	nodes     []spokev1alpha1.ClusterNode
	refused   []spokev1alpha1.RefusedReport
}

// judge turns what a cluster reports into what the fleet believes, and writes that into spec.
func (a *approver) judge(c Cluster, o *spokev1alpha1.InterconnectGateway, spec *spokev1alpha1.InterconnectGatewaySpec) {
	if o == nil {
		return
	}
	p := &petition{approver: a, cluster: c.Name, before: &o.Spec, had: addressesOf(&o.Spec), pin: readPin(c.Endpoints)}
	p.judgeEndpoints(o.Status.Endpoints)
	if c.Labels[networkv1alpha1.LabelNodeToNode] == "true" {
		p.judgeNodes(o.Status.Nodes)
	}
	spec.Endpoints, spec.Nodes, spec.Refused = p.endpoints, p.nodes, p.refused
}

// judgeEndpoints approves gateways. A node keeps its index.
func (p *petition) judgeEndpoints(reported []spokev1alpha1.ReportedEndpoint) {
	index, used := map[string]int32{}, map[int32]bool{}
	for _, r := range reported {
		if e := p.endpointBefore(r.Node); e != nil && !used[e.Index] {
			index[r.Node] = e.Index
			used[e.Index] = true
		}
	}
	reported = slices.SortedStableFunc(slices.Values(reported), func(x, y spokev1alpha1.ReportedEndpoint) int {
		_, xKnown := index[x.Node]
		_, yKnown := index[y.Node]
		return cmp.Or(cmpTrueFirst(xKnown, yKnown), cmp.Compare(x.Node, y.Node))
	})
	taken := map[netip.Addr]bool{}
	for _, r := range reported {
		addr, ok := p.mayHave(r.Node, r.Address, taken)
		if !ok {
			continue
		}
		i, known := index[r.Node]
		for i = max(i, 0); !known && used[i]; i++ {
		}
		if i >= p.places {
			p.refuse(r.Node, r.Address, spokev1alpha1.ReasonTooManyGateways, "a link has room for %d gateway nodes: take the label %s off a node of cluster %q, or give IPPools of purpose Link a shorter default prefix length", p.places, "tombolo.io/gateway", p.cluster)
			continue
		}
		used[i], taken[addr], p.holder[addr] = true, true, p.cluster
		endpoint := spokev1alpha1.GatewayEndpoint{Node: r.Node, Address: r.Address, Index: i}
		endpoint.PublicKey, endpoint.WireGuardPort = p.key(r)
		p.endpoints = append(p.endpoints, endpoint)
	}
	p.keepLast(reported)
	slices.SortFunc(p.endpoints, func(x, y spokev1alpha1.GatewayEndpoint) int { return cmp.Compare(x.Index, y.Index) })
}

// keepLast keeps the gateways that a cluster does not report any more, when it would have none without them and has routers: that labels, Nodes or a whole
// list are gone is not evidence that nobody needs the way. What is reported and refused is not kept, nor what the fleet's admin does not allow.
func (p *petition) keepLast(reported []spokev1alpha1.ReportedEndpoint) {
	if len(p.endpoints) > 0 || !p.routed.has(p.cluster) {
		return
	}
	for _, e := range p.before.Endpoints {
		addr, err := ipam.ParseAddr(e.Address)
		if slices.ContainsFunc(reported, func(r spokev1alpha1.ReportedEndpoint) bool { return r.Node == e.Node }) ||
			err != nil || p.holder[addr] != p.cluster || !p.pin.allows(addr, true) {
			continue
		}
		p.endpoints = append(p.endpoints, e)
		p.refuse(e.Node, e.Address, spokev1alpha1.ReasonLastGateway, "the cluster reports no gateway any more, and has Vpcs: the node stays one. Label another Node of cluster %q tombolo.io/gateway=true, "+
			"and it goes when that one is approved; or take the Vpcs out of the cluster", p.cluster)
	}
}

// judgeNodes approves the nodes that may send to other clusters' nodes.
func (p *petition) judgeNodes(reported []spokev1alpha1.ClusterNode) {
	taken := map[netip.Addr]bool{}
	for _, n := range slices.SortedStableFunc(slices.Values(reported), func(x, y spokev1alpha1.ClusterNode) int { return cmp.Compare(x.Node, y.Node) }) {
		addr, ok := p.mayHave(n.Node, n.Address, taken)
		if !ok {
			continue
		}
		if len(p.nodes) == spokev1alpha1.MaxNodes {
			return // the API takes no more; a cluster that has more reports none
		}
		taken[addr], p.holder[addr] = true, p.cluster
		p.nodes = append(p.nodes, n)
	}
}

// endpointBefore is the node's endpoint as it was approved before; nil when there is none.
func (p *petition) endpointBefore(node string) *spokev1alpha1.GatewayEndpoint {
	i := slices.IndexFunc(p.before.Endpoints, func(e spokev1alpha1.GatewayEndpoint) bool { return e.Node == node })
	if i < 0 {
		return nil
	}
	return &p.before.Endpoints[i]
}

// addressesOf what was approved of a cluster before.
func addressesOf(spec *spokev1alpha1.InterconnectGatewaySpec) map[string]bool {
	had := make(map[string]bool, len(spec.Endpoints)+len(spec.Nodes))
	for _, e := range spec.Endpoints {
		had[e.Address] = true
	}
	for _, n := range spec.Nodes {
		had[n.Address] = true
	}
	return had
}

// mayHave is true when the cluster may have an address for a node, and no other of its nodes has it.
func (p *petition) mayHave(node, address string, taken map[netip.Addr]bool) (netip.Addr, bool) {
	addr, err := ipam.ParseAddr(address)
	refuse := func(reason, format string, args ...any) (netip.Addr, bool) {
		p.refuse(node, address, reason, format, args...)
		return addr, false
	}
	if len(validation.IsDNS1123Subdomain(node)) > 0 {
		return refuse(spokev1alpha1.ReasonNodeInvalid, "%q can't be the name of a Node; Tombolo's agent reports the names of Nodes only", clip(node, maxName))
	}
	if err != nil {
		return refuse(spokev1alpha1.ReasonAddressInvalid, "%q is not an IPv4 address: set --endpoint-interface on the node to one that has one", clip(address, maxName))
	}
	single := netip.PrefixFrom(addr, 32)
	if q, found := unsendable.Overlap(single); found {
		return refuse(spokev1alpha1.ReasonAddressInvalid, "%s is in %s, which no other cluster can send to: set --endpoint-interface on the node to one that other clusters reach", addr, q)
	}
	if q, holder, found := p.links.overlap(single); found {
		return refuse(spokev1alpha1.ReasonAddressInvalid, "%s is in %s of %s: give the node another address, or the IPPool another range", addr, q, holder)
	}
	if !p.pin.allows(addr, p.had[address]) {
		return refuse(spokev1alpha1.ReasonAddressNotAllowed, "%s: %s", addr, p.pin.why(p.cluster))
	}
	if holder := p.holder[addr]; holder != "" && holder != p.cluster {
		return refuse(spokev1alpha1.ReasonAddressTaken, "%s is cluster %q's, which had it first: when it should be cluster %q's, "+
			"annotate both ManagedClusters with %s, the ranges that their nodes' addresses are in", addr, holder, p.cluster, networkv1alpha1.AnnotationEndpoints)
	}
	if taken[addr] {
		return refuse(spokev1alpha1.ReasonAddressTaken, "%s is another node's of cluster %q: give each node an address of its own", addr, p.cluster)
	}
	return addr, true
}

// key approves the key of a node and its port. While the key is another gateway's, the one stays that was approved before: nobody can
// take a gateway's key away by being faster with its next one.
func (p *petition) key(r spokev1alpha1.ReportedEndpoint) (spokev1alpha1.PublicKey, int32) {
	if r.PublicKey == "" {
		return "", 0
	}
	if !usableKey(r) {
		p.refuse(r.Node, r.Address, spokev1alpha1.ReasonKeyInvalid, "the WireGuard key is not 32 octets in base64, or has no port; Tombolo's agent reports both together")
		return "", 0
	}
	owner := keyOwner{p.cluster, r.Node}
	holder, held := p.keys[r.PublicKey]
	if !held || holder == owner {
		p.keys[r.PublicKey] = owner
		return r.PublicKey, r.WireGuardPort
	}
	p.refuse(r.Node, r.Address, spokev1alpha1.ReasonKeyTaken, "the WireGuard key is that of gateway node %s of cluster %q, which had it first: "+
		"annotate Node %s of cluster %q with another text in tombolo.io/rotate-key, so that it makes another key", holder.node, holder.cluster, r.Node, p.cluster)
	if e := p.endpointBefore(r.Node); e != nil && e.PublicKey != "" && p.keys[e.PublicKey] == owner {
		return e.PublicKey, e.WireGuardPort
	}
	return "", 0
}

const (
	// maxRefused bounds what is said of one cluster.
	maxRefused = 16
	// maxName is the length of the longest name in Kubernetes.
	maxName = 253
)

// refuse notes why something was not approved. There is no end to what a cluster may report: the first refusals are told.
func (p *petition) refuse(node, address, reason, format string, args ...any) {
	if len(p.refused) < maxRefused {
		p.refused = append(p.refused, spokev1alpha1.RefusedReport{
			Node: clip(node, maxName), Address: clip(address, maxName), Reason: reason, Message: clip(fmt.Sprintf(format, args...), maxMessage),
		})
	}
}

// pin is where the fleet's admin says that a cluster's addresses are: the annotation tombolo.io/endpoints of its ManagedCluster.
type pin struct {
	text   string
	ranges ipam.Set
	// broken is what is wrong with the text. Then what was approved stays, and nothing is added: a typing error neither opens nor stops
	// anything.
	broken error
}

func readPin(text string) pin {
	p := pin{text: strings.TrimSpace(text)}
	if p.text == "" {
		return p
	}
	var prefixes []netip.Prefix
	for part := range strings.SplitSeq(p.text, ",") {
		part = strings.TrimSpace(part)
		if addr, err := ipam.ParseAddr(part); err == nil {
			prefixes = append(prefixes, netip.PrefixFrom(addr, 32))
			continue
		}
		prefix, err := ipam.ParsePrefix(part)
		if err != nil {
			p.broken = err
			return p
		}
		prefixes = append(prefixes, prefix)
	}
	p.ranges = ipam.NewSet(prefixes...)
	return p
}

// allows is true for an address that a cluster may have.
func (p pin) allows(addr netip.Addr, before bool) bool {
	switch {
	case p.text == "":
		return true
	case p.broken != nil:
		return before
	}
	_, found := p.ranges.Overlap(netip.PrefixFrom(addr, 32))
	return found
}

// why says why an address is not allowed.
func (p pin) why(cluster string) string {
	if p.broken != nil {
		return fmt.Sprintf("annotation %s of ManagedCluster %q: %v: nothing is added until it is right", networkv1alpha1.AnnotationEndpoints, cluster, p.broken)
	}
	return fmt.Sprintf("annotation %s of ManagedCluster %q allows %s only: when the address is that cluster's, add it there", networkv1alpha1.AnnotationEndpoints, cluster, p.text)
}
