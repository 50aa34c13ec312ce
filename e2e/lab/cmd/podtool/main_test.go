// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"io"
	"testing"
)

func TestParseSize(t *testing.T) {
	cases := map[string]struct {
		reason string
		in     string
		want   int64
		bad    bool
	}{
		"Plain":   {reason: "a number is bytes", in: "1500", want: 1500},
		"Unit":    {reason: "units are powers of 1024", in: "2M", want: 2 << 20},
		"Unknown": {reason: "an unknown unit must not be read as bytes", in: "1k", bad: true},
		"Two":     {reason: "one unit is enough", in: "1KM", bad: true},
		"Empty":   {reason: "nothing is not zero", in: "", bad: true},
		"Minus":   {reason: "there is no negative amount", in: "-1", bad: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := parseSize(tc.in)
			if (err != nil) != tc.bad || got != tc.want {
				t.Errorf("%s: parseSize(%q) = %d, %v; want %d", tc.reason, tc.in, got, err, tc.want)
			}
		})
	}
}

func TestParseOne(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []string
		bad    bool
	}{
		"FlagsFirst": {reason: "as package flag wants it", args: []string{"-c", "3", "10.0.0.1"}},
		"FlagsLast":  {reason: "as people write it", args: []string{"10.0.0.1", "-c", "3"}},
		"None":       {reason: "an address is needed", args: []string{"-c", "3"}, bad: true},
		"Two":        {reason: "a second address would be ignored", args: []string{"10.0.0.1", "10.0.0.2"}, bad: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			fs := flag.NewFlagSet("ping", flag.ContinueOnError)
			fs.SetOutput(io.Discard)
			count := fs.Int("c", 0, "")
			got, err := parseOne(fs, tc.args, "address")
			if (err != nil) != tc.bad {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if !tc.bad && (got != "10.0.0.1" || *count != 3) {
				t.Errorf("%s: address %q, count %d", tc.reason, got, *count)
			}
		})
	}
}
