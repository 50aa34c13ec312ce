// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/probe"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/wireguard"
)

var (
	addr    = netip.MustParseAddr
	prefix  = netip.MustParsePrefix
	compare = cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmpopts.IgnoreFields(Plan{}, "Errors"),
		cmpopts.IgnoreTypes(wireguard.PrivateKey{}), // no plan has one
	}
)

func vpc(name string, vni int32) spokev1alpha1.VpcIdentity {
	return spokev1alpha1.VpcIdentity{Namespace: "demo", Name: name, VNI: vni}
}

// router is vpc-1 in east, peered with vpc-2 in west and vpc-3 in east.
func router(modify ...func(*spokev1alpha1.LocalRouter)) spokev1alpha1.LocalRouter {
	r := spokev1alpha1.LocalRouter{
		ObjectMeta: metav1.ObjectMeta{Name: "demo.vpc-1", Generation: 9, Annotations: map[string]string{spokev1alpha1.AnnotationHubGeneration: "4"}},
		Spec: spokev1alpha1.LocalRouterSpec{
			Vpc: vpc("vpc-1", 100), VpcUID: "uid-1", LinkCIDR: "169.254.128.0/29",
			Subnets: []spokev1alpha1.RouterSubnet{{Name: "net1", CIDR: "10.0.0.0/16", Gateway: "10.0.0.1"}},
			Remotes: []spokev1alpha1.Remote{{
				Vpc: vpc("vpc-2", 200), Cluster: "west", Prefixes: []string{"172.31.0.0/16", "169.254.128.8/29"}, ProbeAddress: "172.31.0.1",
			}},
			Peers: []spokev1alpha1.LocalPeer{{Vpc: vpc("vpc-3", 300), ProbeAddress: "192.168.0.1"}},
		},
	}
	for _, m := range modify {
		m(&r)
	}
	return r
}

func cluster(name string, own bool, endpoints ...spokev1alpha1.GatewayEndpoint) spokev1alpha1.InterconnectGateway {
	g := spokev1alpha1.InterconnectGateway{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       spokev1alpha1.InterconnectGatewaySpec{Cluster: name, Port: 4789, Endpoints: endpoints},
	}
	if own {
		g.Labels = map[string]string{local.LabelOwn: "true"}
	}
	return g
}

func directory() []spokev1alpha1.InterconnectGateway {
	return []spokev1alpha1.InterconnectGateway{
		cluster("north", false, spokev1alpha1.GatewayEndpoint{Node: "n", Address: "192.0.2.30"}),
		cluster("west", false, spokev1alpha1.GatewayEndpoint{Node: "w2", Address: "192.0.2.21", Index: 1}, spokev1alpha1.GatewayEndpoint{Node: "w1", Address: "192.0.2.20"}),
		cluster("east", true, spokev1alpha1.GatewayEndpoint{Node: "e2", Address: "192.0.2.11", Index: 1}, spokev1alpha1.GatewayEndpoint{Node: "e1", Address: "192.0.2.10"}),
	}
}

func wantPort() Port {
	const gatewayMAC, routerMAC = "0a:58:a9:fe:80:03", "0a:58:a9:fe:80:01"
	target := func(dst, key string) probe.Target {
		return probe.Target{Interface: "tbg100", SrcMAC: gatewayMAC, DstMAC: routerMAC, Src: addr("169.254.128.3"), Dst: addr(dst), Key: key}
	}
	return Port{
		Router: "demo.vpc-1", Generation: 4,
		Link:    link.Pair{GatewayEnd: "tbg100", OVSEnd: "tbo100", MAC: gatewayMAC, MTU: 1400},
		Vswitch: ovn.VswitchPort{Interface: "tbo100", IfaceID: "gw-demo.vpc-1:e2", Owner: "uid-1"},
		Fastpath: fastpath.Port{
			Interface: "tbg100", Vpc: "demo/vpc-1", VNI: 100, GatewayMAC: gatewayMAC, RouterMAC: routerMAC, Address: addr("169.254.128.3"),
			Local: []netip.Prefix{prefix("10.0.0.0/16"), prefix("169.254.128.0/29")},
			Remotes: []fastpath.Remote{{
				Vpc: "demo/vpc-2", VNI: 200, Cluster: "west", Prefixes: []netip.Prefix{prefix("172.31.0.0/16"), prefix("169.254.128.8/29")},
			}},
		},
		SlowPath: link.SlowVpc{
			Interface: "tbg100", VNI: 100, Router: addr("169.254.128.1"), RouterMAC: routerMAC,
			Local: []netip.Prefix{prefix("10.0.0.0/16"), prefix("169.254.128.0/29")},
			Remotes: []link.SlowRemote{{
				VNI: 200, Endpoints: []netip.Addr{addr("192.0.2.20"), addr("192.0.2.21")},
				Prefixes: []netip.Prefix{prefix("172.31.0.0/16"), prefix("169.254.128.8/29")},
			}},
		},
		Probes: []Probe{
			{Vpc: "demo/vpc-2", Cluster: "west", Target: target("172.31.0.1", "demo.vpc-1 demo/vpc-2 west")},
			{Vpc: "demo/vpc-3", Cluster: "east", Target: target("192.168.0.1", "demo.vpc-1 demo/vpc-3 east")},
		},
	}
}

func TestMake(t *testing.T) {
	underlay := fastpath.Underlay{Interface: "wan0", Address: addr("192.0.2.11"), UDPPort: 4789, VXLAN: "tbx4789"}
	encryptedUnderlay := underlay
	encryptedUnderlay.Tunnel = "tbwg0"
	slow := func(vpcs ...link.SlowVpc) link.SlowPath {
		return link.SlowPath{VXLAN: link.VXLAN{Port: 4789, Address: addr("192.0.2.11"), Underlay: "wan0"}, Vpcs: vpcs}
	}
	echoes := func(mtu int, addresses ...string) tunnelprobe.Config {
		c := tunnelprobe.Config{Address: addr("192.0.2.11"), Port: 4789, Targets: []tunnelprobe.Target{{Cluster: "east", Node: "e1", Address: addr("192.0.2.10")}}}
		for _, a := range addresses {
			node := map[string]string{"192.0.2.20": "w1", "192.0.2.21": "w2"}[a]
			c.Targets = append(c.Targets, tunnelprobe.Target{Cluster: "west", Node: node, Address: addr(a), MTU: mtu})
		}
		return c
	}
	west := echoes(1500, "192.0.2.20", "192.0.2.21")
	narrow := wantPort()
	narrow.SlowPath.Remotes[0].PathMTU = 1350
	lost, secret, unable := wantPort(), wantPort(), wantPort()
	lost.SlowPath.Remotes[0].Endpoints = nil
	secret.SlowPath.Remotes[0].EncryptedMTU = 1390
	unable.SlowPath.Remotes[0].EncryptedMTU, unable.SlowPath.Remotes[0].Endpoints = 1390, nil
	cases := map[string]struct {
		reason string
		modify func(*Inputs)
		want   Plan
		errs   map[string]string
	}{
		"Gateway": {
			reason: "a labelled and approved node serves every router; only clusters that a router refers to are configured",
			want: Plan{Role: RoleGateway, Ports: []Port{wantPort()}, Fastpath: fastpath.Config{
				Underlay: underlay, Ports: []fastpath.Port{wantPort().Fastpath},
				Clusters: []fastpath.Cluster{{Name: "west", Endpoints: []netip.Addr{addr("192.0.2.20"), addr("192.0.2.21")}}},
			}, Echoes: west, SlowPath: slow(wantPort().SlowPath)},
		},
		"NarrowPath": {
			reason: "both paths send no more to a cluster than is known to arrive",
			modify: func(in *Inputs) { in.PathMTU = map[string]int{"west": 1400, "south": 600} },
			want: Plan{Role: RoleGateway, Ports: []Port{narrow}, Fastpath: fastpath.Config{
				Underlay: underlay, Ports: []fastpath.Port{wantPort().Fastpath},
				Clusters: []fastpath.Cluster{{Name: "west", Endpoints: []netip.Addr{addr("192.0.2.20"), addr("192.0.2.21")}, MTU: 1400}},
			}, Echoes: west, SlowPath: slow(narrow.SlowPath)},
		},
		"WidePath": {
			reason: "as wide as the interface is as if nothing were known",
			modify: func(in *Inputs) { in.PathMTU = map[string]int{"west": 1500} },
			want: Plan{Role: RoleGateway, Ports: []Port{wantPort()}, Fastpath: fastpath.Config{
				Underlay: underlay, Ports: []fastpath.Port{wantPort().Fastpath},
				Clusters: []fastpath.Cluster{{Name: "west", Endpoints: []netip.Addr{addr("192.0.2.20"), addr("192.0.2.21")}}},
			}, Echoes: west, SlowPath: slow(wantPort().SlowPath)},
		},
		"UnknownCluster": {
			reason: "a cluster that the directory does not have is a cluster without endpoints",
			modify: func(in *Inputs) { in.Gateways = in.Gateways[2:] },
			want: Plan{Role: RoleGateway, Ports: []Port{lost}, Fastpath: fastpath.Config{
				Underlay: underlay, Ports: []fastpath.Port{wantPort().Fastpath}, Clusters: []fastpath.Cluster{{Name: "west"}},
			}, Echoes: echoes(0), SlowPath: slow(lost.SlowPath)},
		},
		"NotApproved": {
			reason: "the hub's list is there and does not name the node: it is no gateway",
			modify: func(in *Inputs) { in.Node = "e3" },
			want:   Plan{Role: RoleNone},
		},
		"LabelGone": {
			reason: "until the hub has taken the node off its list, the other nodes still send here",
			modify: func(in *Inputs) { in.Labelled = false },
			want:   Plan{Role: RoleUnknown},
		},
		"NoCopy": {
			reason: "a missing copy of the own InterconnectGateway says nothing, so nothing is taken down",
			modify: func(in *Inputs) { in.Gateways = in.Gateways[:2] },
			want:   Plan{Role: RoleUnknown},
		},
		"Encrypted": {
			reason: "one end that wants it is enough; a gateway without a key of its own is none",
			modify: func(in *Inputs) {
				in.Gateways[1].Spec.Encryption = spokev1alpha1.EncryptionWireGuard
				for i, key := range []byte{1, 2} {
					in.Gateways[1].Spec.Endpoints[i].PublicKey = spokev1alpha1.PublicKey(wireguard.PublicKey{key}.String())
					in.Gateways[1].Spec.Endpoints[i].WireGuardPort = 51871
				}
				in.Gateways[1].Spec.Endpoints = append(in.Gateways[1].Spec.Endpoints, spokev1alpha1.GatewayEndpoint{Node: "w3", Address: "192.0.2.22", Index: 2})
				in.Gateways[2].Spec.Endpoints[0].PublicKey = spokev1alpha1.PublicKey(wireguard.PublicKey{9}.String())
			},
			want: Plan{
				Role: RoleGateway, Ports: []Port{secret}, Echoes: echoes(1440, "192.0.2.20", "192.0.2.21"), SlowPath: slow(secret.SlowPath),
				Fastpath: fastpath.Config{
					Underlay: encryptedUnderlay, Ports: []fastpath.Port{wantPort().Fastpath},
					Clusters: []fastpath.Cluster{{Name: "west", Encrypted: true, Endpoints: []netip.Addr{addr("192.0.2.20"), addr("192.0.2.21")}}},
				},
				Tunnel: &Tunnel{
					Approved: wireguard.PublicKey{9},
					Config: wireguard.Config{Interface: "tbwg0", MTU: 1440, ListenPort: 51871, GuardedPort: 4789, Guarded: []netip.Addr{addr("192.0.2.21"), addr("192.0.2.20"), addr("192.0.2.22")}, Peers: []wireguard.Peer{
						{Key: wireguard.PublicKey{1}, Address: addr("192.0.2.21"), Port: 51871}, {Key: wireguard.PublicKey{2}, Address: addr("192.0.2.20"), Port: 51871},
					}},
				},
			},
		},
		"EncryptedUnable": {
			reason: "this end wants it and the other has no key: nothing is sent, least of all in the clear",
			modify: func(in *Inputs) { in.Gateways[2].Spec.Encryption = spokev1alpha1.EncryptionWireGuard },
			want: Plan{
				Role: RoleGateway, Ports: []Port{unable}, Echoes: echoes(0), SlowPath: slow(unable.SlowPath),
				Fastpath: fastpath.Config{
					Underlay: encryptedUnderlay, Ports: []fastpath.Port{wantPort().Fastpath}, Clusters: []fastpath.Cluster{{Name: "west", Encrypted: true}},
				},
				Tunnel: &Tunnel{Config: wireguard.Config{Interface: "tbwg0", MTU: 1440, ListenPort: 51871, GuardedPort: 4789, Guarded: []netip.Addr{addr("192.0.2.21"), addr("192.0.2.20")}}},
			},
		},
		"Removed": {
			reason: "only the tombstone of a router removes its interfaces",
			modify: func(in *Inputs) { in.Routers[0].DeletionTimestamp = new(metav1.Now()) },
			want: Plan{
				Role: RoleGateway, Fastpath: fastpath.Config{Underlay: underlay}, Echoes: echoes(0), SlowPath: slow(),
				Removed: []Removed{{Router: "demo.vpc-1", GatewayEnd: "tbg100", OVSEnd: "tbo100"}},
			},
		},
		"Unrealizable": {
			reason: "a router that can't be served says why and does not stop the others",
			modify: func(in *Inputs) {
				in.Routers = append(in.Routers, router(func(r *spokev1alpha1.LocalRouter) { r.Name, r.Spec.LinkCIDR = "demo.bad", "nonsense" }))
			},
			want: Plan{Role: RoleGateway, Ports: []Port{wantPort()}, Fastpath: fastpath.Config{
				Underlay: underlay, Ports: []fastpath.Port{wantPort().Fastpath},
				Clusters: []fastpath.Cluster{{Name: "west", Endpoints: []netip.Addr{addr("192.0.2.20"), addr("192.0.2.21")}}},
			}, Echoes: west, SlowPath: slow(wantPort().SlowPath)},
			errs: map[string]string{"demo.bad": "spec.linkCIDR"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.want.Role == RoleGateway {
				tc.want.Fastpath.Own = fastpath.Own{Name: "east", Gateways: []netip.Addr{addr("192.0.2.10")}, Nodes: []netip.Addr{addr("192.0.2.10")}}
				if len(tc.want.Ports) > 0 && tc.want.Tunnel == nil {
					tc.want.Fastpath.Relays = wantRelays()
				}
			}
			in := Inputs{Node: "e2", Labelled: true, Underlay: "wan0", MTU: 1400, UnderlayMTU: 1500, WireGuardPort: 51871, Routers: []spokev1alpha1.LocalRouter{router()}, Gateways: directory()}
			if tc.modify != nil {
				tc.modify(&in)
			}
			got := Make(in)
			if diff := cmp.Diff(tc.want, got, compare); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if len(got.Errors) != len(tc.errs) {
				t.Errorf("%s: errors %v, want %v", tc.reason, got.Errors, tc.errs)
			}
			for router, part := range tc.errs {
				if err := got.Errors[router]; err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("%s: error of %s is %v, want it to say %q", tc.reason, router, err, part)
				}
			}
			slices.Reverse(in.Gateways)
			slices.Reverse(in.Routers)
			if diff := cmp.Diff(tc.want, Make(in), compare); diff != "" {
				t.Errorf("the same objects in another order are another plan (-want +got):\n%s", diff)
			}
		})
	}
}
