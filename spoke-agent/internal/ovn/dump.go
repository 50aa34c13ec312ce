// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/nbdb"
)

// Counts are numbers of rows of ours in OVN_Northbound, orphans included.
type Counts struct {
	Routers, Switches, RouterPorts, SwitchPorts, Routes int
}

// Counts counts the rows of ours in the cache.
func (n *Northbound) Counts(ctx context.Context) (Counts, error) {
	_, s, err := n.read(ctx)
	if err != nil {
		return Counts{}, err
	}
	var c Counts
	for _, r := range s.ours {
		switch r.table {
		case nbdb.LogicalRouterTable:
			c.Routers++
		case nbdb.LogicalSwitchTable:
			c.Switches++
		case nbdb.LogicalRouterPortTable:
			c.RouterPorts++
		case nbdb.LogicalSwitchPortTable:
			c.SwitchPorts++
		case nbdb.LogicalRouterStaticRouteTable:
			c.Routes++
		}
	}
	return c, nil
}

// Dump writes all rows of ours as text, sorted: a router or switch, and below it its ports and routes. UUIDs are left
// out, so that two databases with the same content give the same text.
func (n *Northbound) Dump(ctx context.Context) (string, error) {
	_, s, err := n.read(ctx)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, r := range sorted(maps.Values(s.roots())) {
		fmt.Fprintln(&b, line(r))
		var inside []*row
		for _, column := range r.children {
			for _, uuid := range column {
				if c, ours := s.ours[uuid]; ours {
					inside = append(inside, c)
				}
			}
		}
		for _, c := range sorted(slices.Values(inside)) {
			fmt.Fprintln(&b, "  "+line(c))
		}
	}
	return b.String(), nil
}

// line is one row: what it is, its owner, then the columns that are not empty.
func line(r *row) string {
	words := []string{string(r.kind), r.id, "owner=" + r.owner}
	for _, column := range slices.Sorted(maps.Keys(r.columns)) {
		if text := display(r.columns[column]); text != "" && text != r.id {
			words = append(words, column+"="+text)
		}
	}
	if r.dynamicAddresses != "" {
		words = append(words, fmt.Sprintf("dynamic_addresses=%q", r.dynamicAddresses))
	}
	if r.up {
		words = append(words, "up")
	}
	return strings.Join(words, " ")
}

func display(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []string:
		if len(v) > 0 {
			return "[" + strings.Join(slices.Sorted(slices.Values(v)), ", ") + "]"
		}
	case map[string]string:
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if key != KeyOwner && key != KeyKind && key != KeyID {
				pairs = append(pairs, key+"="+v[key])
			}
		}
		if len(pairs) > 0 {
			return "{" + strings.Join(pairs, ", ") + "}"
		}
	}
	return ""
}

// dynamic parses Logical_Switch_Port dynamic_addresses: "MAC IPv4".
func dynamic(s string) (mac string, addr netip.Addr, ok bool) {
	words := strings.Fields(s)
	if len(words) < 2 {
		return "", netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(words[1])
	return words[0], addr, err == nil
}
