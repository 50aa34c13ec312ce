// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/cni/install"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/options"
)

func leavingOf(m ctrl.Manager) *leave.Reader {
	return &leave.Reader{Client: m.GetClient(), Live: m.GetAPIReader()}
}

// keysDir is where the node's private key is.
func keysDir(o options.Node) string { return filepath.Join(o.StateDir, "wireguard") }

// installer installs the CNI plugin that is beside this program, and says on the Node what keeps it from that.
func installer(m ctrl.Manager, o options.Node, leaving *leave.Reader) *install.Installer {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: o.NodeName, UID: types.UID(o.NodeName)}} // as the kubelet names it in events
	recorder := m.GetEventRecorder("tombolo-agent")
	return &install.Installer{
		ConfDir: o.CNIConfDir, BinDir: o.CNIBinDir, Plugin: pluginBeside(os.Executable), Socket: o.CNISocket, Log: m.GetLogger().WithName("cni-install"),
		Leaving: func(ctx context.Context) (bool, error) {
			s, err := leaving.State(ctx)
			return s.Clean, err
		},
		Remembers: func(ctx context.Context) (bool, error) {
			found := &corev1.Node{}
			if err := m.GetClient().Get(ctx, types.NamespacedName{Name: o.NodeName}, found); err != nil {
				return false, fmt.Errorf("read container runtime of Node %s: %w", o.NodeName, err)
			}
			return remembers(found.Status.NodeInfo.ContainerRuntimeVersion), nil
		},
		Tell: func(problem string) {
			if problem == "" {
				recorder.Eventf(node, nil, corev1.EventTypeNormal, "CNIInstalled", "InstallCNI", "tombolo-cni is installed before the cluster's own plugin")
				return
			}
			recorder.Eventf(node, nil, corev1.EventTypeWarning, "CNINotInstalled", "InstallCNI", "%s", problem[:min(len(problem), maxNote)])
		},
	}
}

// remembers is true for a container runtime that may tear a pod down by the CNI configuration of the time when it set it up, as CRI-O does.
// containerd goes by the configuration that there is.
func remembers(runtime string) bool { return !strings.HasPrefix(runtime, "containerd://") }

// maxNote is how long the note of an event may be (events.k8s.io/v1: 1 kB).
const maxNote = 1024

// pluginBeside is the plugin's path: image and builds have it in the agent's own directory.
func pluginBeside(executable func() (string, error)) string {
	self, err := executable()
	if err != nil {
		return filepath.Join("/usr/bin", install.PluginName)
	}
	return filepath.Join(filepath.Dir(self), install.PluginName)
}
