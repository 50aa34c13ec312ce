// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"io"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/cni/server"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/controllers/gateway"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/controllers/router"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/lazy"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/options"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/probe"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/wireguard"
)

// dialTimeout bounds an attempt to reach Open vSwitch, for which a pod's call waits; another one follows. The northbound
// database is dialled in the background and may be large: package ovn knows how long to read it.
const dialTimeout = 5 * time.Second

// PinPath is where maps and links are pinned in a bpf file system.
func PinPath(bpffs string) string { return filepath.Join(bpffs, "tombolo") }

func dialNorthbound(o options.Controller, log logr.Logger) func(context.Context) (router.Northbound, error) {
	return func(ctx context.Context) (router.Northbound, error) {
		var tls []ovn.Option
		if o.NorthboundCA != "" {
			tls = append(tls, ovn.WithTLS(ovn.TLS{CA: o.NorthboundCA, Cert: o.NorthboundCert, Key: o.NorthboundKey}))
		}
		nb, err := ovn.DialNorthbound(ctx, o.Northbound, log, tls...)
		if err != nil {
			return nil, err // not a nil *Northbound in an interface
		}
		return nb, nil
	}
}

// node is what the parts of one node share.
type node struct {
	vswitch  *lazy.Value[*ovn.Vswitch]
	fastpath *lazy.Value[gateway.Fastpath]
	prober   *probe.Prober
	echoes   *tunnelprobe.Prober
	tunnel   *wireguard.Tunnel
	keys     *lazy.Value[*wireguard.Keys]
}

func openNode(o options.Node, log logr.Logger) node {
	return node{
		vswitch: lazy.New(func(ctx context.Context) (*ovn.Vswitch, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			return ovn.DialVswitch(ctx, o.OVS, log)
		}),
		fastpath: lazy.New(func(context.Context) (gateway.Fastpath, error) {
			if err := fastpath.MountBPFFS(o.BPFFS); err != nil {
				return nil, err
			}
			programs, err := fastpath.Open(fastpath.Options{PinPath: PinPath(o.BPFFS), Logger: log.WithName("fastpath")})
			if err != nil {
				return nil, err // not a nil *Fastpath in an interface
			}
			return programs, nil
		}),
		prober: probe.New(log.WithName("probe")),
		echoes: tunnelprobe.New(log.WithName("tunnelprobe"), gateway.ObserveRTT),
		tunnel: wireguard.New(log.WithName("wireguard")),
		keys: lazy.New(func(context.Context) (*wireguard.Keys, error) {
			return wireguard.OpenKeys(keysDir(o))
		}),
	}
}

// gatewaySwitch and podSwitch are one connection under the names that its users gave it.
func (n node) gatewaySwitch() *lazy.Value[gateway.Vswitch] {
	return lazy.New(func(ctx context.Context) (gateway.Vswitch, error) { return n.vswitch.Get(ctx) })
}

func (n node) podSwitch() *lazy.Value[server.Vswitch] {
	return lazy.New(func(ctx context.Context) (server.Vswitch, error) { return n.vswitch.Get(ctx) })
}

// netlink is package link as its users want it.
type netlink struct{}

func (netlink) Ensure(p link.Pair) error                              { return link.Ensure(p) }
func (netlink) Remove(name string) error                              { return link.Remove(name) }
func (netlink) List(prefix string) ([]string, error)                  { return link.List(prefix) }
func (netlink) Aliases(prefix string) (map[string]string, error)      { return link.Aliases(prefix) }
func (netlink) Underlay(name string) (string, netip.Addr, int, error) { return link.Underlay(name) }
func (netlink) XDP(name string) (int, error)                          { return link.XDP(name) }
func (netlink) EnsureVXLAN(v link.VXLAN) error                        { return link.EnsureVXLAN(v) }
func (netlink) SetSlowPath(s link.SlowPath) error                     { return link.SetSlowPath(s) }
func (netlink) RemoveSlowPath() error                                 { return link.RemoveSlowPath() }

// bell wakes one listener; to ring it again before that one looks changes nothing.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// closing closes when the manager ends.
type closing struct{ io.Closer }

// NeedLeaderElection is false: what it closes is every node's own.
func (closing) NeedLeaderElection() bool { return false }

// Start waits for the end.
func (c closing) Start(ctx context.Context) error {
	<-ctx.Done()
	return c.Close()
}
