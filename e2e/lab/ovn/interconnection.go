// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab/debian"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// memory of an ovn-ic at most: with overlapping prefixes it never stops to grow.
const memory = 1 << 30

// settle is how long one cluster's ports are alone on a transit switch: two that come at once may be given the same
// tunnel key, of which OVN 23.03 keeps the old one in its flows.
const settle = time.Second

// InterconnectionOptions says where the databases of OVN interconnection run.
type InterconnectionOptions struct {
	Dir      proc.Dir // Dir of the processes.
	StateDir string   // StateDir of databases and sockets, absolute and short.
}

// Interconnection is upstream OVN interconnection: two databases, and an ovn-ic for each cluster.
type Interconnection struct{ InterconnectionOptions }

// Member is a cluster that takes part by one of its routers.
type Member struct {
	Central *Central
	// Gateway carries all that the router sends to other clusters.
	Gateway *NodeOVS
	// Router by its name, and the address that it has on the transit switch.
	Router  string
	Address netip.Prefix
}

// StartInterconnection starts the databases.
func StartInterconnection(ctx context.Context, o InterconnectionOptions) (*Interconnection, error) {
	i := &Interconnection{o}
	const schemas = "/usr/share/ovn/ovn-ic-"
	err := debian.Need("ovsdb-server", "ovsdb-tool", "ovs-appctl", "ovn-ic", "ovn-ic-nbctl", "prlimit", schemas+"nb.ovsschema", schemas+"sb.ovsschema")
	if err == nil {
		err = prepare(i.StateDir, "ovn-ic-longest-name.ctl")
	}
	for _, db := range []string{"nb", "sb"} {
		if err == nil {
			err = createDB(ctx, i.file(db+".db"), schemas+db+".ovsschema")
		}
		if err == nil {
			err = i.ensure(ctx, "ic-"+db, "ovsdb-server", db+".ctl", "--remote=punix:"+i.file(db+".sock"), i.file(db+".db"))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("start OVN interconnection: %w", err)
	}
	return i, nil
}

func (i *Interconnection) ensure(ctx context.Context, name, program, control string, args ...string) error {
	return ensure(ctx, i.Dir, proc.Spec{
		Name: name,
		Path: "prlimit",
		Args: append(append([]string{"--as=" + strconv.Itoa(memory), program, "--unixctl=" + i.file(control)}, logging...), args...),
		Env:  environment(i.StateDir),
	}, answers(i.file(control)))
}

// Join puts the members' routers on a transit switch of their own, one after the other. Routes pass after Route.
func (i *Interconnection) Join(ctx context.Context, transit string, members ...Member) error {
	if _, err := run(ctx, nil, "ovn-ic-nbctl", "--db=unix:"+i.file("nb.sock"), "--may-exist", "ts-add", transit); err != nil {
		return err
	}
	for _, m := range members {
		if err := i.join(ctx, transit, m); err != nil {
			return fmt.Errorf("join %s of %s to %s: %w", m.Router, m.Central.Cluster, transit, err)
		}
	}
	for _, m := range members { // what the wait has not cured, this does
		if _, err := m.Gateway.ControllerCtl(ctx, "inc-engine/recompute"); err != nil {
			return err
		}
	}
	return nil
}

func (i *Interconnection) join(ctx context.Context, transit string, m Member) error {
	c := m.Central
	if _, err := c.NBCtl(ctx, "set", "NB_Global", ".", "name="+c.Cluster); err != nil {
		return err
	}
	if _, err := m.Gateway.VSCtl(ctx, "set", "Open_vSwitch", ".", "external_ids:ovn-is-interconn=true"); err != nil {
		return err
	}
	err := i.ensure(ctx, c.Cluster+"-ovn-ic", "ovn-ic", "ovn-ic-"+c.Cluster+".ctl", "--ovnnb-db="+c.NB(), "--ovnsb-db="+c.SB(),
		"--ic-nb-db=unix:"+i.file("nb.sock"), "--ic-sb-db=unix:"+i.file("sb.sock"))
	if err != nil {
		return err
	}
	if _, err := c.NBCtl(ctx, "--timeout=30", "wait-until", "Logical_Switch", transit); err != nil {
		return err
	}
	router, port := transit+"-"+c.Cluster, transit+"-"+c.Cluster+"-ts"
	_, err = c.NBCtl(ctx, "lrp-add", m.Router, router, macOf(m.Address.Addr()), m.Address.String(),
		"--", "lrp-set-gateway-chassis", router, m.Gateway.Chassis(), "1",
		"--", "lsp-add", transit, port, "--", "lsp-set-type", port, "router", "--", "lsp-set-addresses", port, "router",
		"--", "lsp-set-options", port, "router-port="+router)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-time.After(settle):
	}
	return context.Cause(ctx)
}

// learned is how ovn-ic marks its routes in a northbound database.
const learned = "ic-learned-route"

// Route lets ovn-ic exchange the members' routes, or take them back, and waits until that has happened. Static routes of a member to
// another one's prefixes must be gone before: ovn-ic advertises them too, and finds no end.
func (i *Interconnection) Route(ctx context.Context, on bool, members ...Member) error {
	for _, m := range members {
		if _, err := m.Central.NBCtl(ctx, "set", "NB_Global", ".", fmt.Sprintf("options:ic-route-adv=%t", on), "options:ic-route-learn=true"); err != nil {
			return err
		}
	}
	for _, m := range members {
		p, _ := i.Dir.Find(m.Central.Cluster + "-ovn-ic")
		err := proc.Wait(ctx, "routes of "+m.Central.Cluster, p, func(ctx context.Context) error {
			routes, err := m.Central.NBCtl(ctx, "--bare", "--columns=external_ids", "list", "Logical_Router_Static_Route")
			if err == nil && strings.Contains(routes, learned) != on {
				err = fmt.Errorf("routes by ovn-ic are wanted: %t; there are: %q", on, routes)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (i *Interconnection) file(name string) string { return filepath.Join(i.StateDir, name) }
