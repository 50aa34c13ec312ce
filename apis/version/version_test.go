// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package version_test

import (
	"testing"

	"github.com/tombolo-io/tombolo/apis/version"
)

func TestSupported(t *testing.T) {
	for name, test := range map[string]struct {
		reason     string
		hub, agent string
		want, fail bool
	}{
		"Same":       {reason: "the usual case", hub: version.Version, agent: version.Version, want: true},
		"NewerHub":   {reason: "the hub is upgraded first", hub: "0.3.0", agent: "0.2.7", want: true},
		"NewerPatch": {reason: "patches change no contract", hub: "0.3.0", agent: "0.3.9", want: true},
		"NewerAgent": {reason: "the hub may not know what this agent needs", hub: "0.2.9", agent: "0.3.0"},
		"OldMajor":   {reason: "the hub is newer", hub: "1.0.0", agent: "0.9.0", want: true},
		"NewerMajor": {reason: "the agent is newer", hub: "1.9.0", agent: "2.0.0"},
		"Silent":     {reason: "a hub that tells no version is older than the field", hub: "", agent: "0.2.0"},
		"NoVersion":  {reason: "that is no semantic version", hub: "0.2.0", agent: "latest", fail: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := version.Supported(test.hub, test.agent)
			if got != test.want || (err != nil) != test.fail {
				t.Errorf("Supported(%q, %q) = %v, %v: %s", test.hub, test.agent, got, err, test.reason)
			}
		})
	}
}
