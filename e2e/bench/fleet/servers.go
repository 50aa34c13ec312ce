// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
	"github.com/tombolo-io/tombolo/e2e/lab/kube"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// namespace of the network that the servers are in: nothing else reaches them.
const namespace = "tmfleet-hub"

// address of the API server there, which may not be a loopback one (RFC 2544 has this range for benchmarks).
var address = netip.MustParsePrefix("198.19.255.1/32")

// ticks of the kernel's CPU accounting in a second (USER_HZ).
const ticks = 100

// servers are the processes that are measured.
type servers struct {
	procs  proc.Dir
	plane  *kube.ControlPlane
	hub    *proc.Process
	admin  client.Client
	config *rest.Config
}

// start brings up etcd, kube-apiserver and the hub, as the chart says: its CRDs, its account, its policies. What a crash left is removed first.
func start(ctx context.Context, o options) (*servers, error) {
	s := &servers{procs: proc.Dir(filepath.Join(o.dir, "run"))}
	s.stop()
	if err := os.RemoveAll(o.dir); err != nil {
		return s, err
	}
	if err := netns.Create(namespace); err != nil {
		return s, err
	}
	set, err := programs(ctx, o.dir)
	if err != nil {
		return s, err
	}
	progress("start etcd and kube-apiserver")
	config := kube.Config{
		Name: "hub", Dir: filepath.Join(o.dir, "hub"), Procs: s.procs, NetNS: namespace, IP: address.Addr(),
		ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"), Kubeconfig: filepath.Join(o.dir, "kubeconfig"), Binaries: set,
	}
	if err := errors.Join(netns.LinkUp(namespace, "lo"), netns.AddAddr(namespace, "lo", address)); err != nil {
		return s, err
	}
	if s.plane, err = kube.Start(ctx, config); err != nil {
		return s, err
	}
	if s.config, err = s.plane.REST(); err != nil {
		return s, err
	}
	s.config.QPS = -1
	all := scheme.Scheme
	if err := errors.Join(networkv1alpha1.AddToScheme(all), spokev1alpha1.AddToScheme(all), clusterv1.Install(all)); err != nil {
		return s, err
	}
	if err := s.install(ctx); err != nil {
		return s, err
	}
	if s.admin, err = client.New(s.config, client.Options{Scheme: all}); err != nil {
		return s, err
	}
	return s, s.startHub(ctx, set)
}

func programs(ctx context.Context, dir string) (binaries.Set, error) {
	set := binaries.Set{}
	for _, build := range []func() (binaries.Set, error){
		func() (binaries.Set, error) { return binaries.Servers(ctx, progress) },
		func() (binaries.Set, error) { return binaries.Forward(ctx, filepath.Join(dir, "bin"), progress) },
		func() (binaries.Set, error) { return binaries.Project(ctx, filepath.Join(dir, "bin"), progress) },
	} {
		built, err := build()
		if err != nil {
			return nil, err
		}
		maps.Copy(set, built)
	}
	return set, nil
}

// install applies the hub's chart, but for what runs pods.
func (s *servers) install(ctx context.Context) error {
	objects, err := charts.Render(charts.Hub, map[string]any{"ocmCRDs": map[string]any{"install": true}})
	if err != nil {
		return err
	}
	isCRD := func(o *unstructured.Unstructured) bool { return o.GetKind() == "CustomResourceDefinition" }
	crds := slices.DeleteFunc(slices.Clone(objects), func(o *unstructured.Unstructured) bool { return !isCRD(o) })
	rest := slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool { return isCRD(o) || o.GetKind() == "Deployment" })
	ns := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": charts.Namespace}}}
	if err := s.plane.Apply(ctx, ns); err != nil {
		return err
	}
	if err := s.plane.ApplyCRDs(ctx, crds...); err != nil {
		return err
	}
	return s.plane.Apply(ctx, rest...)
}

func (s *servers) startHub(ctx context.Context, set binaries.Set) error {
	kubeconfig, err := s.plane.TokenConfig(ctx, charts.Namespace, "tombolo-hub")
	if err != nil {
		return err
	}
	path, err := s.plane.WriteConfig("tombolo-hub", kubeconfig)
	if err != nil {
		return err
	}
	// One hub and no lease: nothing would start it again where a busy machine lets it lose one.
	s.hub, err = s.procs.Start(ctx, proc.Spec{
		Name: "tombolo-hub", Path: set.Path("tombolo-hub"), NetNS: namespace,
		Args: []string{"--kubeconfig=" + path, "--leader-elect=false", "--health-probe-bind-address=127.0.0.1:8081", "--metrics-bind-address=" + metricsAddress},
	})
	if err != nil {
		return err
	}
	return proc.Wait(ctx, "tombolo-hub", s.hub, kube.Healthy(namespace, "http://127.0.0.1:8081/readyz"))
}

// stop ends all processes and removes the network, also those of a run that died.
func (s *servers) stop() {
	if err := s.procs.StopAll(2 * time.Second); err != nil {
		progress("stop: %v", err)
	}
	if netns.Exists(namespace) {
		if err := netns.Delete(namespace); err != nil {
			progress("stop: %v", err)
		}
	}
}

// apiserver is the process of the API server.
func (s *servers) apiserver() (*proc.Process, error) {
	p, ok := s.plane.Process(kube.APIServer)
	if !ok {
		return nil, errors.New("the apiserver does not run")
	}
	return p, nil
}

// rss is the memory of a process in MiB, and peak the most that it had.
func rss(p *proc.Process) (float64, error)  { return memory(p, "VmRSS:") }
func peak(p *proc.Process) (float64, error) { return memory(p, "VmHWM:") }

func memory(p *proc.Process, field string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return float64(kib) / 1024, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", p.PID(), field)
}

// cpus are those of several processes.
func cpus(all ...*proc.Process) ([]time.Duration, error) {
	spent := make([]time.Duration, len(all))
	for i, p := range all {
		var err error
		if spent[i], err = cpu(p); err != nil {
			return nil, err
		}
	}
	return spent, nil
}

// cpu is the time that a process has used so far.
func cpu(p *proc.Process) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var sum int
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * time.Second / ticks, nil
}
