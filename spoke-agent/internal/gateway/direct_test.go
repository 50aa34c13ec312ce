// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/attachment"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
)

// wantRelays let the nodes of east send for vpc-1 through their gateways.
func wantRelays() []fastpath.Relay {
	return []fastpath.Relay{{
		VNI: 200, From: "east", Sources: []netip.Prefix{prefix("10.0.0.0/16"), prefix("169.254.128.0/29")},
		To: "west", Destinations: []netip.Prefix{prefix("169.254.128.8/29"), prefix("172.31.0.0/16")},
	}}
}

func aPod(vpc, address, hostEnd, switchEnd string) Pod {
	return Pod{HostEnd: hostEnd, SwitchEnd: switchEnd, Attachment: attachment.Attachment{
		Vpc: vpc, Subnet: "demo/net1", Port: "pod-1", Address: netip.MustParsePrefix(address + "/16"), MAC: "0a:58:0a:00:00:02", Gateway: addr("10.0.0.1"), MTU: 1400,
	}}
}

// thirdNode is e3 of east, which is no gateway and has a pod of vpc-1. e4 is another such node.
func thirdNode() Inputs {
	return Inputs{
		Node: "e3", Underlay: "wan0", Address: addr("192.0.2.12"), MTU: 1400, UnderlayMTU: 1500, DirectPath: true,
		Routers:  []spokev1alpha1.LocalRouter{router(), router(func(r *spokev1alpha1.LocalRouter) { r.Name, r.Spec.Vpc = "demo.vpc-4", vpc("vpc-4", 400) })},
		Gateways: directory(), Pods: []Pod{aPod("demo/vpc-1", "10.0.0.2", "tbp1", "tbq1")},
		Nodes: map[string]netip.Addr{"e1": addr("192.0.2.10"), "e2": addr("192.0.2.11"), "e3": addr("192.0.2.12"), "e4": addr("192.0.2.13")},
	}
}

// nodes are what the hub has approved of a cluster, by the last octet of the address.
func nodes(named map[string]string) []spokev1alpha1.ClusterNode {
	var all []spokev1alpha1.ClusterNode
	for name, address := range named {
		all = append(all, spokev1alpha1.ClusterNode{Node: name, Address: address})
	}
	return all
}

func TestMakeNode(t *testing.T) {
	port := fastpath.Port{Vpc: "demo/vpc-1", VNI: 100, Local: wantPort().Fastpath.Local, Remotes: wantPort().Fastpath.Remotes}
	gateways, far := []netip.Addr{addr("192.0.2.10"), addr("192.0.2.11")}, []netip.Addr{addr("192.0.2.20"), addr("192.0.2.21")}
	base := func(clusters ...fastpath.Cluster) Plan {
		return Plan{
			Role: RoleNode, Ports: []Port{{Router: "demo.vpc-1", Generation: 4, Fastpath: port}},
			Fastpath: fastpath.Config{
				Underlay: fastpath.Underlay{Interface: "wan0", Address: addr("192.0.2.12"), UDPPort: 4789, VXLAN: "tbx4789"},
				Ports:    []fastpath.Port{port}, Clusters: clusters,
				Pods: []fastpath.Pod{{Interface: "tbp1", Switch: "tbq1", VNI: 100, Address: addr("10.0.0.2"), MAC: "0a:58:0a:00:00:02", RouterMAC: "0a:58:0a:00:00:01"}},
				Own:  fastpath.Own{Name: "east", Gateways: gateways, Nodes: []netip.Addr{addr("192.0.2.10"), addr("192.0.2.11"), addr("192.0.2.13")}},
			},
			Echoes: tunnelprobe.Config{Address: addr("192.0.2.12"), Port: 4789, Interval: 500 * time.Millisecond, Targets: []tunnelprobe.Target{
				{Cluster: "east", Node: "e1", Address: addr("192.0.2.10")}, {Cluster: "east", Node: "e2", Address: addr("192.0.2.11")},
			}},
			SlowPath: link.SlowPath{VXLAN: link.VXLAN{Port: 4789, Address: addr("192.0.2.12"), Underlay: "wan0"}},
		}
	}
	nodeToNode := func() Plan {
		p := base(fastpath.Cluster{Name: "west", Endpoints: far, Senders: append(far[:2:2], addr("192.0.2.22"))})
		p.Echoes.Targets = append(p.Echoes.Targets, tunnelprobe.Target{Cluster: "west", Node: "w1", Address: far[0]}, tunnelprobe.Target{Cluster: "west", Node: "w2", Address: far[1]})
		return p
	}
	cases := map[string]struct {
		reason string
		modify func(*Inputs)
		want   Plan
	}{
		"ByOwnGateways": {
			reason: "undeclared, other clusters are reached by the own gateways; only Vpcs with a pod here are known",
			want:   base(fastpath.Cluster{Name: "west", Endpoints: gateways}),
		},
		"OneSideDeclared": {
			reason: "one side's word is not enough",
			modify: func(in *Inputs) { in.Gateways[1].Spec.Nodes = nodes(map[string]string{"w3": "192.0.2.22"}) },
			want:   base(fastpath.Cluster{Name: "west", Endpoints: gateways}),
		},
		"NodeToNode": {
			reason: "both clusters have told their nodes, this one among them: it sends to the other's gateways",
			modify: func(in *Inputs) {
				in.Gateways[1].Spec.Nodes = nodes(map[string]string{"w3": "192.0.2.22"})
				in.Gateways[2].Spec.Nodes = nodes(map[string]string{"e3": "192.0.2.12"})
			},
			want: nodeToNode(),
		},
		"NotApproved": {
			reason: "what a node sends by itself is refused until the hub has told of the node",
			modify: func(in *Inputs) {
				in.Gateways[1].Spec.Nodes = nodes(map[string]string{"w3": "192.0.2.22"})
				in.Gateways[2].Spec.Nodes = nodes(map[string]string{"e4": "192.0.2.13"})
			},
			want: base(fastpath.Cluster{Name: "west", Endpoints: gateways}),
		},
		"Encrypted": {
			reason: "only gateways have keys: OVN carries what is for an encrypted cluster to them",
			modify: func(in *Inputs) { in.Gateways[1].Spec.Encryption = spokev1alpha1.EncryptionWireGuard },
			want:   base(fastpath.Cluster{Name: "west", Encrypted: true}),
		},
		"NoPods":      {reason: "a node without pods of Vpcs has no programs", modify: func(in *Inputs) { in.Pods = nil }, want: Plan{Role: RoleNone}},
		"SwitchedOff": {reason: "whoever needs OVN's pipeline for every packet says so", modify: func(in *Inputs) { in.DirectPath = false }, want: Plan{Role: RoleNone}},
		"NoAddress":   {reason: "a node that is not on the underlay has OVN", modify: func(in *Inputs) { in.Address = netip.Addr{} }, want: Plan{Role: RoleNone}},
		"NoCopy":      {reason: "without the directory nothing is known, and nothing is taken down", modify: func(in *Inputs) { in.Gateways = in.Gateways[:2] }, want: Plan{Role: RoleUnknown}},
		"ForeignAddress": {
			reason: "an own node with the address of another cluster's gateway would make a packet's origin ambiguous",
			modify: func(in *Inputs) {
				in.Gateways[1].Spec.Nodes = nodes(map[string]string{"w3": "192.0.2.22"})
				in.Gateways[2].Spec.Nodes = nodes(map[string]string{"e3": "192.0.2.12"})
				in.Nodes["e8"], in.Nodes["e9"] = addr("192.0.2.22"), addr("192.0.2.20")
			},
			want: nodeToNode(),
		},
		"Ambiguous": {
			reason: "two interfaces with one address: only OVN can tell whose it is",
			modify: func(in *Inputs) { in.Pods = append(in.Pods, aPod("demo/vpc-1", "10.0.0.2", "tbp2", "")) },
			want: func() Plan {
				p := base(fastpath.Cluster{Name: "west", Endpoints: gateways})
				p.Fastpath.Pods = []fastpath.Pod{}
				return p
			}(),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := thirdNode()
			if tc.modify != nil {
				tc.modify(&in)
			}
			if diff := cmp.Diff(tc.want, Make(in), compare); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestMakeGatewayOfNodes: a gateway has pods of its own, knows where the others' are, and lets their nodes send through it.
func TestMakeGatewayOfNodes(t *testing.T) {
	in := thirdNode()
	in.Node, in.Labelled, in.Address = "e2", true, addr("192.0.2.11")
	in.Gateways[1].Spec.Nodes = nodes(map[string]string{"w3": "192.0.2.22"})
	in.Gateways[2].Spec.Nodes = nodes(map[string]string{"e3": "192.0.2.12"})
	in.Hosted = []Hosted{
		{Node: addr("192.0.2.12"), Vpc: "demo/vpc-1", Address: addr("10.0.0.3")},
		{Node: addr("192.0.2.11"), Vpc: "demo/vpc-1", Address: addr("10.0.0.2")}, // here
		{Node: addr("192.0.2.19"), Vpc: "demo/vpc-1", Address: addr("10.0.0.4")}, // is no node of the cluster
		{Node: addr("192.0.2.13"), Vpc: "demo/none", Address: addr("10.0.0.5")},
		{Node: addr("192.0.2.13"), Vpc: "demo/vpc-1", Address: addr("10.0.0.6")}, // claimed twice
		{Node: addr("192.0.2.12"), Vpc: "demo/vpc-1", Address: addr("10.0.0.6")},
		{Node: addr("192.0.2.10"), Vpc: "demo/vpc-4", Address: addr("10.0.0.6")}, // another Vpc's
	}
	config := Make(in).Fastpath
	wantOwn := fastpath.Own{
		Name: "east", Gateways: []netip.Addr{addr("192.0.2.10")},
		Nodes: []netip.Addr{addr("192.0.2.10"), addr("192.0.2.12"), addr("192.0.2.13")},
		Hosts: []fastpath.Host{{VNI: 100, Address: addr("10.0.0.3"), Node: addr("192.0.2.12")}, {VNI: 400, Address: addr("10.0.0.6"), Node: addr("192.0.2.10")}},
	}
	if diff := cmp.Diff(wantOwn, config.Own, compare); diff != "" {
		t.Errorf("own cluster (-want +got):\n%s", diff)
	}
	west := []netip.Addr{addr("192.0.2.20"), addr("192.0.2.21")}
	if diff := cmp.Diff([]fastpath.Cluster{{Name: "west", Endpoints: west, Senders: append(west[:2:2], addr("192.0.2.22"))}}, config.Clusters, compare); diff != "" {
		t.Errorf("a gateway sends to gateways, and takes what the other cluster's nodes send (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantRelays(), config.Relays, compare); diff != "" {
		t.Errorf("two Vpcs that see the same remote are one relay (-want +got):\n%s", diff)
	}
	if len(config.Pods) != 1 || config.Pods[0].Interface != "tbp1" {
		t.Errorf("pods are %+v", config.Pods)
	}

	in.DirectPath = false
	config = Make(in).Fastpath
	if len(config.Pods)+len(config.Own.Hosts) != 0 || len(config.Own.Nodes) != 3 || len(config.Relays) != 1 {
		t.Errorf("switched off here: no pods, and all to OVN, but other nodes' packets still pass: %+v", config)
	}
}
