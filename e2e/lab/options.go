// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package lab brings up a fleet on one machine: a hub and its spokes as real
// Kubernetes control planes, with real nodes and OVN, every part in a network
// namespace of its own. Nothing of it touches the machine's own interfaces,
// routes or firewall, and Down leaves nothing behind.
package lab

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
)

// Options says what fleet to bring up. They are kept in the lab's directory, so
// that other programs can Load it.
type Options struct {
	// Dir holds all files of the lab. It must be absolute and short, as sockets
	// lie in it, and not below /run, /var/lib or /var/log, which nodes don't see.
	Dir string
	// Hub is the name of the hub cluster.
	Hub string
	// Spokes are the other clusters.
	Spokes []SpokeOptions
	// Prefix starts the names of all network namespaces; "" is "tmb". Labs with
	// different prefixes and cluster names can be up at the same time.
	Prefix string
	// Tombolo tells to build the product too, and to install its charts: the hub's, and the
	// agent's in each spoke. Without it the clusters have its CRDs and namespaces only, and the hub no node.
	Tombolo bool
	// Logf takes lines of progress; nil drops them.
	Logf func(format string, args ...any) `json:"-"`
}

// SpokeOptions says what a spoke cluster has.
type SpokeOptions struct {
	// Name of the cluster; it has at most 8 bytes, as names of interfaces have it in them.
	Name string
	// Nodes is the number of nodes, which are called n1, n2, …; 0 gives a bare
	// control plane without OVN.
	Nodes int
	// Gateways is the number of nodes, from n1 on, that carry traffic to other
	// clusters; 0 means 1.
	Gateways int
	// Join is the way into the fleet; "" is JoinAddOn.
	Join Join
}

// Join is a way into the fleet, an occasion of docs/install.md.
type Join string

// Ways into the fleet.
const (
	// JoinAddOn is OCM's: its agents let the cluster join, and bring Tombolo as an add-on.
	JoinAddOn Join = "addon"
	// JoinToken is `kubectl tombolo join`. The cluster has no agent of OCM's.
	JoinToken Join = "token"
)

// Bounds of the lab's address plan.
const (
	maxSpokes  = 14
	maxNodes   = 14
	maxNameLen = 8
	maxPrefix  = 16
	// A kubelet's longest socket below <Dir>/<cluster>/<node> must fit into the
	// 107 bytes of unix(7).
	maxDirLen = 107 - len("/12345678/n14/kubelet/pod-resources/1234567890.sock")
)

var validName = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)

// check tells everything that is wrong at once.
func (o Options) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !filepath.IsAbs(o.Dir) || len(o.Dir) > maxDirLen {
		wrong("Dir %q: must be absolute and have at most %d bytes, so that sockets in it have names that the kernel takes", o.Dir, maxDirLen)
	}
	if len(o.Spokes) > maxSpokes {
		wrong("Spokes: %d are more than the %d that the address plan has room for", len(o.Spokes), maxSpokes)
	}
	if !validName.MatchString(o.prefix()) || len(o.prefix()) > maxPrefix {
		wrong("Prefix %q: must be a lower case DNS label of at most %d bytes", o.Prefix, maxPrefix)
	}
	for _, s := range o.Spokes {
		if s.Nodes < 0 || s.Nodes > maxNodes {
			wrong("Nodes of %s: %d is not between 0 and %d", s.Name, s.Nodes, maxNodes)
		}
		if s.Join != "" && s.Join != JoinAddOn && s.Join != JoinToken {
			wrong("Join of %s: %q is neither %q nor %q", s.Name, s.Join, JoinAddOn, JoinToken)
		}
		if s.Gateways < 0 || s.Gateways > s.Nodes {
			wrong("Gateways of %s: %d is not between 0 and its %d nodes", s.Name, s.Gateways, s.Nodes)
		}
	}
	return errors.Join(append(errs, o.checkNames())...)
}

func (o Options) checkNames() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	names := []string{o.Hub}
	for _, s := range o.Spokes {
		names = append(names, s.Name)
	}
	for i, name := range names {
		if !validName.MatchString(name) || len(name) > maxNameLen {
			wrong("cluster name %q: must be a lower case DNS label of at most %d bytes", name, maxNameLen)
		}
		if slices.Contains(reservedNames, name) {
			wrong("cluster name %q: is used for files of the lab itself; choose another", name)
		}
		if slices.Contains(names[:i], name) {
			wrong("cluster name %q: is given twice; choose another", name)
		}
	}
	return errors.Join(errs...)
}

// reservedNames are entries of Dir besides the clusters' directories, and the
// name of the fabric's namespace.
var reservedNames = []string{"bin", "helm", "images", "log", "manual", "pid", "fabric", "ic"}

func (o Options) prefix() string {
	if o.Prefix == "" {
		return "tmb"
	}
	return o.Prefix
}
