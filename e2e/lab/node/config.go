// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"text/template"

	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/e2e/lab/image"
)

// pluginDir is where Debian keeps the CNI plugins.
const pluginDir = "/usr/lib/cni"

// writeConfig writes all files that the node's programs read.
func (n *Node) writeConfig(ctx context.Context) error {
	containerd, err := n.containerdConfig()
	if err != nil {
		return err
	}
	conflist, err := n.conflist()
	if err != nil {
		return err
	}
	kubelet, err := json.MarshalIndent(n.kubeletConfig(), "", "  ")
	if err != nil {
		return err
	}
	proxy, err := n.proxyConfig()
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"ca.crt":                       n.CA,
		"containerd.toml":              containerd,
		"kubelet.json":                 kubelet,
		"kubelet.kubeconfig":           n.Kubeconfig,
		"kubelet.crt":                  n.ServingCert,
		"kubelet.key":                  n.ServingKey,
		"kube-proxy.json":              proxy,
		"kube-proxy.kubeconfig":        n.ProxyKubeconfig,
		"cni/net.d/10-bridge.conflist": conflist,
	}
	for name, data := range files {
		if err := write(n.file(name), data); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return n.linkPlugins()
}

// containerdTemplate is the configuration of containerd 1.6, version 2.
//
//   - state: in the box's own /run, so that it is gone after a restart of the
//     node, as containerd expects.
//   - restrict_oom_score_adj: runc may be without CAP_SYS_RESOURCE and then can't
//     lower a score below its own.
//   - netns_mounts_under_state_dir: pods' namespaces are bound in the box only.
var containerdTemplate = template.Must(template.New("containerd.toml").Parse(`version = 2
root = "{{.StateDir}}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{{.Socket}}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{{.StateDir}}/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{{.PauseRef}}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{{.CNIBinDir}}"
    conf_dir = "{{.CNIConfDir}}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{{.Snapshotter}}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`))

func (n *Node) containerdConfig() ([]byte, error) {
	var b bytes.Buffer
	err := containerdTemplate.Execute(&b, map[string]string{
		"StateDir": n.StateDir, "Socket": n.socket(), "PauseRef": image.PauseRef, "Snapshotter": snapshotter(n.StateDir),
		"CNIBinDir": cniBinDir, "CNIConfDir": cniConfDir,
	})
	return b.Bytes(), err
}

// snapshotter is overlayfs unless dir lies on an overlay itself, as in a
// container: an overlay takes no overlay as its upper layer.
func snapshotter(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil && st.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return "native"
	}
	return "overlayfs"
}

func (n *Node) socket() string { return n.file("containerd.sock") }

// kubeletConfig is a KubeletConfiguration, kubelet.config.k8s.io/v1beta1.
func (n *Node) kubeletConfig() map[string]any {
	return map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",
		// The machine: any cgroup version, no systemd, swap or not, and no
		// right to lower the kubelet's own OOM score.
		"failCgroupV1": false,
		"cgroupDriver": "cgroupfs",
		"cgroupRoot":   n.cgroup(),
		"failSwapOn":   false,
		"oomScoreAdj":  0,
		// The node's own files.
		"containerRuntimeEndpoint": "unix://" + n.socket(),
		"podLogsDir":               n.file("pod-logs"),
		"volumePluginDir":          n.file("volume-plugins"),
		// Tests end the same container many times.
		"featureGates":         map[string]bool{"KubeletCrashLoopBackOffMax": true},
		"crashLoopBackOff":     map[string]string{"maxContainerRestartPeriod": "1s"},
		"containerLogMaxSize":  "1Mi",
		"containerLogMaxFiles": 2,
		"resolvConf":           "", // pods have no DNS of the machine
		// Listeners: the address that the apiserver knows, else loopback.
		"address":            n.MgmtIP.Addr().String(),
		"healthzBindAddress": "127.0.0.1",
		"healthzPort":        healthzPort,
		"readOnlyPort":       0,
		"tlsCertFile":        n.file("kubelet.crt"),
		"tlsPrivateKeyFile":  n.file("kubelet.key"),
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true},
			"x509":      map[string]any{"clientCAFile": n.file("ca.crt")},
		},
		"authorization": map[string]any{"mode": "Webhook"},
		// A machine whose disk is nearly full still runs the lab.
		"evictionHard": map[string]string{
			"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%",
		},
		"imageGCHighThresholdPercent": 100, // never: images come from no registry
		"nodeStatusUpdateFrequency":   "5s",
		"syncFrequency":               "10s",
		"makeIPTablesUtilChains":      false,
	}
}

// conflist is the network of pods that nobody else gives one: a bridge of
// this node.
func (n *Node) conflist() ([]byte, error) {
	return json.MarshalIndent(map[string]any{"cniVersion": "1.0.0", "name": "bridge", "plugins": []map[string]any{{
		"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
		"ipam": map[string]any{
			"type": "host-local", "dataDir": n.file("cni/ipam"),
			"ranges": [][]map[string]string{{{"subnet": n.PodCIDR.Masked().String()}}},
			"routes": []map[string]string{{"dst": "0.0.0.0/0"}},
		},
	}}}, "", "  ")
}

// linkPlugins fills the node's plugin directory.
func (n *Node) linkPlugins() error {
	plugins, err := filepath.Glob(pluginDir + "/*")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(n.CNIBinDir(), 0o755); err != nil {
		return err
	}
	for _, plugin := range plugins {
		link := filepath.Join(n.CNIBinDir(), filepath.Base(plugin))
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(plugin, link); err != nil {
			return err
		}
	}
	return nil
}
