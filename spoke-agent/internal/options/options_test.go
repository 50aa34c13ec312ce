// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package options

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func TestController(t *testing.T) {
	base := []string{"--cluster-name=east", "--hub-kubeconfig=/hub"}
	cases := map[string]struct {
		reason string
		args   []string
		want   string // part of the error
	}{
		"Defaults":    {reason: "two flags are enough", args: base},
		"Secret":      {reason: "the chart's way", args: []string{"--cluster-name=east", "--hub-secret=tombolo-hub-kubeconfig", "--hub-bootstrap=/none"}},
		"NoHub":       {reason: "without an identity there is nothing to realize", args: base[:1], want: "give either --hub-secret or --hub-kubeconfig"},
		"TwoHubs":     {reason: "which of the two is meant can't be guessed", args: append(base, "--hub-secret=s"), want: "give either --hub-secret or --hub-kubeconfig"},
		"BadSecret":   {reason: "no Secret has such a name", args: []string{"--cluster-name=east", "--hub-secret=A/b"}, want: `--hub-secret "A/b"`},
		"Bootstrap":   {reason: "a token is of no use without a place for what comes of it", args: append(base, "--hub-bootstrap=/b"), want: "--hub-bootstrap needs --hub-secret"},
		"NoName":      {reason: "without a name there is no namespace on the hub", args: base[1:], want: "--cluster-name is required"},
		"BadReserved": {reason: "a typo must not open a range to Subnets", args: append(base, "--reserved-cidrs=10.0.0/8"), want: `"10.0.0/8" is not an IPv4 CIDR`},
		"BadNB":       {reason: "a path alone is no endpoint", args: append(base, "--nb=/run/nb.sock"), want: "give unix:PATH"},
		"SSL":         {reason: "ssl needs all three files", args: append(base, "--nb=ssl:10.0.0.1:6641", "--nb-ca=/ca"), want: "--nb-key"},
		"BadMTU":      {reason: "an MTU below IPv4's least is no MTU", args: append(base, "--pod-mtu=100"), want: "--pod-mtu 100"},
		"BadAddress":  {reason: "a port alone is no address", args: append(base, "--metrics-bind-address=8080"), want: "host:port"},
		"BadLevel":    {reason: "levels have names", args: append(base, "--log-level=9"), want: `--log-level "9"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var o Controller
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			o.AddFlags(flags)
			if err := flags.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			if err := o.Validate(); (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestReservedCIDRsBecomeCanonical(t *testing.T) {
	var o Controller
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.AddFlags(flags)
	if err := flags.Parse([]string{"--cluster-name=east", "--hub-kubeconfig=/hub", "--reserved-cidrs=10.96.7.0/12,10.42.0.0/16"}); err != nil {
		t.Fatal(err)
	}
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"10.96.0.0/12", "10.42.0.0/16"}, o.ReservedCIDRs); diff != "" {
		t.Errorf("reserved CIDRs (-want +got):\n%s", diff)
	}
}

func TestNode(t *testing.T) {
	var o Node
	o.AddFlags(pflag.NewFlagSet("", pflag.ContinueOnError))
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "--node-name is required") {
		t.Errorf("got %v, want the one flag that has no default", err)
	}
	o.NodeName = "n1"
	if err := o.Validate(); err != nil {
		t.Errorf("defaults are refused: %v", err)
	}
	o.CNISocket = "cni.sock"
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "absolute path") {
		t.Errorf("got %v, want a relative socket refused", err)
	}
}

func TestNodeOfWireGuard(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		flag   string
		want   string
	}{
		"Defaults": {reason: "they are enough"},
		"State":    {reason: "a key must be found again, from wherever the agent is started", flag: "--state-dir=state", want: `--state-dir "state"`},
		"Port":     {reason: "others must know it", flag: "--wireguard-port=0", want: "--wireguard-port 0"},
	} {
		var o Node
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.AddFlags(flags)
		if err := flags.Parse(strings.Fields("--node-name=n1 " + tc.flag)); err != nil {
			t.Fatal(err)
		}
		if err := o.Validate(); (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %s: got %v, want %q", name, tc.reason, err, tc.want)
		}
	}
}

func TestFlows(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		flags  string
		want   string
	}{
		"Defaults": {reason: "every packet, for ten seconds"},
		"Follow":   {reason: "then no time is needed", flags: "--follow --duration=0"},
		"Sample":   {reason: "one in none is none", flags: "--sample=0", want: "--sample 0"},
		"Duration": {reason: "it would end before it begins", flags: "--duration=0", want: "--duration 0s"},
		"Vpc":      {reason: "two tenants may have one of that name", flags: "--vpc=vpc-1", want: `--vpc "vpc-1"`},
		"Whole":    {reason: "as it is named everywhere", flags: "--vpc=demo/vpc-1 --drops"},
	} {
		var o Flows
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.AddFlags(flags)
		if err := flags.Parse(strings.Fields(tc.flags)); err != nil {
			t.Fatal(err)
		}
		if err := o.Validate(); (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %s: got %v, want %q", name, tc.reason, err, tc.want)
		}
	}
}
