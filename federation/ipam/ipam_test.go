// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// prefixes reads a list of CIDRs separated by spaces.
func prefixes(list string) []netip.Prefix {
	var all []netip.Prefix
	for s := range strings.FieldsSeq(list) {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestParse(t *testing.T) {
	cases := map[string]struct {
		reason string
		parse  func() error
		want   string
	}{
		"Canonical":     {"A canonical IPv4 CIDR is good.", func() error { _, err := ParsePrefix("10.0.0.0/16"); return err }, ""},
		"NotACIDR":      {"The cure shows how a CIDR is written.", func() error { _, err := ParsePrefix("ten"); return err }, `"ten" is not a CIDR: write address/length such as 10.0.0.0/16`},
		"HostBits":      {"The cure is the CIDR that was meant.", func() error { _, err := ParsePrefix("10.0.0.1/16"); return err }, `"10.0.0.1/16" is not canonical: write "10.0.0.0/16"`},
		"IPv6":          {"IPv6 is refused by name.", func() error { _, err := ParsePrefix("fd00::/8"); return err }, `"fd00::/8" is not IPv4: use an IPv4 CIDR such as 10.0.0.0/16`},
		"Address":       {"An address is four numbers.", func() error { _, err := ParseAddr("fd00::1"); return err }, `"fd00::1" is not an IPv4 address: write four numbers such as 10.0.0.1`},
		"Range":         {"A range is two addresses.", func() error { _, _, err := ParseRange("10.0.0.2..10.0.0.9"); return err }, ""},
		"RangeOfOne":    {"One address is a range as well.", func() error { _, _, err := ParseRange("10.0.0.2"); return err }, ""},
		"BackwardRange": {"The cure turns the range around.", func() error { _, _, err := ParseRange("10.0.0.9..10.0.0.2"); return err }, `"10.0.0.9..10.0.0.2" ends before it begins: write 10.0.0.2..10.0.0.9`},
		"OpenRange":     {"A range needs its end.", func() error { _, _, err := ParseRange("10.0.0.9.."); return err }, `"" is not an IPv4 address: write four numbers such as 10.0.0.1`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := tc.parse(); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nerror (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSetOverlap(t *testing.T) {
	many := "10.0.0.0/24 10.0.2.0/24 10.0.4.0/24 10.0.6.0/24 10.0.8.0/24 10.0.10.0/24 10.0.12.0/24 10.0.14.0/24 10.1.0.0/16 10.1.2.0/24"
	cases := map[string]struct {
		reason string
		set    string
		prefix string
		want   string
	}{
		"Empty":       {"Nothing overlaps the empty set.", "", "0.0.0.0/0", ""},
		"Equal":       {"Equal prefixes overlap.", "10.0.0.0/24", "10.0.0.0/24", "10.0.0.0/24"},
		"Neighbour":   {"Neighbours do not overlap.", "10.0.0.0/24", "10.0.1.0/24", ""},
		"Around":      {"A wider prefix of the set is found.", many, "10.1.2.128/25", "10.1.0.0/16"},
		"Inside":      {"A narrower prefix of the set is found.", many, "10.0.4.0/22", "10.0.4.0/24"},
		"Gap":         {"A prefix in a gap overlaps nothing.", many, "10.0.3.0/24", ""},
		"Everything":  {"The whole Internet overlaps the first.", many, "0.0.0.0/0", "10.0.0.0/24"},
		"BehindAll":   {"Behind the last there is nothing.", many, "11.0.0.0/8", ""},
		"LargerSpace": {"A set that has everything overlaps everything.", many + " 0.0.0.0/0", "192.0.2.1/32", "0.0.0.0/0"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := ""
			if p, ok := NewSet(prefixes(tc.set)...).Overlap(netip.MustParsePrefix(tc.prefix)); ok {
				got = p.String()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nOverlap (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSpaceFind(t *testing.T) {
	cases := map[string]struct {
		reason  string
		taken   string
		request Request
		want    string
	}{
		"FirstOfAll":      {"An empty Space gives the first block.", "", Request{Bits: 29, From: prefixes("100.64.0.0/16")}, "100.64.0.0/29"},
		"NextAfterTaken":  {"What is taken is passed over.", "100.64.0.0/29", Request{Bits: 29, From: prefixes("100.64.0.0/16")}, "100.64.0.8/29"},
		"Aligned":         {"A larger block begins where its size allows.", "100.64.0.0/29", Request{Bits: 28, From: prefixes("100.64.0.0/16")}, "100.64.0.16/28"},
		"FillsGap":        {"First fit fills the gap that a release left.", "100.64.0.0/29 100.64.0.16/29", Request{Bits: 29, From: prefixes("100.64.0.0/16")}, "100.64.0.8/29"},
		"SecondRange":     {"When the first range is full, the second one gives.", "10.0.0.0/30", Request{Bits: 30, From: prefixes("10.0.0.0/30 10.9.0.0/30")}, "10.9.0.0/30"},
		"Full":            {"A full range gives nothing.", "10.0.0.0/31 10.0.0.2/31", Request{Bits: 30, From: prefixes("10.0.0.0/30")}, ""},
		"RangeTooSmall":   {"A range smaller than the request gives nothing.", "", Request{Bits: 24, From: prefixes("10.0.0.0/25")}, ""},
		"RangeInsideUsed": {"A range inside something taken gives nothing.", "10.0.0.0/8", Request{Bits: 24, From: prefixes("10.2.0.0/16")}, ""},
		"Within":          {"The answer lies in what it must lie in.", "", Request{Bits: 24, From: prefixes("10.0.0.0/8"), Within: NewSet(prefixes("10.0.9.0/25 10.3.0.0/16")...)}, "10.3.0.0/24"},
		"Avoid":           {"The answer keeps clear of what it must avoid.", "10.0.0.0/24", Request{Bits: 24, From: prefixes("10.0.0.0/16"), Avoid: []Set{NewSet(prefixes("10.0.1.77/32")...), NewSet(prefixes("10.0.2.0/23")...)}}, "10.0.4.0/24"},
		"AvoidAll":        {"With everything to avoid there is no answer.", "", Request{Bits: 24, From: prefixes("10.0.0.0/16"), Avoid: []Set{NewSet(prefixes("10.0.0.0/8")...)}}, ""},
		"SingleAddress":   {"A /32 works at the bottom of the trie.", "255.255.255.254/32", Request{Bits: 32, From: prefixes("255.255.255.254/31")}, "255.255.255.255/32"},
		"Whole":           {"The whole space can be handed out.", "", Request{Bits: 0, From: prefixes("0.0.0.0/0")}, "0.0.0.0/0"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := NewSpace()
			for _, p := range prefixes(tc.taken) {
				s.Reserve(p)
			}
			got := ""
			if p, ok := s.Find(tc.request); ok {
				got = p.String()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nFind (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestNumbers(t *testing.T) {
	n := NewNumbers()
	for i := range uint32(5) {
		if got, ok := n.Allocate(4097, 4101); !ok || got != 4097+i {
			t.Errorf("Numbers come in order: Allocate = %d, %v, want %d", got, ok, 4097+i)
		}
	}
	if got, ok := n.Allocate(4097, 4101); ok {
		t.Errorf("A range that is used up gives nothing: Allocate = %d", got)
	}
	n.Release(4099)
	if got, ok := n.Allocate(4097, 4101); !ok || got != 4099 {
		t.Errorf("A number that came back is handed out again: Allocate = %d, %v, want 4099", got, ok)
	}
}
