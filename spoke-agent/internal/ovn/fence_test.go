// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/nbdb"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/ovntest"
)

// TestOldWriterIsFenced: a controller that was stopped, and replaced meanwhile, wakes up and wants to write what was right when it fell asleep.
// The servers are real ones.
func TestOldWriterIsFenced(t *testing.T) {
	central := ovntest.StartCentral(t)
	old, new := dialNorthbound(t, central.NB.Endpoint), dialNorthbound(t, central.NB.Endpoint)
	one, two := vpc("vpc-1", "10.0.0.0/16", "p1"), vpc("vpc-2", "172.31.0.0/16", "p2")
	set := func(n *Northbound, routers ...Router) error {
		t.Helper()
		_, err := n.Set(t.Context(), Desired{Routers: routers})
		return err
	}
	names := func() string {
		return ovntest.Run(t, "ovn-nbctl", "--db="+central.NB.Endpoint, "--columns=name", "--format=csv", "--no-headings", "list", "Logical_Router")
	}
	if err := set(old, one); err != nil {
		t.Fatal(err)
	}
	// The new one begins with nothing to do, and is the writer all the same.
	if err := set(new, one); err != nil {
		t.Fatal(err)
	}
	if err := set(old, one, two); !errors.Is(err, ErrReplaced) {
		t.Errorf("the old one wrote: %v", err)
	}
	if _, err := old.Set(t.Context(), Desired{Removed: []string{one.Owner}}); !errors.Is(err, ErrReplaced) {
		t.Errorf("the old one deleted: %v", err)
	}
	if err := set(old, one); !errors.Is(err, ErrReplaced) {
		t.Errorf("the old one takes itself for the writer: %v", err)
	}
	if got := names(); !strings.Contains(got, one.Name) || strings.Contains(got, two.Name) {
		t.Errorf("routers are %q", got)
	}
	if err := set(new, one, two); err != nil {
		t.Errorf("the new one can't go on: %v", err)
	}
	// One whose cache does not know of the other yet: the server itself refuses.
	cl, s, err := old.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g, err := lookGlobal(cl)
	if err != nil {
		t.Fatal(err)
	}
	g.writer = old.writer.mine
	ops := []ovsdb.Operation{waitWriterOp(g, old.writer.mine), deleteOp(nbdb.LogicalRouterTable, s.named[nbdb.LogicalRouterTable][one.Name][0].uuid)}
	if err := old.conn.transact(t.Context(), cl, ops); err == nil || !strings.Contains(err.Error(), "timed out") {
		t.Errorf("the server committed what an old writer sent: %v", err)
	}
	if got := names(); !strings.Contains(got, one.Name) || !strings.Contains(got, two.Name) {
		t.Errorf("routers are %q", got)
	}
	// A database that was made anew knows nobody: the writer goes on.
	ovntest.Run(t, "ovn-nbctl", "--db="+central.NB.Endpoint, "remove", "NB_Global", ".", "external_ids", keyWriter)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) { // until its cache has it
		err := set(new, one, two)
		if err == nil && strings.Contains(ovntest.Run(t, "ovn-nbctl", "--db="+central.NB.Endpoint, "get", "NB_Global", ".", "external_ids"), new.writer.name) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after the database has forgotten the writer: %v", err)
		}
	}
}

func TestClaim(t *testing.T) {
	for name, tc := range map[string]struct {
		reason   string
		mine, is string
		ops      int
		want     string
		replaced bool
	}{
		"First":    {"nobody has written", "", "", 2, "1 me", false},
		"Next":     {"after another one", "", "4 other", 3, "5 me", false},
		"Mine":     {"nothing has changed", "5 me", "5 me", 0, "5 me", false},
		"Unknown":  {"nobody could tell whether the claim was committed, and it was", "", "5 me", 0, "5 me", false},
		"Replaced": {"another one has begun", "5 me", "6 other", 0, "", true},
		"Twin":     {"another one has begun from a backup", "5 me", "5 other", 0, "", true},
		"Restored": {"the database was restored from a backup", "5 me", "3 other", 3, "6 me", false},
		"Anew":     {"the database was made anew", "5 me", "", 2, "6 me", false},
		"Nonsense": {"somebody has written something else there", "", "x", 3, "1 me", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := writer{name: "me", mine: tc.mine}
			ops, got, err := w.claim(global{uuid: "u", writer: tc.is})
			if errors.Is(err, ErrReplaced) != tc.replaced || got != tc.want || len(ops) != tc.ops {
				t.Errorf("%s: got %d operations, %q, %v", tc.reason, len(ops), got, err)
			}
		})
	}
}
