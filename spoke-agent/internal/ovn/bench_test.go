// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"fmt"
	"testing"

	"github.com/go-logr/logr"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/ovntest"
)

// BenchmarkSet: 100 Vpcs with 100 pods and two gateways each (10,900 rows) on a real ovsdb-server, without northd.
func BenchmarkSet(b *testing.B) {
	var d Desired
	for i := range 100 {
		var pods []string
		for p := range 100 {
			pods = append(pods, fmt.Sprintf("%d-%d", i, p))
		}
		r := vpc(fmt.Sprintf("vpc-%d", i), "10.0.0.0/16", pods...)
		gateways(&r, 2, "10.64.0.0/10")
		d.Routers = append(d.Routers, r)
	}
	db := ovntest.StartDatabase(b, "/usr/share/ovn/ovn-nb.ovsschema")
	ovntest.Run(b, "ovn-nbctl", "--db="+db.Endpoint, "init")
	n, err := DialNorthbound(b.Context(), db.Endpoint, logr.Discard())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(n.Close)
	set := func(b *testing.B) {
		if _, err := n.Set(b.Context(), d); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("Whole", func(b *testing.B) {
		for b.Loop() {
			set(b)
			b.StopTimer()
			var removed Desired
			for _, r := range d.Routers {
				removed.Removed = append(removed.Removed, r.Owner)
			}
			if _, err := n.Set(b.Context(), removed); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	set(b)
	b.Run("Idle", func(b *testing.B) {
		for b.Loop() {
			set(b)
		}
	})
	b.Run("OneRoute", func(b *testing.B) {
		routes := d.Routers[0].Routes
		for i := 0; b.Loop(); i++ {
			d.Routers[0].Routes = routes[:i%2]
			set(b)
		}
		d.Routers[0].Routes = routes
	})
	b.Run("Dial", func(b *testing.B) {
		for b.Loop() {
			n, err := DialNorthbound(b.Context(), db.Endpoint, logr.Discard())
			if err != nil {
				b.Fatal(err)
			}
			n.Close()
		}
	})
}
