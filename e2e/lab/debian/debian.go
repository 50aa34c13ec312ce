// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package debian knows which Debian package has the programs that the lab
// takes from the machine instead of building them.
package debian

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// packages maps a program, or a file by its full path, to the Debian 12
// package that has it.
var packages = map[string]string{
	"containerd":                         "containerd",
	"ctr":                                "containerd",
	"containerd-shim-runc-v2":            "containerd",
	"runc":                               "runc",
	"/usr/lib/cni/bridge":                "containernetworking-plugins",
	"ip":                                 "iproute2",
	"nft":                                "nftables",
	"nsenter":                            "util-linux",
	"unshare":                            "util-linux",
	"ovsdb-server":                       "openvswitch-common",
	"ovsdb-tool":                         "openvswitch-common",
	"ovs-vsctl":                          "openvswitch-switch",
	"ovs-vswitchd":                       "openvswitch-switch",
	"ovs-ofctl":                          "openvswitch-common",
	"ovs-appctl":                         "openvswitch-common",
	"ovn-northd":                         "ovn-central",
	"ovn-nbctl":                          "ovn-common",
	"ovn-sbctl":                          "ovn-common",
	"ovn-controller":                     "ovn-host",
	"ovn-ic":                             "ovn-ic",
	"ovn-ic-nbctl":                       "ovn-common",
	"/usr/share/ovn/ovn-nb.ovsschema":    "ovn-central",
	"/usr/share/ovn/ovn-sb.ovsschema":    "ovn-central",
	"/usr/share/ovn/ovn-ic-nb.ovsschema": "ovn-ic-db",
	"/usr/share/ovn/ovn-ic-sb.ovsschema": "ovn-ic-db",
	"/usr/share/openvswitch/vswitch.ovsschema": "openvswitch-switch",
}

// Need says in one error everything that is missing of programs, and how to get it.
func Need(programs ...string) error {
	var missing, install []string
	for _, p := range programs {
		if found(p) {
			continue
		}
		missing = append(missing, p)
		if name := packages[p]; name != "" {
			install = append(install, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(install)
	return fmt.Errorf("not on this machine: %s; install with: apt-get install --no-install-recommends %s",
		strings.Join(missing, ", "), strings.Join(slices.Compact(install), " "))
}

func found(program string) bool {
	if !filepath.IsAbs(program) {
		_, err := exec.LookPath(program)
		return err == nil
	}
	matches, err := filepath.Glob(program)
	return err == nil && len(matches) > 0
}
