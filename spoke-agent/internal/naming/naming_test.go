// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package naming

import (
	"net/netip"
	"testing"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

func TestNames(t *testing.T) {
	v := spokev1alpha1.VpcIdentity{Namespace: "demo", Name: "vpc-1", VNI: 16777215}
	peer := spokev1alpha1.VpcIdentity{Namespace: "shop", Name: "vpc-2"}
	for want, got := range map[string]string{
		"demo/vpc-1":               VpcKey(v),
		"demo.vpc-1":               Router(v),
		"demo.vpc-1.net1":          Subnet(v, "net1"),
		"ts-demo.vpc-1":            Transit(v),
		"gw-demo.vpc-1:n1":         GatewayPort(v, "n1"),
		"pp-demo.vpc-1:shop.vpc-2": PeerPort(v, peer),
		"pod-1f":                   PodPort("1f"),
		"tbg16777215":              GatewayEnd(v.VNI),
		"tbo16777215":              OVSEnd(v.VNI),
		"0a:58:a9:fe:80:01":        MAC(netip.MustParseAddr("169.254.128.1")),
		"169.254.128.1":            LinkRouter(netip.MustParsePrefix("169.254.128.0/29")).String(),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	a, b := PodHostEnd("sandbox-1", "eth0"), PodHostEnd("sandbox-1", "eth1")
	if len(a) != 15 || a == b || a != PodHostEnd("sandbox-1", "eth0") {
		t.Errorf("host ends %q and %q: want 15 characters, stable and distinct", a, b)
	}
}

func TestLinkGateway(t *testing.T) {
	link := netip.MustParsePrefix("169.254.128.8/29")
	cases := map[string]struct {
		reason string
		index  int32
		want   string
	}{
		"First":    {reason: "the router has the first address, so endpoint 0 has the second", index: 0, want: "169.254.128.10"},
		"Last":     {reason: "a /29 has room for five gateways", index: 4, want: "169.254.128.14"},
		"TooMany":  {reason: "the broadcast address is nobody's", index: 5},
		"Negative": {reason: "an index below zero must not become the router's address", index: -1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := LinkGateway(link, tc.index)
			if (err != nil) != (tc.want == "") || err == nil && got.String() != tc.want {
				t.Errorf("%s: got %v, %v, want %q", tc.reason, got, err, tc.want)
			}
		})
	}
}

func TestIsGatewayEnd(t *testing.T) {
	for name, want := range map[string]bool{"tbg100": true, "tbg0100": false, "tbg": false, "tbg-lan": false, "tbgate1": false, "tbo100": false, "100": false} {
		if got := IsGatewayEnd(name); got != want {
			t.Errorf("IsGatewayEnd(%q) is %t, want %t: a node that is no gateway removes what it says yes to", name, got, want)
		}
	}
}
