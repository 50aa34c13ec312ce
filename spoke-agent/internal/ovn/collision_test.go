// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/nbdb"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/ovntest"
)

// TestCollision: a router whose name somebody else has is refused. It neither stops the others, nor a removal, nor loses
// what it has.
func TestCollision(t *testing.T) {
	stranger := identity{id: "x"}.uuid()
	tests := map[string]struct {
		reason string
		there  ovsdb.Operation
		want   string
	}{
		"ForeignRouter": {
			reason: "two routers of one name would be legal in the schema, and a riddle for people",
			there:  insertOp(nbdb.LogicalRouterTable, stranger, map[string]any{"name": "demo.vpc-1"}),
			want: "Logical_Router \"demo.vpc-1\" (" + stranger + ") is there and is not ours " +
				"(no external_ids:tombolo.io/owner): rename or remove it in OVN_Northbound, or rename the Vpc or Subnet",
		},
		"OtherOwnersSwitch": {
			reason: "an orphan's name is not free before the orphan is removed",
			there: insertOp(nbdb.LogicalSwitchTable, stranger, map[string]any{
				"name": "demo.vpc-1.a", "external_ids": identity{"uid-old", kindSubnet, "demo.vpc-1.a"}.externalIDs(nil)}),
			want: "Logical_Switch \"demo.vpc-1.a\" (" + stranger + ") belongs to owner uid-old, not to uid-vpc-1: remove that owner first",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			m := startMemory(t)
			m.transact(t, tc.there)
			n := dialNorthbound(t, m.endpoint)
			one, two, three := vpc("vpc-1", "10.0.0.0/16"), vpc("vpc-2", "10.0.0.0/16"), vpc("vpc-3", "10.0.0.0/16")
			mustSet(t, n, three)
			report, err := n.Set(t.Context(), Desired{Routers: []Router{one, two}, Removed: []string{three.Owner}})
			must(t, err)
			if diff := cmp.Diff("map[uid-vpc-1:"+tc.want+"]", fmt.Sprint(report.Refused)); diff != "" {
				t.Errorf("%s: refused (-want +got):\n%s", tc.reason, diff)
			}
			_, s, err := n.read(t.Context())
			must(t, err)
			owners := map[string]bool{}
			for _, r := range s.ours {
				owners[r.owner] = true
			}
			delete(owners, "uid-old")
			if diff := cmp.Diff(map[string]bool{"uid-vpc-2": true}, owners); diff != "" {
				t.Errorf("owners in the database: vpc-2 is to come and vpc-3 to go whatever becomes of vpc-1 (-want +got):\n%s", diff)
			}
			m.transact(t, deleteOp(tc.there.Table, stranger))
			ovntest.Eventually(t, "vpc-1, when the name is free", func() bool { return len(mustSet(t, n, one, two).Refused) == 0 })

			before := mustDump(t, n)
			m.transact(t, tc.there)
			ovntest.Eventually(t, "the stranger in the cache", func() bool {
				_, s, err := n.read(t.Context())
				return err == nil && len(s.named[tc.there.Table][tc.there.Row["name"].(string)]) == 2
			})
			report = mustSet(t, n, vpc("vpc-1", "10.0.0.0/16", "p1"), two)
			if report.Operations != 0 || len(report.Refused) != 1 || slices.Contains(report.Orphans, one.Owner) {
				t.Errorf("report is %+v: want no operation, and vpc-1 refused, which is no orphan", report)
			}
			if tc.there.Row["external_ids"] == nil && !cmp.Equal(before, mustDump(t, n)) {
				t.Errorf("a refused router changed (-before +after):\n%s", cmp.Diff(before, mustDump(t, n)))
			}
		})
	}
}
