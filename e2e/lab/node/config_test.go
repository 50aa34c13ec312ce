// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestCheckSaysWhatToChange(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	good := Options{
		StateDir: "/lab/n1", MgmtIP: netip.MustParsePrefix("10.0.0.2/24"), PodCIDR: netip.MustParsePrefix("10.244.1.0/24"),
		Kubelet: self, Pause: self, PauseTar: self,
	}
	cases := map[string]struct {
		reason string
		change func(*Options)
		want   string
	}{
		"Good":     {"these options are right", func(*Options) {}, ""},
		"Long":     {"sockets have short names", func(o *Options) { o.StateDir = "/" + strings.Repeat("x", 90) }, "StateDir"},
		"Relative": {"the box has another working directory", func(o *Options) { o.StateDir = "lab" }, "absolute"},
		"Hidden":   {"the box hides this directory", func(o *Options) { o.StateDir = "/var/lib/lab" }, "/var/lib"},
		"Unbuilt":  {"the kubelet is built, not installed", func(o *Options) { o.Kubelet = "/nowhere/kubelet" }, "Kubelet"},
		"NoIP":     {"the kubelet needs an address", func(o *Options) { o.MgmtIP = netip.Prefix{} }, "MgmtIP"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := good
			tc.change(&o)
			err := (&Node{o}).check(t.Context())
			if tc.want == "" && err == nil {
				return
			}
			if tc.want == "" || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want an error with %q", tc.reason, err, tc.want)
			}
		})
	}
}
