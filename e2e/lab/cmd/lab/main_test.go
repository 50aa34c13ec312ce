// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tombolo-io/tombolo/e2e/lab"
)

func TestParseSpokes(t *testing.T) {
	cases := map[string]struct {
		reason string
		in     []string
		want   []lab.SpokeOptions
		refuse bool
	}{
		"Nodes":    {reason: "the number of nodes alone leaves the gateways to the lab", in: []string{"east=2"}, want: []lab.SpokeOptions{{Name: "east", Nodes: 2}}},
		"Gateways": {reason: "the second number is the gateways'", in: []string{"east=3/2", "west=0"}, want: []lab.SpokeOptions{{Name: "east", Nodes: 3, Gateways: 2}, {Name: "west"}}},
		"NoNumber": {reason: "a size is never guessed", in: []string{"east"}, refuse: true},
		"Words":    {reason: "the error says what to write", in: []string{"east=1/all"}, refuse: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := parseSpokes(tc.in)
			if (err != nil) != tc.refuse {
				t.Fatalf("%s: %v, want it refused: %v", tc.reason, err, tc.refuse)
			}
			if err != nil && !strings.Contains(err.Error(), "want NAME=NODES") {
				t.Errorf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); !tc.refuse && diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestHelpNamesEveryCommand(t *testing.T) {
	root := rootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs([]string{"--help"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"up", "down", "status", "logs", "kubectl", "forward", "binaries", defaultDir} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lab --help does not have %q:\n%s", want, out.String())
		}
	}
}
