// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab/kube"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// testOptions are those of a lab that no other lab of this machine meets.
func testOptions(t *testing.T) Options {
	t.Helper()
	o := Options{
		Dir: t.TempDir(), Hub: "labhub", Prefix: fmt.Sprintf("tmb-%d", os.Getpid()), Logf: t.Logf,
		Spokes: []SpokeOptions{{Name: "labone", Nodes: 1}, {Name: "labtwo"}}, Tombolo: true,
	}
	t.Cleanup(func() {
		if err := Down(context.WithoutCancel(t.Context()), o.Dir); err != nil {
			t.Error(err)
		}
		nothingIsLeft(t, o)
	})
	return o
}

func nothingIsLeft(t *testing.T, o Options) {
	t.Helper()
	if left, err := netns.List(o.Prefix + "-"); err != nil || len(left) > 0 {
		t.Errorf("network namespaces %v are left, %v", left, err)
	}
	if _, err := os.Stat(o.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", o.Dir, err)
	}
	if left, err := filepath.Glob("/sys/fs/cgroup/*/tmb-lab*"); err != nil || len(left) > 0 {
		t.Errorf("cgroups %v are left, %v", left, err)
	}
	// Whatever the lab runs has its directory in its arguments.
	if out, err := exec.Command("pgrep", "-f", o.Dir).Output(); err == nil {
		t.Errorf("processes %q are left", out)
	}
}

// TestLife brings a lab up, uses it as another program would, takes it over as
// after a crash, and takes it down.
func TestLife(t *testing.T) {
	o := testOptions(t)
	first, err := Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	before := first.Procs.List()
	t.Run("Use", func(t *testing.T) { testUse(t, o) })
	t.Run("NodeComesBack", func(t *testing.T) { testNodeComesBack(t, o) })

	// A program that crashed leaves all of this; the next Up starts afresh.
	if _, err := Up(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, p := range before {
		if p.Alive() {
			t.Errorf("%s of the earlier lab is alive", p.Name())
		}
	}
	t.Run("AnotherLabIsRefused", func(t *testing.T) { testAnotherLab(t, o) })
}

func testUse(t *testing.T, o Options) {
	l, err := Load(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range l.Procs.List() {
		if !p.Alive() {
			t.Errorf("%s has died; %s ends with:\n%s", p.Name(), p.Log(), p.Tail(20))
		}
	}
	cases := map[string]struct {
		cluster, want string
		args          []string
	}{
		"FleetOnTheHub":  {"labhub", "labone labtwo", []string{"get", "managedclusters", "-o", "jsonpath={.items[*].metadata.name}"}},
		"SelectByLabel":  {"labhub", "labone", []string{"get", "managedclusters", "-l", "name=labone", "-o", "jsonpath={.items[*].metadata.name}"}},
		"VpcsOnTheHub":   {"labhub", "", []string{"get", "vpcs,subnets,vpcpeerings,ippools", "-A", "-o", "name"}},
		"ClusterOnHub":   {"labhub", "interconnectgateway.spoke.tombolo.io/labtwo", []string{"get", "localrouters,interconnectgateways", "-n", "labtwo", "-o", "name"}},
		"CopiesOnSpoke":  {"labtwo", "", []string{"get", "localrouters,interconnectgateways", "-n", "tombolo-system", "-o", "name"}},
		"NodeOnSpoke":    {"labone", "n1 10.90.2.11 True", []string{"get", "nodes", "-o", `jsonpath={.items[*].metadata.name} {.items[*].status.addresses[0].address} {.items[*].status.conditions[?(@.type=="Ready")].status}`}},
		"HubInPods":      {"labhub", "true true", []string{"get", "pods", "-n", "tombolo-system", "-o", "jsonpath={.items[*].status.containerStatuses[*].ready}"}},
		"AgentInPods":    {"labone", "true true true", []string{"get", "pods", "-n", "tombolo-system", "-o", "jsonpath={.items[*].status.containerStatuses[*].ready}"}},
		"GatewayOnSpoke": {"labone", "node/n1", []string{"get", "nodes", "-l", "tombolo.io/gateway=true", "-o", "name"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := l.Cluster(tc.cluster)
			if err != nil {
				t.Fatal(err)
			}
			// From the machine's own network, by the forwarder.
			cmd := exec.CommandContext(t.Context(), l.Binaries.Path("kubectl"), append([]string{"--kubeconfig", c.Kubeconfig}, tc.args...)...)
			out, err := cmd.CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != tc.want {
				t.Errorf("kubectl %s on %s: %q, %v; want %q", strings.Join(tc.args, " "), tc.cluster, got, err, tc.want)
			}
		})
	}
}

func testNodeComesBack(t *testing.T, o Options) {
	l, err := Load(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Cluster("labone")
	if err != nil {
		t.Fatal(err)
	}
	n, err := c.Node("n1")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := n.Process("kubelet"); ok {
		t.Fatal("the kubelet outlived its node")
	}
	if err := l.StartNode(t.Context(), "labone", "n1"); err != nil {
		t.Fatal(err)
	}
	if err := l.AgentsReady(t.Context()); err != nil {
		t.Error(err)
	}
}

// testAnotherLab must not take or harm what belongs to a lab that is up.
func testAnotherLab(t *testing.T, o Options) {
	other := o
	other.Dir = filepath.Join(t.TempDir(), "other")
	if _, err := Up(t.Context(), other); err == nil || !strings.Contains(err.Error(), "choose another prefix") {
		t.Errorf("a second lab of the same prefix: %v, want it refused", err)
	}
	busy := t.TempDir()
	if err := os.WriteFile(filepath.Join(busy, "thesis.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	other.Dir, other.Prefix = busy, o.Prefix+"x"
	if _, err := Up(t.Context(), other); err == nil || !strings.Contains(err.Error(), "thesis.txt") {
		t.Errorf("a lab in a directory with other files: %v, want it refused", err)
	}
	l, err := Load(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range o.namespaces() {
		if !netns.Exists(ns) {
			t.Errorf("namespace %s of the lab is gone", ns)
		}
	}
	for _, p := range l.Procs.List() {
		if !p.Alive() {
			t.Errorf("%s of the lab has died", p.Name())
		}
	}
}

// TestAFailedStartKeepsItsLogs breaks one component and looks at what is said and left.
func TestAFailedStartKeepsItsLogs(t *testing.T) {
	assets := t.TempDir()
	script := "#!/bin/sh\necho etcd: no space on device >&2; exit 1\n"
	if err := os.WriteFile(filepath.Join(assets, "etcd"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBEBUILDER_ASSETS", assets)
	o := testOptions(t)
	o.Spokes, o.Tombolo = nil, false
	begin := time.Now()
	_, err := Up(t.Context(), o)
	log := filepath.Join(o.Dir, "log", "labhub-etcd.log")
	for _, want := range []string{"labhub-etcd", "exit status 1", log, "no space on device"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not have %q: %v", want, err)
		}
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("a component that ends at once was noticed after %s", took)
	}
	if _, err := os.Stat(log); err != nil {
		t.Errorf("the log is gone: %v", err)
	}
	for _, component := range []kube.Component{kube.Etcd, kube.APIServer, kube.Forwarder} {
		if p, ok := proc.Dir(o.Dir).Find("labhub-" + string(component)); ok {
			t.Errorf("%s is left with pid %d", component, p.PID())
		}
	}
	if left, err := netns.List(o.Prefix + "-"); err != nil || len(left) > 0 {
		t.Errorf("network namespaces %v are left, %v", left, err)
	}
}

func TestDownOfNothing(t *testing.T) {
	dir := t.TempDir()
	if err := Down(t.Context(), dir); err != nil {
		t.Errorf("Down of an empty directory: %v", err)
	}
	if _, err := Load(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of an empty directory: %v, want fs.ErrNotExist", err)
	}
}
