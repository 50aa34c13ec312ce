// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"strings"
	"testing"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/ovntest"
)

// TestRemovalNeedsNoCache: what an owner has goes by the owner's name, for the cache may not have its newest rows yet. The server is a real one.
func TestRemovalNeedsNoCache(t *testing.T) {
	central := ovntest.StartCentral(t)
	n := dialNorthbound(t, central.NB.Endpoint)
	one, two := vpc("vpc-1", "10.0.0.0/16", "p1"), vpc("vpc-2", "172.31.0.0/16", "p2")
	mustSet(t, n, one, two)
	cl, _, err := n.read(t.Context())
	must(t, err)
	must(t, n.conn.transact(t.Context(), cl, sweeps([]string{one.Owner})))
	for _, table := range []string{"Logical_Router", "Logical_Switch", "Logical_Switch_Port", "Logical_Router_Port"} {
		rows := ovntest.Run(t, "ovn-nbctl", "--db="+central.NB.Endpoint, "--columns=external_ids", "--format=csv", "--no-headings", "list", table)
		if strings.Contains(rows, one.Owner) || !strings.Contains(rows, two.Owner) {
			t.Errorf("%s has\n%s", table, rows)
		}
	}
}
