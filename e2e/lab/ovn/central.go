// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab/debian"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// TCP ports of the databases, as everywhere with OVN. They listen in the
// central's own network namespace.
const (
	NBPort = 6641
	SBPort = 6642
)

// stopGrace is how long a daemon may take to end. They need milliseconds.
const stopGrace = 5 * time.Second

// CentralOptions says where a cluster's central runs.
type CentralOptions struct {
	Dir      proc.Dir // Dir of the processes.
	Cluster  string   // Cluster prefixes the processes' names.
	NetNS    string   // NetNS where the databases listen on TCP; it must exist.
	StateDir string   // StateDir of databases and sockets, absolute and short.
}

// Central is the northbound and southbound database and northd of a cluster. It
// holds no state: any program may make one of the same options.
type Central struct{ CentralOptions }

// StartCentral starts what does not run yet, so it also repairs a central after
// one of its processes was killed. It returns when northd has translated.
func StartCentral(ctx context.Context, o CentralOptions) (*Central, error) {
	c := &Central{o}
	if err := c.start(ctx); err != nil {
		return nil, fmt.Errorf("start OVN central of %s: %w", o.Cluster, err)
	}
	return c, nil
}

func (c *Central) start(ctx context.Context) error {
	const schemas = "/usr/share/ovn/"
	err := debian.Need("ovsdb-server", "ovsdb-tool", "ovs-appctl", "ovn-northd", "ovn-nbctl", "ovn-sbctl",
		schemas+"ovn-nb.ovsschema", schemas+"ovn-sb.ovsschema")
	if err != nil {
		return err
	}
	if err := prepare(c.StateDir, "northd.ctl"); err != nil {
		return err
	}
	for _, db := range []struct {
		name string
		port int
	}{{"nb", NBPort}, {"sb", SBPort}} {
		if err := createDB(ctx, c.file(db.name+".db"), schemas+"ovn-"+db.name+".ovsschema"); err != nil {
			return err
		}
		if err := c.ensure(ctx, "ovn-"+db.name, "ovsdb-server", db.name+".ctl",
			"--remote=punix:"+c.file(db.name+".sock"),
			fmt.Sprintf("--remote=ptcp:%d:0.0.0.0", db.port), c.file(db.name+".db")); err != nil {
			return err
		}
	}
	err = c.ensure(ctx, "ovn-northd", "ovn-northd", "northd.ctl", "--ovnnb-db="+c.NB(), "--ovnsb-db="+c.SB())
	if err != nil {
		return err
	}
	_, err = c.NBCtl(ctx, "--wait=sb", "sync")
	return err
}

func (c *Central) ensure(ctx context.Context, name, program, control string, args ...string) error {
	return ensure(ctx, c.Dir, proc.Spec{
		Name:  c.Cluster + "-" + name,
		Path:  program,
		Args:  append(append([]string{"--unixctl=" + c.file(control)}, logging...), args...),
		Env:   environment(c.StateDir),
		NetNS: c.NetNS,
	}, answers(c.file(control)))
}

// NB is the endpoint of the northbound database.
func (c *Central) NB() string { return "unix:" + c.file("nb.sock") }

// SB is the endpoint of the southbound database.
func (c *Central) SB() string { return "unix:" + c.file("sb.sock") }

// NBCtl runs ovn-nbctl and gives what it prints.
func (c *Central) NBCtl(ctx context.Context, args ...string) (string, error) {
	return run(ctx, nil, "ovn-nbctl", append([]string{"--db=" + c.NB(), "--no-leader-only"}, args...)...)
}

// SBCtl runs ovn-sbctl and gives what it prints.
func (c *Central) SBCtl(ctx context.Context, args ...string) (string, error) {
	return run(ctx, nil, "ovn-sbctl", append([]string{"--db=" + c.SB(), "--no-leader-only"}, args...)...)
}

// Northd is the process of ovn-northd if it runs.
func (c *Central) Northd() (*proc.Process, bool) { return c.Dir.Find(c.Cluster + "-ovn-northd") }

// Stop ends the daemons; their databases stay in StateDir.
func (c *Central) Stop() error {
	return stop(c.Dir, c.Cluster+"-ovn-northd", c.Cluster+"-ovn-sb", c.Cluster+"-ovn-nb")
}

func (c *Central) file(name string) string { return filepath.Join(c.StateDir, name) }

// stop ends the named processes in that order.
func stop(dir proc.Dir, names ...string) error {
	var errs []error
	for _, name := range names {
		if p, ok := dir.Find(name); ok {
			errs = append(errs, p.Stop(stopGrace))
		}
	}
	return errors.Join(errs...)
}
