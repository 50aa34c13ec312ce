// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllers is the list of everything that the agent runs: start reading here.
package controllers

import (
	"fmt"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/addonlease"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/cni/server"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/controllers/gateway"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/controllers/router"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/herald"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/hubidentity"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/mirror"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/neighbours"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/options"
)

// part is one thing that the agent runs.
type part struct {
	name string
	add  func(ctrl.Manager) error
}

// AddCluster adds what one agent per cluster runs (tombolo-agent controller).
func AddCluster(manager ctrl.Manager, o options.Controller) error {
	leaving := leavingOf(manager)
	told := &herald.Herald{Recorder: manager.GetEventRecorder("tombolo-agent"), Reader: manager.GetAPIReader(), Log: manager.GetLogger().WithName("herald")}
	hub, err := addIdentity(manager, o, told)
	if err != nil {
		return fmt.Errorf("add hub identity: %w", err)
	}
	identity, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find name of this agent: %w", err)
	}
	lease := &addonlease.Keeper{Client: manager.GetClient(), Identity: identity, Log: manager.GetLogger().WithName("addonlease")}
	return addAll(manager,
		part{"mirror", func(m ctrl.Manager) error { // hub ⇄ copies
			return m.Add(&mirror.Mirror{
				Cluster: o.ClusterName, Spoke: m, HubKubeconfig: hub.kubeconfig, Changed: hub.changed, Herald: told,
				ReservedCIDRs: o.ReservedCIDRs, Leave: leaving, Works: lease.Works, Log: m.GetLogger().WithName("mirror"),
			})
		}},
		part{"router", func(m ctrl.Manager) error { // copies, pods → OVN
			return router.Add(m, router.Options{Endpoint: o.Northbound, Dial: dialNorthbound(o, m.GetLogger()), PodMTU: o.PodMTU, Leave: leaving})
		}},
		part{"addonlease", func(m ctrl.Manager) error { return m.Add(lease) }}, // OCM's agent of this cluster, and the hub, see that this one works
		part{"leave", leave.Add}, // the hub's word, or the Job's → the steps by which a cluster leaves
	)
}

// hubFile is where the hub's kubeconfig is, and who tells that it has changed.
type hubFile struct {
	kubeconfig string
	changed    <-chan struct{}
}

// addIdentity adds what keeps the identity on the hub: token or Secret → files. A file that somebody else keeps needs nothing.
func addIdentity(m ctrl.Manager, o options.Controller, told *herald.Herald) (hubFile, error) {
	if o.HubKubeconfig != "" {
		return hubFile{kubeconfig: o.HubKubeconfig}, nil
	}
	files, err := hubidentity.MakeFiles()
	if err != nil {
		return hubFile{}, err
	}
	return hubFile{files.Kubeconfig(), files.Changed()}, m.Add(&hubidentity.Keeper{
		Cluster: o.ClusterName, Secret: o.HubSecret, Bootstrap: o.HubBootstrap, Spoke: m, Files: files,
		Leave:  &leave.Reader{Client: m.GetAPIReader(), Live: m.GetAPIReader()}, // a cache may be a moment behind who deletes the identity
		Herald: told, Log: m.GetLogger().WithName("hubidentity"),
	})
}

// AddNode adds what the agent of each node runs (tombolo-agent node).
func AddNode(manager ctrl.Manager, o options.Node) error {
	node := openNode(o, manager.GetLogger())
	woken, leaving := newBell(), leavingOf(manager)
	plugin := installer(manager, o, leaving)
	others, err := neighbours.New(manager.GetConfig(), woken.ring)
	if err != nil {
		return err
	}
	return addAll(manager,
		part{"neighbours", func(m ctrl.Manager) error { return m.Add(others) }},
		part{"gateway", func(m ctrl.Manager) error { // copies → interfaces, eBPF, probes
			return gateway.Add(m, gateway.Options{
				Node: o.NodeName, EndpointInterface: o.EndpointInterface, Bridge: o.IntegrationBridge, MTU: o.PodMTU,
				Links: netlink{}, Vswitch: node.gatewaySwitch(), Fastpath: node.fastpath, Prober: node.prober, Echoes: node.echoes,
				Tunnel: node.tunnel, Keys: node.keys, WireGuardPort: o.WireGuardPort,
				DirectPath: o.DirectPath, Neighbours: others, Woken: woken,
				Leave: leaving, Uninstall: plugin.Remove, ForgetKeys: func() error { return os.RemoveAll(keysDir(o)) },
			})
		}},
		part{"cni", func(m ctrl.Manager) error { // pods → interfaces
			return m.Add(&server.Server{
				Socket: o.CNISocket, Bridge: o.IntegrationBridge, Reader: m.GetClient(),
				Links: netlink{}, Vswitch: node.podSwitch(), Log: m.GetLogger().WithName("cni"),
				DirectPath: o.DirectPath, Changed: woken.ring, Leave: leaving,
			})
		}},
		part{"cni-install", func(m ctrl.Manager) error { // the runtime's directories
			if o.CNIConfDir == "" {
				return nil
			}
			return m.Add(plugin)
		}},
		part{"prober", func(m ctrl.Manager) error { return m.Add(closing{node.prober}) }},
		part{"tunnelprobe", func(m ctrl.Manager) error { return m.Add(closing{node.echoes}) }},
		part{"tunnel", func(m ctrl.Manager) error { return m.Add(closing{node.tunnel}) }},
	)
}

func addAll(manager ctrl.Manager, parts ...part) error {
	for _, p := range parts {
		if err := p.add(manager); err != nil {
			return fmt.Errorf("add %s: %w", p.name, err)
		}
	}
	return nil
}
