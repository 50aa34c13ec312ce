// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package attachment

import (
	"net/netip"
	"testing"
)

func TestParseReturnsWhatStringWrote(t *testing.T) {
	want := Attachment{
		Vpc: "demo/vpc-1", Subnet: "demo/net1", Port: "pod-1", MAC: "0a:58:0a:00:00:02", MTU: 1400,
		Address: netip.MustParsePrefix("10.0.0.2/16"), Gateway: netip.MustParseAddr("10.0.0.1"),
	}
	const text = `{"vpc":"demo/vpc-1","subnet":"demo/net1","port":"pod-1","address":"10.0.0.2/16","mac":"0a:58:0a:00:00:02","gateway":"10.0.0.1","mtu":1400}`
	if got := want.String(); got != text {
		t.Errorf("annotation is read by others, so its words are fixed:\n got %s\nwant %s", got, text)
	}
	if got, err := Parse(text); err != nil || got != want {
		t.Errorf("Parse: got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "{}", `{"port":"pod-1"}`, `{"address":"10.0.0.300/16"}`} {
		if got, err := Parse(bad); err == nil {
			t.Errorf("Parse(%q) accepted %+v: a node would plug half an interface", bad, got)
		}
	}
}
