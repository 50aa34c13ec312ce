// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package node runs a real Kubernetes node of the lab: Debian's containerd and
// runc, and a kubelet, in a box on this machine.
//
// The box is one network, mount and pid namespace. Its PID 1 only reaps; its end
// is the end of containerd, every shim, every pod and every mount at once. What a
// node would share with the machine or with other nodes is its own: /run,
// /var/lib, /var/log and /sys/fs/bpf are empty file systems of the box, what is
// written to /etc and /opt stays in it, the kernel settings that a kubelet writes
// are copies, and all of its pods are below one cgroup.
//
// Who starts a node makes its network namespace and the interfaces in it first,
// and deletes the namespace afterwards.
package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab/debian"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// Interfaces of a node besides Open vSwitch's.
const (
	ManagementIf = "mgmt0" // ManagementIf leads to the apiserver.
	WANIf        = "wan0"  // WANIf leads to the gateways of other clusters.
)

// stopGrace is how long containerd and the kubelet may take to end.
const stopGrace = 5 * time.Second

// Options says what the node is. Byte fields hold PEM.
type Options struct {
	Dir      proc.Dir // Dir of the processes.
	Cluster  string   // Cluster and Name prefix the processes' names.
	Name     string   // Name of the Node in Kubernetes.
	NetNS    string   // NetNS of the node, with mgmt0 (and wan0) in it and up.
	StateDir string   // StateDir of all files, absolute, short, not below /run, /var/lib or /var/log.

	MgmtIP  netip.Prefix // MgmtIP is put on mgmt0; it is the node's InternalIP.
	WanIP   netip.Prefix // WanIP is put on wan0; the zero Prefix leaves wan0 alone.
	PodCIDR netip.Prefix // PodCIDR of pods outside of any Vpc, on a bridge of this node.
	Labels  map[string]string
	Mounts  map[string]string // Mounts are directories of the node, each with the one of this machine that holds what is in it.

	CA          []byte // CA of the cluster, which signs the apiserver's certificate as a client of the kubelet.
	Kubeconfig  []byte // Kubeconfig of system:node:<Name> in group system:nodes, with a numeric server address.
	ServingCert []byte // ServingCert is the kubelet's for MgmtIP, signed by what the apiserver trusts.
	ServingKey  []byte

	// ServiceCIDR and ProxyKubeconfig (of system:kube-proxy) are for KubeProxy, the built kube-proxy. Without it the
	// node knows no Services.
	ServiceCIDR     netip.Prefix
	ProxyKubeconfig []byte
	KubeProxy       string

	Kubelet  string   // Kubelet is the built kubelet.
	Pause    string   // Pause is the built e2e/lab/cmd/pause.
	PauseTar string   // PauseTar is its image, see package image.
	Images   []string // Images are further image tars to import.
}

// Node is a started node. It holds no state: any program may make one of the
// same options.
type Node struct{ Options }

// Start starts what does not run yet, so it also repairs a node after one of its
// processes was killed. It returns when containerd has the images and the kubelet
// runs; WaitReady waits for the Node.
func Start(ctx context.Context, o Options) (*Node, error) {
	n := &Node{o}
	steps := []func(context.Context) error{
		n.check, n.writeConfig, n.setUpNetwork, n.setUpCgroups,
		n.startBox, n.startContainerd, n.importImages, n.startKubelet, n.startProxy,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("start node %s of %s: %w", o.Name, o.Cluster, err)
		}
	}
	return n, nil
}

// maxStateDir leaves room for the longest socket of the kubelet in the 107 bytes
// that a socket's name may have, unix(7).
const maxStateDir = 107 - len("/kubelet/pod-resources/1234567890.sock")

func (n *Node) check(context.Context) error {
	if !filepath.IsAbs(n.StateDir) || len(n.StateDir) > maxStateDir {
		return fmt.Errorf("StateDir %q: want an absolute path of at most %d bytes, so that a socket of the kernel fits", n.StateDir, maxStateDir)
	}
	for _, path := range []string{n.StateDir, n.Kubelet, n.Pause, n.KubeProxy} {
		for _, own := range ownDirs {
			if strings.HasPrefix(path, own+"/") {
				return fmt.Errorf("%s: the node sees an empty %s; choose another place", path, own)
			}
		}
	}
	if !n.MgmtIP.Addr().Is4() || !n.PodCIDR.Addr().Is4() {
		return fmt.Errorf("MgmtIP %s, PodCIDR %s: want IPv4 with a prefix length", n.MgmtIP, n.PodCIDR)
	}
	for name, path := range map[string]string{"Kubelet": n.Kubelet, "Pause": n.Pause, "PauseTar": n.PauseTar} {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%s: %w; build it first", name, err)
		}
	}
	return debian.Need("nft", "containerd", "ctr", "containerd-shim-runc-v2", "runc", "unshare", "nsenter", "ip", pluginDir+"/bridge")
}

// setUpNetwork gives the interfaces their addresses, lets the node forward, and pods use its address: nobody else
// knows the way back to theirs.
func (n *Node) setUpNetwork(ctx context.Context) error {
	addresses := map[string]netip.Prefix{ManagementIf: n.MgmtIP}
	if n.WanIP.IsValid() {
		addresses[WANIf] = n.WanIP
	}
	for _, dev := range slices.Sorted(maps.Keys(addresses)) {
		if _, err := netns.Exec(ctx, n.NetNS, "ip", "address", "replace", addresses[dev].String(), "dev", dev); err != nil {
			return err
		}
		if err := netns.LinkUp(n.NetNS, dev); err != nil {
			return err
		}
	}
	if err := n.routeServices(ctx); err != nil {
		return err
	}
	if _, err := netns.Exec(ctx, n.NetNS, "nft", fmt.Sprintf(masquerade, n.PodCIDR.Masked(), ManagementIf)); err != nil {
		return err
	}
	return netns.Sysctl(n.NetNS, "net.ipv4.ip_forward", "1")
}

// masquerade is what a cluster's network does for pods that leave it.
const masquerade = `table ip lab
delete table ip lab
table ip lab {
	chain postrouting {
		type nat hook postrouting priority srcnat
		ip saddr %s oifname %s masquerade
	}
}`

func (n *Node) startContainerd(ctx context.Context) error {
	return n.ensure(ctx, "containerd", proc.Spec{Path: "containerd", Args: []string{"-c", n.file("containerd.toml")}},
		func(ctx context.Context) error {
			_, err := n.ctr(ctx, "version")
			return err
		})
}

func (n *Node) startKubelet(ctx context.Context) error {
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
		labels = append(labels, key+"="+n.Labels[key])
	}
	args := []string{
		"--config=" + n.file("kubelet.json"),
		"--kubeconfig=" + n.file("kubelet.kubeconfig"),
		"--hostname-override=" + n.Name,
		"--node-ip=" + n.MgmtIP.Addr().String(),
		"--root-dir=" + n.file("kubelet"),
		"--cert-dir=" + n.file("kubelet-pki"),
		"--node-labels=" + strings.Join(labels, ","),
	}
	return n.ensure(ctx, "kubelet", proc.Spec{Path: n.Kubelet, Args: args}, n.healthy)
}

// ensure starts a process in the box unless it runs, and waits until it is ready.
func (n *Node) ensure(ctx context.Context, name string, spec proc.Spec, ready func(context.Context) error) error {
	p, ok := n.Process(name)
	if !ok {
		spec.Name = n.process(name)
		var err error
		if p, err = n.StartProcess(ctx, spec); err != nil {
			return err
		}
	}
	return proc.Wait(ctx, n.process(name), p, ready)
}

// StartProcess runs a process in the box. Its Name is the caller's to choose and
// to keep unique in the node's Dir; it ends with the box.
func (n *Node) StartProcess(ctx context.Context, spec proc.Spec) (*proc.Process, error) {
	pid, err := n.BoxPID()
	if err != nil {
		return nil, err
	}
	spec.BoxPID = pid
	return n.Dir.Start(ctx, spec)
}

// Process gives "containerd", "kubelet" or "kube-proxy" if it runs.
func (n *Node) Process(name string) (*proc.Process, bool) { return n.Dir.Find(n.process(name)) }

func (n *Node) process(name string) string { return n.Cluster + "-" + n.Name + "-" + name }

// importImages imports every image that containerd does not have.
func (n *Node) importImages(ctx context.Context) error {
	for _, tar := range append([]string{n.PauseTar}, n.Images...) {
		if err := n.ImportImage(ctx, tar); err != nil {
			return err
		}
	}
	return nil
}

// ImportImage imports an image tar for pods to use. A name that is there already
// then stands for the new image.
func (n *Node) ImportImage(ctx context.Context, tar string) error {
	if _, err := n.ctr(ctx, "images", "import", "--digests=false", tar); err != nil {
		return fmt.Errorf("import image %s into node %s: %w", filepath.Base(tar), n.Name, err)
	}
	return nil
}

// ctr runs containerd's own client in the namespace of the kubelet's images.
func (n *Node) ctr(ctx context.Context, args ...string) ([]byte, error) {
	return n.Exec(ctx, append([]string{"ctr", "-a", n.socket(), "-n", "k8s.io"}, args...)...)
}

// Stop ends the node with all of its pods and removes its cgroups. Files stay in
// StateDir, interfaces and addresses in the network namespace.
func (n *Node) Stop(ctx context.Context) error {
	var errs []error
	// The kubelet first: it would only complain about what follows.
	for _, name := range []string{"kube-proxy", "kubelet", "containerd"} {
		if p, ok := n.Process(name); ok {
			errs = append(errs, p.Stop(stopGrace))
		}
	}
	errs = append(errs, n.stopBox(), n.removeCgroups(ctx))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop node %s of %s: %w", n.Name, n.Cluster, err)
	}
	return nil
}

func (n *Node) file(name ...string) string {
	return filepath.Join(append([]string{n.StateDir}, name...)...)
}

// CNIConfDir is, on this machine, the node's /etc/cni/net.d.
func (n *Node) CNIConfDir() string { return n.file("cni/net.d") }

// CNIBinDir is, on this machine, the node's /opt/cni/bin.
func (n *Node) CNIBinDir() string { return n.file("cni/bin") }
