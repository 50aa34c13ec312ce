// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command tombolo-cni is the CNI plugin of Tombolo: it asks the agent of its node.
package main

import (
	"github.com/containernetworking/cni/pkg/skel"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/cni/plugin"
)

func main() {
	skel.PluginMainFuncs(plugin.Funcs(), plugin.Versions, "tombolo-cni: asks tombolo-agent to plug pods of a Vpc, and delegates the others")
}
