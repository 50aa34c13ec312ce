// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// said is what a node of east says of east's other gateways since a second.
func said(node string, since int64, answering int32, unreachable ...string) spokev1alpha1.Tunnel {
	return spokev1alpha1.Tunnel{
		Cluster: "east", Node: node, Reachable: len(unreachable) == 0, Unreachable: unreachable, Answering: answering, LastTransitionTime: metav1.NewTime(time.Unix(since, 0)),
	}
}

// toWest is what a node of east says of west's gateways.
func toWest(node string, answering int32) spokev1alpha1.Tunnel {
	return spokev1alpha1.Tunnel{Cluster: "west", Node: node, Reachable: answering > 0, Answering: answering}
}

func TestFindSilent(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		nodes  int
		said   []spokev1alpha1.Tunnel
		want   string
	}{
		"Nothing":    {"nobody has said anything", 2, nil, "map[]"},
		"Fine":       {"all answer", 2, []spokev1alpha1.Tunnel{said("n1", 1, 1), toWest("n1", 1), said("n2", 1, 1), toWest("n2", 1)}, "map[]"},
		"Died":       {"n1 has said no more since", 2, []spokev1alpha1.Tunnel{said("n1", 1, 1), toWest("n1", 1), said("n2", 5, 0, "n1"), toWest("n2", 1)}, "map[n1:n2]"},
		"CutOff":     {"n1 says so too, but nobody answers it", 2, []spokev1alpha1.Tunnel{said("n1", 6, 0, "n2"), toWest("n1", 0), said("n2", 5, 0, "n1"), toWest("n2", 1)}, "map[n1:n2]"},
		"AllCutOff":  {"nobody is answered by anybody: all stay", 2, []spokev1alpha1.Tunnel{said("n1", 6, 0, "n2"), toWest("n1", 0), said("n2", 5, 0, "n1"), toWest("n2", 0)}, "map[]"},
		"WithoutOne": {"n2 has no way to prove that it is not cut off itself", 2, []spokev1alpha1.Tunnel{said("n2", 5, 0, "n1")}, "map[]"},
		"ByAnOwnOne": {"an own gateway is proof as well", 3, []spokev1alpha1.Tunnel{said("n2", 5, 1, "n1")}, "map[n1:n2]"},
		"OneAnother": {"the way between two is broken: the newest word counts, and one stays", 2, []spokev1alpha1.Tunnel{said("n1", 5, 0, "n2"), toWest("n1", 1), said("n2", 6, 0, "n1"), toWest("n2", 1)}, "map[n1:n2]"},
		"SameSecond": {"then the first one by name", 2, []spokev1alpha1.Tunnel{said("n2", 5, 0, "n1"), toWest("n2", 1), said("n1", 5, 0, "n2"), toWest("n1", 1)}, "map[n2:n1]"},
		"Succession": {"n2 had lost n1, and died before n1 came back", 2, []spokev1alpha1.Tunnel{said("n2", 5, 0, "n1"), toWest("n2", 1), said("n1", 60, 0, "n2"), toWest("n1", 1)}, "map[n2:n1]"},
		"TwoOfThree": {"n1 and n3 died at once, and each had last said that the other answers", 3, []spokev1alpha1.Tunnel{said("n1", 1, 2), said("n3", 1, 2), said("n2", 5, 0, "n1", "n3"), toWest("n2", 1)}, "map[n1:n2 n3:n2]"},
		"Circle":     {"each accuses the next one: not all", 3, []spokev1alpha1.Tunnel{said("n1", 3, 1, "n2"), said("n2", 2, 1, "n3"), said("n3", 1, 1, "n1")}, "map[n2:n1]"},
		"NoGateway":  {"only gateways count, as witnesses and as silent ones", 2, []spokev1alpha1.Tunnel{said("n9", 9, 0, "n1"), toWest("n9", 1), said("n1", 1, 0, "n9"), toWest("n1", 1)}, "map[]"},
		"Itself":     {"nobody accuses itself", 2, []spokev1alpha1.Tunnel{said("n1", 9, 0, "n1"), toWest("n1", 1)}, "map[]"},
		"OtherCluster": {"a namesake in west", 2, []spokev1alpha1.Tunnel{
			{Cluster: "west", Node: "n2", Unreachable: []string{"n1"}, Answering: 1}, said("n2", 1, 1),
		}, "map[]"},
	} {
		t.Run(name, func(t *testing.T) {
			var endpoints []spokev1alpha1.GatewayEndpoint
			for i := range tc.nodes {
				endpoints = append(endpoints, spokev1alpha1.GatewayEndpoint{Node: fmt.Sprintf("n%d", i+1)})
			}
			g := gateway(endpoints...)
			g.Status.Tunnels = tc.said
			if got := fmt.Sprint(findSilent(g)); got != tc.want {
				t.Errorf("%s: %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
	if got := findSilent(nil); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestSilentIsNoNextHop(t *testing.T) {
	g := gateway(spokev1alpha1.GatewayEndpoint{Node: "n2", Address: "192.0.2.2", Index: 1}, spokev1alpha1.GatewayEndpoint{Node: "n1", Address: "192.0.2.1"})
	g.Status.Tunnels = []spokev1alpha1.Tunnel{said("n2", 5, 0, "n1"), toWest("n2", 1)}
	p := Make(Inputs{Routers: []spokev1alpha1.LocalRouter{router()}, Gateway: g})
	want := desired()
	for i := range want.Routes {
		want.Routes[i].NextHops = []netip.Addr{addr("169.254.128.3")}
	}
	if diff := cmp.Diff(want, p.Desired.Routers[0], cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("its port stays, and no route leads there (-want +got):\n%s", diff)
	}
}
