// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConflist(t *testing.T) {
	cases := map[string]struct {
		reason string
		plugin string
		want   []string // type of the plugin, then of its delegate
	}{
		"WithoutAgent": {
			reason: "a node without tombolo-cni has a working network of its own",
			want:   []string{"bridge"},
		},
		"WithAgent": {
			reason: "tombolo-cni is called first and knows where to send pods outside of any Vpc",
			plugin: "/build/tombolo-cni",
			want:   []string{"tombolo-cni", "bridge"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			n := &Node{Options{StateDir: "/lab/n1", CNIPlugin: tc.plugin, PodCIDR: netip.MustParsePrefix("10.244.1.0/24")}}
			raw, err := n.conflist()
			if err != nil {
				t.Fatal(err)
			}
			type plugin struct {
				CNIVersion, Name, Type, Socket string
				Delegate                       *plugin
			}
			var got struct {
				CNIVersion, Name string
				Plugins          []plugin
			}
			if err := json.Unmarshal(raw, &got); err != nil {
				t.Fatal(err)
			}
			var types []string
			for p := &got.Plugins[0]; p != nil; p = p.Delegate {
				types = append(types, p.Type)
			}
			if diff := cmp.Diff(tc.want, types); diff != "" || got.CNIVersion != "1.0.0" {
				t.Errorf("%s: version %s, plugins -want +got:\n%s", tc.reason, got.CNIVersion, diff)
			}
			if tc.plugin == "" {
				return
			}
			first := got.Plugins[0]
			if first.Socket != n.CNISocket() || first.Delegate.CNIVersion != got.CNIVersion || first.Delegate.Name != got.Name {
				t.Errorf("%s: a delegate needs a whole configuration, got %s", tc.reason, raw)
			}
		})
	}
}

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
