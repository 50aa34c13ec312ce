// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/cni/install"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
)

// TestStaticPod: the runtime names a static pod by the UID of its file, the apiserver by that of its mirror.
func TestStaticPod(t *testing.T) {
	plain, inVpc := pod("plain", ""), pod("static", "net1")
	for _, p := range []*corev1.Pod{plain, inVpc} {
		p.Annotations[corev1.MirrorPodAnnotationKey] = "hash-of-file"
	}
	inVpc.Annotations[networkv1alpha1.AnnotationNetwork] = annotation("pod-uid-1")
	f := newFixture(t, append(world(), plain, inVpc)...)
	f.patience = 3 * time.Second // for the one that waits in vain
	f.serve(t)
	if out := f.mustCall(t, "ADD", "s1", "plain", "hash-of-file"); !strings.Contains(out, "10.9.0.7/24") {
		t.Errorf("result is %s, want the delegate's", out)
	}
	f.mustCall(t, "ADD", "s2", "static", "hash-of-file")
	f.expect(t, "its port is the mirror's, which the controller knows", `eth0 of s2 is 10.0.0.2/24 0a:58:0a:00:00:02 via 10.0.0.1 mtu 1400, offload off true
port pod-uid-1 of uid-1
`)
	if out, err := f.call(t, "ADD", "s3", "static", "hash-of-former-file"); err == nil {
		t.Errorf("the mirror of another file was taken for this one's: %s", out)
	}
}

// TestDeleteWithoutVswitch: Open vSwitch is away. Pods that have nothing to do with it can be deleted, and of the others
// nothing is left behind.
func TestDeleteWithoutVswitch(t *testing.T) {
	plain, inVpc, unknown := pod("plain", ""), pod("in-vpc", "net1"), pod("unknown", "")
	plain.Status.PodIP, inVpc.Status.PodIP = "10.9.0.7", "10.0.0.2"
	inVpc.Annotations[networkv1alpha1.AnnotationNetwork] = annotation("pod-uid-1")
	f := newFixture(t, append(world(), plain, inVpc, unknown)...)
	f.node.away = errors.New("no database")
	f.serve(t)
	f.mustCall(t, "DEL", "s1", "plain", "uid-1")
	for _, p := range []struct{ name, uid, reason string }{
		{"in-vpc", "uid-1", "its port would stay"},
		{"unknown", "uid-1", "a pod without an address may have been plugged halfway"},
		{"plain", "uid-2", "another pod of that name says nothing"},
		{"gone", "uid-1", "nor does one that is not known"},
	} {
		if out, err := f.call(t, "DEL", "s1", p.name, p.uid); err == nil {
			t.Errorf("DEL of %s succeeded: %s: %s", p.name, p.reason, out)
		}
	}
	if got := f.delegated(t); got != "DEL s1\n" {
		t.Errorf("calls of the delegate are %q, want the one for the plain pod", got)
	}
}

// TestDeleteAfterLeave: the agent has left the node, and the runtime goes by the configuration of the time when it made the pods, as CRI-O does.
func TestDeleteAfterLeave(t *testing.T) {
	inVpc := pod("in-vpc", "net1")
	inVpc.Annotations[networkv1alpha1.AnnotationNetwork] = annotation("pod-uid-1")
	f := newFixture(t, append(world(), pod("plain", ""), inVpc)...)
	stop := f.serve(t)
	f.mustCall(t, "ADD", "s1", "in-vpc", "uid-1")
	f.mustCall(t, "ADD", "s2", "plain", "uid-1")
	stop()
	if out, err := f.call(t, "DEL", "s1", "in-vpc", "uid-1"); err == nil {
		t.Fatalf("DEL succeeded while the agent was only away: its port would stay: %s", out)
	}

	conf := t.TempDir()
	if err := os.WriteFile(filepath.Join(conf, install.ConfigName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	installer := &install.Installer{ConfDir: conf, BinDir: f.path, Remembers: func(context.Context) (bool, error) { return true, nil }}
	if err := installer.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out, err := f.call(t, "ADD", "s3", "plain", "uid-1"); err == nil {
		t.Errorf("ADD succeeded without an agent: %s", out)
	}
	f.mustCall(t, "DEL", "s1", "in-vpc", "uid-1")
	if host := naming.PodHostEnd("s1", "eth0"); f.node.exists(t, host) {
		t.Errorf("interface %s is left", host)
	}
	f.mustCall(t, "DEL", "s1", "in-vpc", "uid-1") // nothing is left to delete
	f.mustCall(t, "DEL", "s2", "plain", "uid-1")
	if diff := cmp.Diff("ADD s2\nDEL s1\nDEL s1\nDEL s2\n", f.delegated(t)); diff != "" {
		t.Errorf("calls of the delegate (-want +got):\n%s", diff)
	}

	f.serve(t) // an agent that answers is asked, whatever lies around
	f.node.away = errors.New("no database")
	if out, err := f.call(t, "DEL", "s1", "in-vpc", "uid-1"); err == nil {
		t.Errorf("DEL went past an agent that refuses it: %s", out)
	}
}

// TestSuccessor: an agent that ends after its successor has begun leaves it its socket.
func TestSuccessor(t *testing.T) {
	f := newFixture(t, append(world(), pod("plain", ""))...)
	stop := f.serve(t)
	before, err := os.Stat(f.socket)
	if err != nil {
		t.Fatal(err)
	}
	f.serve(t)
	clustertest.Eventually(t, "the successor's socket", func(context.Context) error {
		after, err := os.Stat(f.socket)
		if err == nil && os.SameFile(before, after) {
			err = os.ErrExist
		}
		return err
	})
	stop()
	f.mustCall(t, "ADD", "s1", "plain", "uid-1")
}

func TestGCNeedsTwoWitnesses(t *testing.T) {
	f := newFixture(t, append(world(), pod("p", "net1"))...)
	f.serve(t)
	valid, running, stale := naming.PodHostEnd("valid", "eth0"), naming.PodHostEnd("running", "eth0"), naming.PodHostEnd("stale", "eth0")
	staleToo := naming.PodHostEnd("stale-too", "eth0") // with a second pair
	for iface, id := range map[string]string{valid: "pod-a", running: "pod-uid-1", stale: "pod-b", naming.PodOVSEnd(staleToo): "pod-c", "tbo100": "gw-demo.v:n1"} {
		if err := f.node.AddPort(t.Context(), "br-int", ovn.VswitchPort{Interface: iface, IfaceID: id, Owner: "o"}); err != nil {
			t.Fatal(err)
		}
	}
	f.mustCall(t, "GC", "", "", "", `, "cni.dev/valid-attachments": [{"containerID": "valid", "ifname": "eth0"}]`)
	ports, err := f.node.Ports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, p := range ports {
		left = append(left, p.IfaceID)
	}
	slices.Sort(left)
	if diff := cmp.Diff([]string{"gw-demo.v:n1", "pod-a", "pod-uid-1"}, left); diff != "" {
		t.Errorf("ports after GC: only what neither the runtime nor a pod vouches for may go (-want +got):\n%s", diff)
	}
}
