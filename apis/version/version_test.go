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

func TestOlder(t *testing.T) {
	for name, test := range map[string]struct {
		reason  string
		a, than string
		want    bool
	}{
		"Older":   {reason: "an agent was rolled back", a: "0.2.9", than: "0.3.0", want: true},
		"Same":    {reason: "the usual case", a: "0.3.0", than: "0.3.0"},
		"Newer":   {reason: "an agent was upgraded, and has not spoken yet", a: "0.10.0", than: "0.9.0"},
		"Unknown": {reason: "nothing is concluded from what can't be compared", a: "latest", than: "0.3.0"},
		"None":    {reason: "nothing is concluded from what was not said", a: "0.3.0", than: ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := version.Older(test.a, test.than); got != test.want {
				t.Errorf("Older(%q, %q) = %v: %s", test.a, test.than, got, test.reason)
			}
		})
	}
}
