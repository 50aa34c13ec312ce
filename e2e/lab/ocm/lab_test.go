// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ocm

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
	"github.com/tombolo-io/tombolo/e2e/lab/kube"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// fleet are bare control planes that reach each other, by their names.
type fleet map[string]*kube.ControlPlane

// newFleet starts control planes, and tells at the end of the test whether
// anything is left of them.
func newFleet(t *testing.T, names ...string) fleet {
	t.Helper()
	set := programs(t)
	dir, prefix := t.TempDir(), fmt.Sprintf("tmb-ocm%d-", os.Getpid())
	procs := proc.Dir(dir)
	t.Cleanup(func() { remove(t, procs, prefix) })

	fabric := prefix + "fabric"
	if err := errors.Join(netns.Create(fabric), netns.Bridge(fabric, "mgmt")); err != nil {
		t.Fatal(err)
	}
	clusters := make([]*kube.ControlPlane, len(names))
	var g errgroup.Group
	for i, name := range names {
		config := kube.Config{
			Name: name, Dir: filepath.Join(dir, name), Procs: procs, NetNS: prefix + name,
			IP: netip.AddrFrom4([4]byte{10, 90, byte(i + 1), 1}), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
			Kubeconfig: filepath.Join(dir, name+".kubeconfig"), Binaries: set,
		}
		if err := errors.Join(
			netns.Create(config.NetNS),
			netns.Veth(fabric, name, config.NetNS, "mgmt0", 0),
			netns.SetMaster(fabric, name, "mgmt"),
			netns.AddAddr(config.NetNS, "mgmt0", netip.PrefixFrom(config.IP, 16)),
		); err != nil {
			t.Fatal(err)
		}
		g.Go(func() (err error) {
			clusters[i], err = kube.Start(t.Context(), config)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	f := fleet{}
	for i, name := range names {
		f[name] = clusters[i]
	}
	return f
}

func programs(t *testing.T) binaries.Set {
	t.Helper()
	set := binaries.Set{}
	for _, build := range []func() (binaries.Set, error){
		func() (binaries.Set, error) { return binaries.Servers(t.Context(), t.Logf) },
		func() (binaries.Set, error) { return binaries.OCM(t.Context(), t.Logf) },
		func() (binaries.Set, error) { return binaries.Forward(t.Context(), t.TempDir(), t.Logf) },
	} {
		built, err := build()
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(set, built)
	}
	return set
}

func remove(t *testing.T, procs proc.Dir, prefix string) {
	t.Helper()
	processes := procs.List()
	for _, p := range processes {
		if !p.Alive() {
			t.Errorf("%s has died; %s ends with:\n%s", p.Name(), p.Log(), p.Tail(20))
		}
	}
	var g errgroup.Group
	for _, p := range processes {
		g.Go(func() error { return p.Stop(2 * time.Second) })
	}
	errs := []error{g.Wait()}
	namespaces, err := netns.List(prefix)
	errs = append(errs, err)
	for _, ns := range namespaces {
		errs = append(errs, netns.Delete(ns))
	}
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	for _, p := range processes {
		if p.Alive() {
			t.Errorf("%s (pid %d) is left", p.Name(), p.PID())
		}
	}
}
