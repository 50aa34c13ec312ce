// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

const (
	tenant = "fleet"
	// writers is how many objects are created at once.
	writers = 16
	// setupTimeout bounds the time until all agents have all.
	setupTimeout = 20 * time.Minute
	// fewMembers is the size of the Vpc whose change of members is always measured.
	fewMembers = 20
)

// bench is a run.
type bench struct {
	options
	servers *servers
	agents  []*agent
	// peers of each Vpc, by number.
	peers [][]int
	tracker
	observer observer
	// given is how many pairs of Vpcs were taken to peer.
	given int
	// subnets made so far in each Vpc.
	subnets []int
}

func newBench(o options, s *servers) *bench {
	b := &bench{options: o, servers: s, peers: make([][]int, o.vpcs), subnets: make([]int, o.vpcs)}
	b.expected = map[string][]*expectation{}
	return b
}

func clusterName(i int) string { return fmt.Sprintf("c%04d", i) }
func vpcName(i int) string     { return fmt.Sprintf("v%04d", i) }

// clustersOf are the clusters of a Vpc, by number.
func (b *bench) clustersOf(vpc int) []int {
	var all []int
	for j := range b.span {
		all = append(all, (vpc*31+j*97)%b.spokes)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// block is the n-th /28 of a Vpc's /20.
func block(vpc, n int) networkv1alpha1.CIDR {
	base := uint32(10)<<24 + uint32(vpc)<<12 + uint32(n)<<4
	addr := netip.AddrFrom4([4]byte{byte(base >> 24), byte(base >> 16), byte(base >> 8), byte(base)})
	return networkv1alpha1.CIDR(netip.PrefixFrom(addr, 28).String())
}

// populate makes the fleet and what is in it, starts the agents, and waits until each has what it should.
func (b *bench) populate(ctx context.Context, r *report) error {
	if err := errors.Join(b.pools(ctx), b.allowRemovals(ctx)); err != nil {
		return err
	}
	progress("register %d clusters", b.spokes)
	if err := each(ctx, b.spokes, func(ctx context.Context, i int) error { return b.register(ctx, i) }); err != nil {
		return err
	}
	if err := b.startAgents(ctx); err != nil {
		return err
	}
	b.observer.run(ctx, b.servers)
	progress("make %d Vpcs and %d peerings", b.vpcs, b.peerings)
	begin := time.Now()
	pairs := b.pairs()
	all := b.expectAll(r)
	if err := each(ctx, b.vpcs, b.makeVpc); err != nil {
		return err
	}
	if err := each(ctx, len(pairs), func(ctx context.Context, i int) error { return b.servers.admin.Create(ctx, peering(pairs[i])) }); err != nil {
		return err
	}
	if _, err := b.await(ctx, all, setupTimeout); err != nil {
		return err
	}
	r.SetupSeconds = time.Since(begin).Seconds()
	progress("all agents have their routers, %.0f s after the first Vpc", r.SetupSeconds)
	return b.observer.quiet(ctx)
}

// each does something n times, several at once.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for i := range n {
		g.Go(func() error { return do(ctx, i) })
	}
	return g.Wait()
}

func (b *bench) pools(ctx context.Context) error {
	for _, pool := range []*networkv1alpha1.IPPool{
		{ObjectMeta: metav1.ObjectMeta{Name: "vnis"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVNI, VNIs: &networkv1alpha1.VNIRange{First: 1000, Last: 99999}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "links"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeLink, CIDRs: []networkv1alpha1.CIDR{"100.64.0.0/10"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "subnets"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVpc, CIDRs: []networkv1alpha1.CIDR{"172.16.0.0/12"}}},
	} {
		if err := b.servers.admin.Create(ctx, pool); err != nil {
			return err
		}
	}
	return b.servers.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant}})
}

// allowRemovals lets the hub take away as much as the changes want, for nobody is there to confirm it.
func (b *bench) allowRemovals(ctx context.Context) error {
	fleet := &networkv1alpha1.Fleet{ObjectMeta: metav1.ObjectMeta{Name: networkv1alpha1.FleetName}}
	body := []byte(`{"spec":{"maxRemovalPercent":100}}`)
	return retry(ctx, time.Minute, func() error { return b.servers.admin.Patch(ctx, fleet, client.RawPatch(types.MergePatchType, body)) })
}

func (b *bench) register(ctx context.Context, i int) error {
	name := clusterName(i)
	if err := b.servers.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		return err
	}
	return b.servers.admin.Create(ctx, &clusterv1.ManagedCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{networkv1alpha1.AnnotationEndpoints: underlay(i) + "/32"}},
		Spec:       clusterv1.ManagedClusterSpec{HubAcceptsClient: true},
	})
}

// underlay is the address of a cluster's gateway.
func underlay(i int) string { return fmt.Sprintf("198.18.%d.%d", i>>8, i&0xff) }

// startAgents gives each cluster its agent, and waits until all watch and have introduced themselves.
func (b *bench) startAgents(ctx context.Context) error {
	progress("start %d agents", b.spokes)
	b.agents = make([]*agent, b.spokes)
	err := each(ctx, b.spokes, func(_ context.Context, i int) (err error) {
		b.agents[i], err = b.newAgent(clusterName(i))
		return err
	})
	if err != nil {
		return err
	}
	for _, a := range b.agents {
		go a.run(ctx, b.directory)
	}
	if err := b.watching(ctx, setupTimeout); err != nil {
		return err
	}
	for i, a := range b.agents {
		a.introduce(underlay(i))
	}
	return retry(ctx, setupTimeout, func() error {
		for _, a := range b.agents {
			if !a.introduced() {
				return fmt.Errorf("the hub has not approved the gateway of %s", a.cluster)
			}
		}
		return nil
	})
}

// watching waits until all agents have all that they watch.
func (b *bench) watching(ctx context.Context, within time.Duration) error {
	return retry(ctx, within, func() error {
		for _, a := range b.agents {
			if !a.ready() {
				return fmt.Errorf("the agent of %s does not watch", a.cluster)
			}
		}
		return nil
	})
}

func retry(ctx context.Context, within time.Duration, try func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v: %w", within, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (b *bench) makeVpc(ctx context.Context, i int) error {
	var names []networkv1alpha1.ClusterName
	for _, c := range b.clustersOf(i) {
		names = append(names, networkv1alpha1.ClusterName(clusterName(c)))
	}
	err := b.servers.admin.Create(ctx, &networkv1alpha1.Vpc{
		ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: vpcName(i)}, Spec: networkv1alpha1.VpcSpec{Clusters: networkv1alpha1.ClusterSelection{Names: names}},
	})
	if err != nil {
		return err
	}
	for _, c := range b.clustersOf(i) {
		if err := b.servers.admin.Create(ctx, b.subnet(i, c)); err != nil {
			return err
		}
	}
	return nil
}

// subnet is one more of a Vpc, in one of its clusters.
func (b *bench) subnet(vpc, cluster int) *networkv1alpha1.Subnet {
	n := b.subnets[vpc]
	b.subnets[vpc]++
	return &networkv1alpha1.Subnet{
		ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: fmt.Sprintf("%s-%d", vpcName(vpc), n)},
		Spec:       networkv1alpha1.SubnetSpec{Vpc: vpcName(vpc), Cluster: networkv1alpha1.ClusterName(clusterName(cluster)), CIDRBlock: block(vpc, n)},
	}
}

type pair struct{ a, b int }

// pairs are the Vpcs that peer from the beginning.
func (b *bench) pairs() []pair {
	var all []pair
	for len(all) < b.peerings {
		p, _ := b.unused() // there are twice as many
		all = append(all, p)
		b.peers[p.a], b.peers[p.b] = append(b.peers[p.a], p.b), append(b.peers[p.b], p.a)
	}
	return all
}

// unused is a pair of Vpcs that was never given before: first those at distance 1, then 2, and so on, each pair once.
func (b *bench) unused() (p pair, found bool) {
	distance := 1 + b.given/b.vpcs
	p = pair{b.given % b.vpcs, (b.given + distance) % b.vpcs}
	b.given++
	return p, distance < (b.vpcs+1)/2
}

func peering(p pair) *networkv1alpha1.VpcPeering {
	return &networkv1alpha1.VpcPeering{
		ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: vpcName(p.a) + "-" + vpcName(p.b)},
		Spec:       networkv1alpha1.VpcPeeringSpec{Vpc: vpcName(p.a), PeerVpc: networkv1alpha1.VpcReference{Name: vpcName(p.b)}},
	}
}

// expectAll expects every router with a way to each of its Vpc's peers.
func (b *bench) expectAll(r *report) *expectation {
	var keys []string
	want := map[string]int{}
	for i := range b.vpcs {
		for _, c := range b.clustersOf(i) {
			key := routerKey(clusterName(c), vpcName(i))
			keys, want[key] = append(keys, key), len(b.peers[i])
		}
	}
	r.Routers = len(keys)
	return b.expect(keys, func(cluster string, router *spokev1alpha1.LocalRouter) bool {
		return len(neighbours(router)) >= want[routerKey(cluster, router.Spec.Vpc.Name)]
	})
}

// neighbours are the other Vpcs that a router has a way to.
func neighbours(router *spokev1alpha1.LocalRouter) map[string]bool {
	all := map[string]bool{}
	for _, r := range router.Spec.Remotes {
		all[r.Vpc.Name] = true
	}
	for _, p := range router.Spec.Peers {
		all[p.Vpc.Name] = true
	}
	delete(all, router.Spec.Vpc.Name)
	return all
}

// hasPrefix is true when a router has a prefix, its own or a way to it.
func hasPrefix(router *spokev1alpha1.LocalRouter, cidr string) bool {
	return slices.ContainsFunc(router.Spec.Subnets, func(s spokev1alpha1.RouterSubnet) bool { return s.CIDR == cidr }) ||
		slices.ContainsFunc(router.Spec.Remotes, func(r spokev1alpha1.Remote) bool { return slices.Contains(r.Prefixes, cidr) }) ||
		slices.ContainsFunc(router.Spec.Peers, func(p spokev1alpha1.LocalPeer) bool { return slices.Contains(p.Prefixes, cidr) })
}

// routersOf are the keys of a Vpc's routers.
func (b *bench) routersOf(vpc int) []string {
	var keys []string
	for _, c := range b.clustersOf(vpc) {
		keys = append(keys, routerKey(clusterName(c), vpcName(vpc)))
	}
	return keys
}
