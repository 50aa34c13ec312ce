// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package version says which Tombolo this is, and which hubs and agents work together.
package version

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/version"
)

// Version of this build, a semantic version (https://semver.org) without "v". Charts have the same; a release sets both with
//
//	-ldflags "-X github.com/tombolo-io/tombolo/apis/version.Version=…"
var Version = "0.2.0"

// Supported says whether an agent works with a hub: every agent that is not of a newer minor version does. A hub from before hubs
// told their version tells none, and counts as old.
func Supported(hub, agent string) (bool, error) {
	a, err := version.ParseSemantic(agent)
	if err != nil {
		return false, fmt.Errorf("parse version of agent %q: %w", agent, err)
	}
	if hub == "" {
		return false, nil
	}
	h, err := version.ParseSemantic(hub)
	if err != nil {
		return false, fmt.Errorf("parse version of hub %q: %w", hub, err)
	}
	return a.Major() < h.Major() || a.Major() == h.Major() && a.Minor() <= h.Minor(), nil
}

// Older says whether a version is older than another one. What is no semantic version is neither older nor newer.
func Older(a, than string) bool {
	v, err := version.ParseSemantic(a)
	if err != nil {
		return false
	}
	compared, err := v.Compare(than)
	return err == nil && compared < 0
}
