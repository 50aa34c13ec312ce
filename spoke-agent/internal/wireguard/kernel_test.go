// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// TestDifference starts from what a kernel's interface may have when the agent comes back.
func TestDifference(t *testing.T) {
	key, err := newPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	west := Peer{Key: PublicKey{1}, Address: netip.MustParseAddr("192.0.2.20"), Port: port}
	found := func(modify func(*wgtypes.Peer)) state {
		p := wgtypes.Peer{
			PublicKey: wgtypes.Key{1}, Endpoint: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 20), Port: port},
			AllowedIPs: []net.IPNet{{IP: net.IPv4(192, 0, 2, 20).To4(), Mask: net.CIDRMask(32, 32)}},
		}
		modify(&p)
		return state{key: key, port: port, peers: map[PublicKey]Peer{PublicKey(p.PublicKey): peerOf(p)}}
	}
	want := state{key: key, port: port, peers: map[PublicKey]Peer{west.Key: west}}
	for name, tc := range map[string]struct {
		reason string
		have   state
		want   change
	}{
		"same":    {"sessions go on when nothing has changed", found(func(*wgtypes.Peer) {}), change{}},
		"new":     {"an interface that was just made gets everything", state{}, change{key: &key, port: new(uint16(port)), put: []Peer{west}}},
		"roamed":  {"the directory says where a gateway is, not the last packet", found(func(p *wgtypes.Peer) { p.Endpoint.IP = net.IPv4(192, 0, 2, 66) }), change{put: []Peer{west}}},
		"wide":    {"a gateway may send from its own address only", found(func(p *wgtypes.Peer) { p.AllowedIPs[0].Mask = net.CIDRMask(24, 32) }), change{put: []Peer{west}}},
		"more":    {"and from no second one", found(func(p *wgtypes.Peer) { p.AllowedIPs = append(p.AllowedIPs, p.AllowedIPs[0]) }), change{put: []Peer{west}}},
		"no way":  {"a peer without an endpoint can't be reached", found(func(p *wgtypes.Peer) { p.Endpoint = nil }), change{put: []Peer{west}}},
		"another": {"a key that is not in the directory goes", found(func(p *wgtypes.Peer) { p.PublicKey = wgtypes.Key{9} }), change{remove: []PublicKey{{9}}, put: []Peer{west}}},
	} {
		got := difference(tc.have, want)
		if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(change{}), cmp.Comparer(PrivateKey.equal), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", name, tc.reason, diff)
		}
	}
}
