// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

// etcdLimit is what etcd takes by default (--max-request-bytes).
const etcdLimit = 3 << 19

// TestLedgersHoldManyLinks hands out 60,000 links with the longest names that there are: no ledger becomes too large to be stored, whatever its pool's ranges
// have room for, each says so before, and the next one goes on.
func TestLedgersHoldManyLinks(t *testing.T) {
	l, views := newLedger(), []*poolView(nil)
	for i := range 24 {
		views = append(views, &poolView{
			name: fmt.Sprintf("links-%02d", i), purpose: networkv1alpha1.PurposeLink, ranges: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(64 + i), 0, 0}), 16)},
			lengths: networkv1alpha1.PrefixLengths{Default: linkBits}, warn: warnPercent,
		})
	}
	long := strings.Repeat("n", 60)
	given := map[netip.Prefix]bool{}
	for i := range 60_000 {
		o := owner{name: fmt.Sprintf("Vpc/%s/%s/%s-%05d", long, long, long, i), uid: "88df7e02-abd2-45e2-ad28-4763c68a411d"}
		e := l.takePrefix(views, o, defaultLength, ipam.Request{})
		if e == nil || given[e.prefix] {
			t.Fatalf("link %d is %v", i, e)
		}
		given[e.prefix] = true
	}
	byPool := map[string][]*entry{}
	for _, e := range l.fresh {
		byPool[e.pool] = append(byPool[e.pool], e)
	}
	for i, v := range views {
		s := newStock(&poolEntries{}, nil, nil, byPool[v.name])
		_, room := l.find(v, ipam.Request{Bits: linkBits})
		status := poolStatus(&admittedPool{poolView: v}, s, 0, room)
		text, err := json.Marshal(status)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > etcdLimit*3/4 {
			t.Errorf("the ledger of %s has %d bytes, and etcd takes no more than %d", v.name, len(text), etcdLimit)
		}
		said := status.Conditions[1]
		if full := len(byPool[v.name]) > 0 && len(byPool[views[(i+1)%len(views)].name]) > 0; full && (said.Reason != networkv1alpha1.ReasonPoolExhausted || !strings.Contains(said.Message, "ledger is full")) {
			t.Errorf("%s is full with %d links, and says %s: %s", v.name, len(byPool[v.name]), said.Reason, said.Message)
		}
	}
	first := byPool[views[0].name]
	l.remove(first[0])
	if e := l.takePrefix(views, owner{name: "Vpc/shop/front/east"}, defaultLength, ipam.Request{}); e == nil || e.pool != views[0].name {
		t.Errorf("what was given back to %s is not handed out again, but %v", views[0].name, e)
	}
	warned := newStock(&poolEntries{}, nil, nil, first[:len(first)*95/100])
	if said := poolStatus(&admittedPool{poolView: views[0]}, warned, 0, true).Conditions[1]; said.Reason != networkv1alpha1.ReasonNearlyExhausted {
		t.Errorf("a ledger that is nearly full says %s: %s", said.Reason, said.Message)
	}
}
