// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package options_test

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/tombolo-io/tombolo/hub/internal/options"
)

func TestCommand(t *testing.T) {
	for name, test := range map[string]struct {
		reason string
		args   []string
		want   []string
	}{
		"Defaults": {reason: "the defaults are valid"},
		"NoProbes": {reason: "0 serves nothing", args: []string{"--metrics-bind-address=0", "--health-probe-bind-address=0"}},
		"All": {
			reason: "every mistake is named at once, with its cure",
			args:   []string{"--log-level=loud", "--log-format=xml", "--metrics-bind-address=8080", "--leader-election-namespace=", "--kube-api-qps=0"},
			want: []string{
				`--log-level "loud" is unknown: use debug, info, warn or error`,
				`--log-format "xml" is unknown: use text or json`,
				`--metrics-bind-address "8080" is no address`,
				`--leader-election-namespace is empty`,
				`use qps > 0`,
			},
		},
		"Arguments": {reason: "there are none", args: []string{"start"}, want: []string{"unknown command"}},
	} {
		t.Run(name, func(t *testing.T) {
			ran := false
			cmd := options.Command(func(*cobra.Command, options.Options) error { ran = true; return nil })
			cmd.SetArgs(test.args)
			cmd.SetOut(io.Discard)
			err := cmd.Execute()
			if ran != (len(test.want) == 0) || (err == nil) != ran {
				t.Errorf("ran = %v, error %v: %s", ran, err, test.reason)
			}
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v does not say %q: %s", err, want, test.reason)
				}
			}
		})
	}
}
