// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/wireguard"
)

func TestAnswering(t *testing.T) {
	three := []spokev1alpha1.GatewayEndpoint{{Node: "w1"}, {Node: "w2"}, {Node: "w3"}}
	for name, tc := range map[string]struct {
		reason string
		echoed map[Peer]bool
		want   string
	}{
		"Nothing":    {"an agent that has just started knows nothing", nil, "[w1 w2 w3]"},
		"All":        {"as it should be", map[Peer]bool{{"west", "w1"}: true, {"west", "w2"}: true, {"west", "w3"}: true}, "[w1 w2 w3]"},
		"One":        {"one that is silent while others answer is left out", map[Peer]bool{{"west", "w1"}: true, {"west", "w2"}: false, {"west", "w3"}: true}, "[w1 w3]"},
		"NotKnown":   {"one of which nothing is known yet stays", map[Peer]bool{{"west", "w1"}: true, {"west", "w2"}: false}, "[w1 w3]"},
		"Silence":    {"when none answers, this node may be cut off: all stay", map[Peer]bool{{"west", "w1"}: false, {"west", "w2"}: false, {"west", "w3"}: false}, "[w1 w2 w3]"},
		"NoneKnown":  {"as long as none is known to answer, all stay", map[Peer]bool{{"west", "w1"}: false, {"west", "w2"}: false}, "[w1 w2 w3]"},
		"Last":       {"the last one", map[Peer]bool{{"west", "w1"}: false, {"west", "w2"}: false, {"west", "w3"}: true}, "[w3]"},
		"Namesakes":  {"another cluster has nodes of the same names", map[Peer]bool{{"east", "w1"}: true, {"east", "w2"}: false}, "[w1 w2 w3]"},
		"NoEndpoint": {"one that the directory does not have", map[Peer]bool{{"west", "w9"}: true, {"west", "w1"}: false}, "[w1 w2 w3]"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, e := range answering(three, "west", tc.echoed) {
				got = append(got, e.Node)
			}
			if fmt.Sprint(got) != tc.want {
				t.Errorf("%s: %v, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

// TestSilentGateways: who is silent gets nothing any more, in any role and on both paths, and may send all the same.
func TestSilentGateways(t *testing.T) {
	silent := map[Peer]bool{{"west", "w1"}: false, {"west", "w2"}: true, {"east", "e1"}: false, {"east", "e2"}: true}
	far, own := []netip.Addr{addr("192.0.2.20"), addr("192.0.2.21")}, []netip.Addr{addr("192.0.2.10"), addr("192.0.2.11")}
	secret := func(in *Inputs) {
		in.Gateways[1].Spec.Encryption = spokev1alpha1.EncryptionWireGuard
		for i, key := range []byte{1, 2} {
			in.Gateways[1].Spec.Endpoints[i].PublicKey = spokev1alpha1.PublicKey(wireguard.PublicKey{key}.String())
			in.Gateways[1].Spec.Endpoints[i].WireGuardPort = 51871
		}
		in.Gateways[2].Spec.Endpoints[0].PublicKey = spokev1alpha1.PublicKey(wireguard.PublicKey{9}.String())
	}
	told := func(in *Inputs) {
		in.Gateways[1].Spec.Nodes = nodes(map[string]string{"w3": "192.0.2.22"})
		in.Gateways[2].Spec.Nodes = nodes(map[string]string{"e3": "192.0.2.12"})
	}
	asGateway := func(in *Inputs) { in.Node, in.Labelled, in.Address = "e3", true, addr("192.0.2.12") }
	third := spokev1alpha1.GatewayEndpoint{Node: "e3", Address: "192.0.2.12", Index: 2}
	for name, tc := range map[string]struct {
		reason             string
		modify             []func(*Inputs)
		endpoints, senders []netip.Addr
		echoes             int
	}{
		"Node":       {"a node that sends to its own gateways", nil, own[1:], nil, 2},
		"NodeToNode": {"a node that sends to the other cluster's", []func(*Inputs){told}, far[1:], append(far[:2:2], addr("192.0.2.22")), 4},
		"Gateway":    {"a gateway", []func(*Inputs){asGateway}, far[1:], far, 4},
		"Encrypted":  {"a gateway that encrypts", []func(*Inputs){asGateway, secret}, far[1:], far, 4},
	} {
		t.Run(name, func(t *testing.T) {
			in := thirdNode()
			for _, modify := range tc.modify {
				modify(&in)
			}
			if in.Labelled {
				in.Gateways[2].Spec.Endpoints = append(in.Gateways[2].Spec.Endpoints, third)
			}
			in.Echoed = silent
			p := Make(in)
			west := p.Fastpath.Clusters[0]
			if diff := cmp.Diff([][]netip.Addr{tc.endpoints, tc.senders}, [][]netip.Addr{west.Endpoints, west.Senders}, compare); diff != "" {
				t.Errorf("%s: endpoints and senders (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(own[1:], p.Fastpath.Own.Gateways, compare); diff != "" {
				t.Errorf("%s: own gateways (-want +got):\n%s", tc.reason, diff)
			}
			for _, node := range own {
				if got := p.Fastpath.Own.Nodes; !setOfAddrs(got)[node] {
					t.Errorf("%s: %s may not send any more: %v", tc.reason, node, got)
				}
			}
			if len(p.Echoes.Targets) != tc.echoes {
				t.Errorf("%s: echoes go to %v, want the silent ones among them", tc.reason, p.Echoes.Targets)
			}
			for _, port := range p.SlowPath.Vpcs {
				if diff := cmp.Diff(far[1:], port.Remotes[0].Endpoints, compare); diff != "" {
					t.Errorf("%s: the kernel's way (-want +got):\n%s", tc.reason, diff)
				}
			}
			if p.Tunnel != nil && len(p.Tunnel.Peers) != 2 {
				t.Errorf("%s: peers of WireGuard are %v, want both", tc.reason, p.Tunnel.Peers)
			}
		})
	}
}

func setOfAddrs(list []netip.Addr) map[netip.Addr]bool {
	set := map[netip.Addr]bool{}
	for _, a := range list {
		set[a] = true
	}
	return set
}

func TestEchoInterval(t *testing.T) {
	for name, tc := range map[string]struct {
		reason     string
		own, other int
		want       time.Duration
	}{
		"Small":    {"the least", 3, 0, 500 * time.Millisecond},
		"Thousand": {"2,000 echoes a second to a gateway are what is bearable", 1000, 0, 500 * time.Millisecond},
		"Huge":     {"more nodes ask less often", 5000, 0, 2500 * time.Millisecond},
		"Fleet":    {"nodes of all clusters may ask the same gateway", 100, 4000, 2 * time.Second},
	} {
		in := Inputs{Nodes: map[string]netip.Addr{}, Gateways: directory()}
		for i := range tc.own {
			in.Nodes[fmt.Sprint(i)] = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		}
		in.Gateways[0].Spec.Nodes = make([]spokev1alpha1.ClusterNode, tc.other)
		if got := echoInterval(in); got != tc.want {
			t.Errorf("%s: %s: every %s, want %s", name, tc.reason, got, tc.want)
		}
	}
}
