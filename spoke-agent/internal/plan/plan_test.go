// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
)

var (
	prefix = netip.MustParsePrefix
	addr   = netip.MustParseAddr
)

func vpc(name string, vni int32) spokev1alpha1.VpcIdentity {
	return spokev1alpha1.VpcIdentity{Namespace: "demo", Name: name, VNI: vni}
}

// router is vpc-1 of the story: one subnet, a remote Vpc behind the gateways.
func router(modify ...func(*spokev1alpha1.LocalRouter)) spokev1alpha1.LocalRouter {
	r := spokev1alpha1.LocalRouter{
		ObjectMeta: metav1.ObjectMeta{Name: "demo.vpc-1"},
		Spec: spokev1alpha1.LocalRouterSpec{
			Vpc: vpc("vpc-1", 100), VpcUID: "uid-1", LinkCIDR: "169.254.128.0/29",
			Subnets: []spokev1alpha1.RouterSubnet{{Name: "net1", CIDR: "10.0.0.0/16", Gateway: "10.0.0.1", ExcludeIPs: []string{"10.0.0.9", "10.0.0.2..10.0.0.4"}}},
			Routes:  []string{"172.31.0.0/16", "169.254.128.0/17"},
		},
	}
	for _, m := range modify {
		m(&r)
	}
	return r
}

func gateway(endpoints ...spokev1alpha1.GatewayEndpoint) *spokev1alpha1.InterconnectGateway {
	return &spokev1alpha1.InterconnectGateway{
		ObjectMeta: metav1.ObjectMeta{Name: "east"},
		Spec:       spokev1alpha1.InterconnectGatewaySpec{Cluster: "east", Endpoints: endpoints},
	}
}

func pod(name, subnet string) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "demo", Name: name, UID: types.UID("uid-" + name), Annotations: map[string]string{networkv1alpha1.AnnotationSubnet: subnet},
	}}
}

// desired is what router() and two gateways ask of OVN.
func desired(modify ...func(*ovn.Router)) ovn.Router {
	hops := []netip.Addr{addr("169.254.128.2"), addr("169.254.128.3")}
	r := ovn.Router{
		Owner: "uid-1", Name: "demo.vpc-1",
		Subnets: []ovn.Subnet{{Name: "demo.vpc-1.net1", CIDR: prefix("10.0.0.0/16"), Gateway: addr("10.0.0.1"), ExcludeIPs: []string{"10.0.0.2..10.0.0.4", "10.0.0.9"}}},
		Transit: ovn.Transit{
			Name: "ts-demo.vpc-1", RouterAddress: prefix("169.254.128.1/29"), RouterMAC: "0a:58:a9:fe:80:01",
			Gateways: []ovn.TransitPort{
				{Name: "gw-demo.vpc-1:n1", Address: hops[0], MAC: "0a:58:a9:fe:80:02"},
				{Name: "gw-demo.vpc-1:n2", Address: hops[1], MAC: "0a:58:a9:fe:80:03"},
			},
		},
		Routes: []ovn.Route{{Prefix: prefix("169.254.128.0/17"), NextHops: hops}, {Prefix: prefix("172.31.0.0/16"), NextHops: hops}},
	}
	for _, m := range modify {
		m(&r)
	}
	return r
}

func TestMake(t *testing.T) {
	two := gateway(spokev1alpha1.GatewayEndpoint{Node: "n2", Address: "192.0.2.2", Index: 1}, spokev1alpha1.GatewayEndpoint{Node: "n1", Address: "192.0.2.1"})
	deleting := func(r *spokev1alpha1.LocalRouter) { r.DeletionTimestamp = new(metav1.Now()) }
	cases := map[string]struct {
		reason     string
		in         Inputs
		want       ovn.Desired
		routerErrs map[string]string
	}{
		"TwoGateways": {
			reason: "routes go to all gateways, ordered by address whatever order the directory has",
			in:     Inputs{Routers: []spokev1alpha1.LocalRouter{router()}, Gateway: two},
			want:   ovn.Desired{Routers: []ovn.Router{desired()}},
		},
		"NoGateway": {
			reason: "without a gateway there is no next hop, and so no route; the subnets work",
			in:     Inputs{Routers: []spokev1alpha1.LocalRouter{router()}},
			want: ovn.Desired{Routers: []ovn.Router{desired(func(r *ovn.Router) {
				r.Transit.Gateways, r.Routes = nil, nil
			})}},
		},
		"Pods": {
			reason: "bound pods have a port each, in the order of their names",
			in:     Inputs{Routers: []spokev1alpha1.LocalRouter{router()}, Gateway: two, Pods: []corev1.Pod{pod("b", "net1"), pod("a", "net1")}},
			want: ovn.Desired{Routers: []ovn.Router{desired(func(r *ovn.Router) {
				r.Subnets[0].Ports = []ovn.Port{{Name: "pod-uid-a", Owner: "uid-a", Pod: "demo/a"}, {Name: "pod-uid-b", Owner: "uid-b", Pod: "demo/b"}}
			})}},
		},
		"Peer": {
			reason: "a peer in the same cluster is a pair of ports, and its prefixes don't go through the gateways",
			in: Inputs{Gateway: two, Routers: []spokev1alpha1.LocalRouter{router(func(r *spokev1alpha1.LocalRouter) {
				r.Spec.Peers = []spokev1alpha1.LocalPeer{{
					Vpc: vpc("vpc-3", 300), LocalConnectIP: "169.254.129.1/30", RemoteConnectIP: "169.254.129.2/30",
					Prefixes: []string{"192.168.0.0/16", "172.31.0.0/16"},
				}}
			})}},
			want: ovn.Desired{Routers: []ovn.Router{desired(func(r *ovn.Router) {
				hop := []netip.Addr{addr("169.254.129.2")}
				r.Peers = []ovn.Peer{{Name: "pp-demo.vpc-1:demo.vpc-3", RemoteName: "pp-demo.vpc-3:demo.vpc-1", Address: prefix("169.254.129.1/30"), MAC: "0a:58:a9:fe:81:01"}}
				r.Routes = []ovn.Route{r.Routes[0], {Prefix: prefix("172.31.0.0/16"), NextHops: hop}, {Prefix: prefix("192.168.0.0/16"), NextHops: hop}}
			})}},
		},
		"Deleting": {
			reason: "a router under deletion is removed by its owner, and its pods get no ports",
			in:     Inputs{Routers: []spokev1alpha1.LocalRouter{router(deleting)}, Gateway: two, Pods: []corev1.Pod{pod("a", "net1")}},
			want:   ovn.Desired{Removed: []string{"uid-1"}},
		},
		"DeletingButLiving": {
			reason: "the tombstone of another copy must not remove the rows of a Vpc that is there",
			in: Inputs{Routers: []spokev1alpha1.LocalRouter{router(), router(deleting, func(r *spokev1alpha1.LocalRouter) {
				r.Name = "demo.old"
			})}, Gateway: two},
			want: ovn.Desired{Routers: []ovn.Router{desired()}},
		},
		"Unrealizable": {
			reason: "a spec that can't be is left out whole, neither half made nor removed, and says which field",
			in: Inputs{Routers: []spokev1alpha1.LocalRouter{router(func(r *spokev1alpha1.LocalRouter) {
				r.Spec.Subnets[0].Gateway = "10.1.0.1"
			})}, Gateway: two},
			routerErrs: map[string]string{"demo.vpc-1": "spec.subnets[net1].gateway"},
		},
		"ExcludeOutside": {
			reason: "an exclusion outside its subnet must not stop the other routers",
			in: Inputs{Routers: []spokev1alpha1.LocalRouter{router(func(r *spokev1alpha1.LocalRouter) {
				r.Spec.Subnets[0].ExcludeIPs = []string{"10.0.0.9..10.0.0.2"}
			})}},
			routerErrs: map[string]string{"demo.vpc-1": "excludeIPs"},
		},
		"OwnerTwice": {
			reason: "two copies of one Vpc would fight for its rows: the second is refused",
			in:     Inputs{Gateway: two, Routers: []spokev1alpha1.LocalRouter{router(), router(func(r *spokev1alpha1.LocalRouter) { r.Name = "demo.twin" })}},
			want:   ovn.Desired{Routers: []ovn.Router{desired()}}, routerErrs: map[string]string{"demo.twin": "demo.vpc-1"},
		},
		"TooManyGateways": {
			reason: "an endpoint without an address in the link is an error, not a wrong next hop",
			in: Inputs{
				Routers: []spokev1alpha1.LocalRouter{router()}, Gateway: gateway(spokev1alpha1.GatewayEndpoint{Node: "n9", Index: 5}),
			},
			routerErrs: map[string]string{"demo.vpc-1": "n9"},
		},
		"Empty": {reason: "nothing known is nothing removed"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Make(tc.in)
			if diff := cmp.Diff(tc.want, got.Desired, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if len(got.RouterErrors) != len(tc.routerErrs) {
				t.Errorf("%s: router errors %v, want %v", tc.reason, got.RouterErrors, tc.routerErrs)
			}
			for router, part := range tc.routerErrs {
				if err := got.RouterErrors[router]; err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("%s: error of %s is %v, want it to say %q", tc.reason, router, err, part)
				}
			}
		})
	}
}

func TestMakeDoesNotDependOnOrder(t *testing.T) {
	second := router(func(r *spokev1alpha1.LocalRouter) {
		r.Name, r.Spec.Vpc, r.Spec.VpcUID = "demo.vpc-0", vpc("vpc-0", 99), "uid-0"
		r.Spec.Subnets[0].Name = "net0"
	})
	in := Inputs{Routers: []spokev1alpha1.LocalRouter{router(), second}, Pods: []corev1.Pod{pod("a", "net1"), pod("b", "net0"), pod("c", "net1")}}
	want := Make(in)
	slices.Reverse(in.Routers)
	slices.Reverse(in.Pods)
	opts := cmp.Options{cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}
	if diff := cmp.Diff(want.Desired, Make(in).Desired, opts); diff != "" {
		t.Errorf("the same objects in another order are another plan, and so a needless transaction (-want +got):\n%s", diff)
	}
}

func TestMakeTellsPods(t *testing.T) {
	got := Make(Inputs{Routers: []spokev1alpha1.LocalRouter{router()}, Pods: []corev1.Pod{pod("a", "net1"), pod("b", "net9")}, PodMTU: 1400})
	if len(got.PodErrors) != 1 || got.PodErrors[0].Pod.Name != "b" {
		t.Errorf("pod errors %v, want one for b, whose Subnet does not exist", got.PodErrors)
	}
	a := got.Ports["pod-uid-a"].Attachment("pod-uid-a", ovn.PortBinding{Address: addr("10.0.0.2"), MAC: "0a:58:0a:00:00:02"})
	const want = `{"vpc":"demo/vpc-1","subnet":"demo/net1","port":"pod-uid-a","address":"10.0.0.2/16","mac":"0a:58:0a:00:00:02","gateway":"10.0.0.1","mtu":1400}`
	if a.String() != want {
		t.Errorf("attachment\n got %s\nwant %s", a, want)
	}
}
