// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/gateway"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/health"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/probe"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
)

// serve makes interfaces, then maps, then the slow path, then probes, takes down the routers under deletion, and says in every copy how far
// it came. A router whose interface can't be made stops neither the others nor a deletion.
func (r *Reconciler) serve(ctx context.Context, in gateway.Inputs, p gateway.Plan) error {
	routers := in.Routers
	if err := r.hold(ctx, routers, p.Ports); err != nil {
		return err
	}
	problems := maps.Clone(p.Errors) // another attempt would not solve those
	var errs []error
	for _, port := range p.Ports {
		if err := r.plug(ctx, port); err != nil {
			problems[port.Router] = err
			errs = append(errs, fmt.Errorf("plug LocalRouter %s: %w", port.Router, err))
		}
	}
	config, slow, probes, err := r.carried(p)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	// Before the programs: they must know which port the answers come to.
	if err := r.Echoes.Set(p.Echoes); err != nil {
		errs = append(errs, err)
	}
	config.Underlay.EchoPort = r.Echoes.Port()
	r.found.Inside = gateway.LookInside(gateway.Own(in.Gateways), r.Node, p.Inside, r.Prober.Results(), in.Echoed, time.Now())
	config.Underlay.Quiet = r.found.Inside.CutOff != ""
	errs = append(errs, r.program(ctx, p, config, slow, problems), r.remove(ctx, routers, p.Removed))
	if err := r.Prober.Set(probes); err != nil {
		errs = append(errs, fmt.Errorf("set probes: %w", err))
	}
	r.metrics.describe(p.Ports)
	r.metrics.describeEchoes(p.Echoes.Targets)
	return errors.Join(append(errs, r.report(ctx, routers, p.Ports, problems), r.reportTunnels(ctx, gateway.Own(in.Gateways), p.Echoes.Targets))...)
}

// program makes the tunnel, if there must be one, and then both paths that lead into it. What fails is a problem of the routers
// that it concerns.
func (r *Reconciler) program(ctx context.Context, p gateway.Plan, config fastpath.Config, slow link.SlowPath, problems map[string]error) error {
	var errs []error
	fail := func(err error, concerns func(gateway.Port) bool) {
		errs = append(errs, err)
		for _, port := range p.Ports {
			if concerns(port) {
				problems[port.Router] = errors.Join(problems[port.Router], err)
			}
		}
	}
	if p.Tunnel != nil {
		r.found.Encrypts = true
		r.found.Wires = append(r.found.Wires, health.Wire{Name: p.Tunnel.Interface, MTU: p.Tunnel.MTU})
		if err := r.encrypt(ctx, *p.Tunnel); err != nil {
			r.found.Encryption = err
			config.Underlay.Tunnel = "" // and so nothing goes to encrypted clusters
			slow = inTheClear(slow)
			fail(err, func(port gateway.Port) bool { return encrypted(port, config.Clusters) })
		}
	}
	if err := r.setDirect(ctx, config, slow); err != nil {
		r.found.DataPath = err
		fail(err, func(gateway.Port) bool { return true })
	} else if p.Tunnel == nil {
		errs = append(errs, r.Tunnel.Remove(naming.Tunnel))
	}
	return errors.Join(errs...)
}

// carried are both paths' configuration and probes of the ports that have their interface. What goes through it goes on while Open
// vSwitch is away, or refuses to look at it anew.
func (r *Reconciler) carried(p gateway.Plan) (fastpath.Config, link.SlowPath, []probe.Target, error) {
	ends, err := r.Links.List(naming.GatewayEndPrefix)
	if err != nil {
		return fastpath.Config{}, link.SlowPath{}, nil, fmt.Errorf("list gateway ports: %w", err)
	}
	config, slow := p.Fastpath, p.SlowPath
	config.Ports, slow.Vpcs = nil, nil
	var probes []probe.Target
	for _, port := range p.Ports {
		if !slices.Contains(ends, port.Link.GatewayEnd) {
			continue
		}
		config.Ports, slow.Vpcs = append(config.Ports, port.Fastpath), append(slow.Vpcs, port.SlowPath)
		for _, target := range port.Probes {
			probes = append(probes, target.Target)
		}
	}
	for _, inside := range p.Inside {
		if slices.Contains(ends, inside.Interface) {
			probes = append(probes, inside.Target)
		}
	}
	return knownVpcs(config), slow, probes, nil
}

// hold marks the copies before anything of them is on the node.
func (r *Reconciler) hold(ctx context.Context, routers []spokev1alpha1.LocalRouter, ports []gateway.Port) error {
	served := map[string]bool{}
	for _, port := range ports {
		served[port.Router] = true
	}
	for i := range routers {
		if !served[routers[i].Name] {
			continue
		}
		if err := local.Hold(ctx, r.client, &routers[i], local.GatewayFinalizer(r.Node)); err != nil {
			return fmt.Errorf("hold LocalRouter %s: %w", routers[i].Name, err)
		}
	}
	return nil
}

// plug makes a router's interfaces and its port in the integration bridge.
func (r *Reconciler) plug(ctx context.Context, port gateway.Port) error {
	if err := r.Links.Ensure(port.Link); err != nil {
		return err
	}
	vswitch, err := r.Vswitch.Get(ctx)
	if err != nil {
		return err
	}
	return vswitch.AddPort(ctx, r.Bridge, port.Vswitch)
}

// setPaths sets the fast path, which looks at all that goes to the kernel and comes from it, before the kernel forwards
// anything. A node whose kernel can't have the slow path goes without: what needs it is dropped and counted.
func (r *Reconciler) setPaths(ctx context.Context, config fastpath.Config, slow link.SlowPath) error {
	programs, err := r.Fastpath.Get(ctx)
	if err != nil {
		return err
	}
	slowErr := r.Links.EnsureVXLAN(slow.VXLAN)
	if slowErr != nil {
		config.Underlay.VXLAN = ""
		slowErr = errors.Join(slowErr, r.Links.RemoveSlowPath()) // nothing of it may outlive the program that guards it
	}
	if err := programs.Set(config); err != nil {
		return fmt.Errorf("set fast path: %w", err)
	}
	if slowErr == nil {
		slowErr = r.Links.SetSlowPath(slow)
	}
	r.metrics.describeSlowPath(slowErr == nil)
	r.metrics.describePods(len(config.Pods))
	r.found.Served, r.found.SlowPath = true, slowErr
	return r.lookAhead(programs, config.Underlay)
}

// lookAhead looks whether others see packets first.
func (r *Reconciler) lookAhead(programs Fastpath, underlay fastpath.Underlay) error {
	ahead, err := programs.Ahead()
	if err != nil {
		return err
	}
	if !underlay.XDP {
		program, err := r.Links.XDP(underlay.Interface)
		if err != nil {
			return err
		}
		if program != 0 {
			ahead = append(ahead, fmt.Sprintf("XDP program %d on %s", program, underlay.Interface))
		}
	}
	r.found.Ahead = ahead
	return nil
}

// remove takes down the routers under deletion, and lets go of them. Their maps are gone by now; should an entry be left,
// because one of another router could not be written, it leads to an interface that is no more, and so to a drop.
func (r *Reconciler) remove(ctx context.Context, routers []spokev1alpha1.LocalRouter, removed []gateway.Removed) error {
	finalizer := local.GatewayFinalizer(r.Node)
	var errs []error
	for _, gone := range removed {
		for i := range routers {
			router := &routers[i]
			if router.Name != gone.Router || !slices.Contains(router.Finalizers, finalizer) {
				continue
			}
			err := r.unplug(ctx, gone.GatewayEnd, gone.OVSEnd)
			if err == nil {
				err = local.Release(ctx, r.client, router, func(f string) bool { return f == finalizer })
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("remove LocalRouter %s: %w", gone.Router, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (r *Reconciler) unplug(ctx context.Context, gatewayEnd, ovsEnd string) error {
	vswitch, err := r.Vswitch.Get(ctx)
	if err != nil {
		return err
	}
	if err := vswitch.DelPort(ctx, r.Bridge, ovsEnd); err != nil {
		return err
	}
	return r.Links.Remove(gatewayEnd)
}

// retire takes everything down: the hub's list says that the node is no gateway, and it has no pods of Vpcs that send by
// themselves. On a node that never was one there is nothing to do.
func (r *Reconciler) retire(ctx context.Context, in gateway.Inputs) error {
	routers := in.Routers
	r.tryWithdraw(ctx, fastpath.Config{})
	had, err := r.hasPrograms(routers)
	if err != nil {
		return err
	}
	if err := r.Links.RemoveSlowPath(); err != nil { // before its guards
		return err
	}
	if had {
		programs, err := r.Fastpath.Get(ctx)
		if err != nil {
			return err
		}
		if err := programs.Remove(); err != nil {
			return fmt.Errorf("remove fast path: %w", err)
		}
		r.Fastpath.Reset() // whoever serves again loads anew
		r.metrics.describePods(0)
	}
	if !r.DirectPath {
		if err := r.announceNode(ctx, netip.Addr{}); err != nil {
			return err
		}
	}
	return r.retreat(ctx, in, tunnelprobe.Config{}, func(string) bool { return false })
}

// hasPrograms is true on a node that was a gateway, also one without a router, or held one for its pods.
func (r *Reconciler) hasPrograms(routers []spokev1alpha1.LocalRouter) (bool, error) {
	if _, open := r.Fastpath.Peek(); open {
		return true, nil
	}
	ends, err := r.gatewayEnds()
	if err != nil {
		return false, err
	}
	finalizer := local.GatewayFinalizer(r.Node)
	return len(ends) > 0 || slices.ContainsFunc(routers, func(router spokev1alpha1.LocalRouter) bool {
		return slices.Contains(router.Finalizers, finalizer)
	}), nil
}

func (r *Reconciler) gatewayEnds() ([]string, error) {
	ends, err := r.Links.List(naming.GatewayEndPrefix)
	if err != nil {
		return nil, fmt.Errorf("list gateway ports: %w", err)
	}
	return slices.DeleteFunc(ends, func(name string) bool { return !naming.IsGatewayEnd(name) }), nil
}

// retreat takes down what only gateways have, and lets go of all routers but those that are kept. echoes are those that the node sends
// all the same.
func (r *Reconciler) retreat(ctx context.Context, in gateway.Inputs, echoes tunnelprobe.Config, kept func(router string) bool) error {
	routers := in.Routers
	ends, err := r.gatewayEnds()
	if err != nil {
		return err
	}
	if err := errors.Join(r.Prober.Set(nil), r.Echoes.Set(echoes)); err != nil {
		return fmt.Errorf("end probes: %w", err)
	}
	r.metrics.describe(nil)
	r.metrics.describeEchoes(echoes.Targets)
	for _, end := range ends {
		if err := r.unplug(ctx, end, naming.OVSEndPrefix+strings.TrimPrefix(end, naming.GatewayEndPrefix)); err != nil {
			return err
		}
	}
	if err := r.Tunnel.Remove(naming.Tunnel); err != nil {
		return err
	}
	if err := r.forgetTunnels(ctx, gateway.Own(in.Gateways)); err != nil {
		return err
	}
	finalizer := local.GatewayFinalizer(r.Node)
	for i := range routers {
		if err := r.forget(ctx, &routers[i]); err != nil {
			return err
		}
		if kept(routers[i].Name) {
			continue
		}
		if err := local.Release(ctx, r.client, &routers[i], func(f string) bool { return f == finalizer }); err != nil {
			return fmt.Errorf("release LocalRouter %s: %w", routers[i].Name, err)
		}
	}
	return nil
}
