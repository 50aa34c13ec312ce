// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/attachment"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/cni/server"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/lazy"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
)

// node is a node: a network namespace in which the plugin makes interfaces, with one more for each sandbox, and what the bridge
// holds. That package ovn does that in Open vSwitch is tested there.
type node struct {
	net       *linktest.Namespace
	sandboxes map[string]*linktest.Namespace

	mu    sync.Mutex
	ports map[string]ovn.VswitchPort
	// removed are the interfaces that were to go.
	removed []string
	away    error // why Open vSwitch can't be reached
}

func (n *node) Remove(name string) error {
	n.mu.Lock()
	n.removed = append(n.removed, name)
	n.mu.Unlock()
	return n.net.Do(func() error { return link.Remove(name) })
}

// exists tells whether the node has an interface of that name.
func (n *node) exists(t *testing.T, name string) (found bool) {
	t.Helper()
	err := n.net.Do(func() error {
		_, err := netlink.LinkByName(name)
		found = err == nil
		if _, none := errors.AsType[netlink.LinkNotFoundError](err); none {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// sandbox is where the runtime says that the sandbox's network namespace is.
func (n *node) sandbox(t *testing.T, command, name string) string {
	t.Helper()
	if n.sandboxes[name] == nil && command == "ADD" {
		n.sandboxes[name] = linktest.New(t, name)
	}
	if ns := n.sandboxes[name]; ns != nil {
		return ns.Path()
	}
	return "/run/netns/none-" + name
}

// describe says what a sandbox has.
func describe(ns *linktest.Namespace) (text string, err error) {
	err = ns.Do(func() error {
		eth, err := netlink.LinkByName("eth0")
		if _, none := errors.AsType[netlink.LinkNotFoundError](err); none {
			return nil
		}
		if err != nil {
			return err
		}
		addresses, err := netlink.AddrList(eth, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
		if err != nil {
			return err
		}
		features, err := exec.Command("ethtool", "-k", "eth0").Output()
		if err != nil {
			return err
		}
		for _, a := range addresses {
			text += fmt.Sprintf("is %s %s ", a.IPNet, eth.Attrs().HardwareAddr)
		}
		for _, r := range routes {
			text += fmt.Sprintf("via %s ", r.Gw)
		}
		text += fmt.Sprintf("mtu %d, offload off %t\n", eth.Attrs().MTU, strings.Contains(string(features), "tx-checksumming: off"))
		return nil
	})
	return text, err
}

func (n *node) AddPort(_ context.Context, _ string, p ovn.VswitchPort) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[p.Interface] = p
	return nil
}

func (n *node) DelPort(_ context.Context, _, iface string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.ports, iface)
	return nil
}

func (n *node) Ports(context.Context) ([]ovn.VswitchPort, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Values(n.ports)), nil
}

func (n *node) DatapathType(context.Context, string) (string, error) { return "netdev", nil }

func (n *node) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(n.sandboxes)) {
		switch text, err := describe(n.sandboxes[name]); {
		case err != nil:
			fmt.Fprintf(&b, "sandbox %s: %v\n", name, err)
		case text != "":
			fmt.Fprintf(&b, "eth0 of %s %s", name, text)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.ports)) {
		fmt.Fprintf(&b, "port %s of %s\n", n.ports[name].IfaceID, n.ports[name].Owner)
	}
	return b.String()
}

// delegatePlugin is a CNI plugin that notes its calls in the file $0.calls.
const delegatePlugin = `#!/bin/sh
cat > "$0.stdin"
echo "$CNI_COMMAND $CNI_CONTAINERID" >> "$0.calls"
if [ "$CNI_COMMAND" = ADD ]; then
  echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.9.0.7/24"}]}'
fi
`

// fixture is a node with its agent's server, and the real plugin beside a delegate.
type fixture struct {
	// patience of the server; 0 is its own, which is right wherever ADD is to succeed on a busy machine.
	patience time.Duration
	node     *node
	client   client.Client
	socket   string
	path     string // CNI_PATH
	// direct is the server's DirectPath, changes how often it has told of a change.
	direct  bool
	changes atomic.Int32
}

func newFixture(t *testing.T, objects ...client.Object) *fixture {
	t.Helper()
	f := &fixture{
		node:   &node{net: linktest.New(t, "node"), sandboxes: map[string]*linktest.Namespace{}, ports: map[string]ovn.VswitchPort{}},
		client: fake.NewClientBuilder().WithScheme(clustertest.Scheme(t)).WithObjects(objects...).Build(),
		socket: filepath.Join(t.TempDir(), "run", "cni.sock"), path: t.TempDir(),
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(f.path, "tombolo-cni"), "github.com/tombolo-io/tombolo/spoke-agent/cmd/tombolo-cni")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build tombolo-cni: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(f.path, "own-network"), []byte(delegatePlugin), 0o700); err != nil {
		t.Fatal(err)
	}
	return f
}

// serve runs the agent's end of the socket until the test ends, or stop is called.
func (f *fixture) serve(t *testing.T) (stop func()) {
	t.Helper()
	s := &server.Server{
		Socket: f.socket, Bridge: "br-int", Reader: f.client, Links: f.node, Log: testr.New(t), Patience: f.patience,
		DirectPath: f.direct, Changed: func() { f.changes.Add(1) },
		Vswitch: lazy.New(func(context.Context) (server.Vswitch, error) { return f.node, f.node.away }),
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with: %v", err)
		}
	})
	t.Cleanup(stop)
	clustertest.Eventually(t, "the socket", func(context.Context) error {
		info, err := os.Stat(f.socket)
		if err == nil && info.Mode().Perm() != 0o600 {
			err = fmt.Errorf("mode is %v: others could plug pods", info.Mode())
		}
		return err
	})
	return stop
}

// call runs the plugin as a container runtime does.
func (f *fixture) call(t *testing.T, command, sandbox, pod, uid string, more ...string) (string, error) {
	t.Helper()
	plugin := exec.CommandContext(t.Context(), "ip", "netns", "exec", f.node.net.Name, filepath.Join(f.path, "tombolo-cni"))
	version := "1.0.0"
	if command == "GC" {
		version = "1.1.0"
	}
	plugin.Stdin = strings.NewReader(fmt.Sprintf(`{"cniVersion": %q, "name": "net", "type": "tombolo-cni", "socket": %q,
		"delegate": {"type": "own-network", "bridge": "cni0"}%s}`, version, f.socket, strings.Join(more, "")))
	plugin.Env = []string{
		"CNI_COMMAND=" + command, "CNI_CONTAINERID=" + sandbox, "CNI_NETNS=" + f.node.sandbox(t, command, sandbox), "CNI_IFNAME=eth0", "CNI_PATH=" + f.path,
		fmt.Sprintf("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=%s;K8S_POD_UID=%s", pod, uid), "PATH=" + os.Getenv("PATH"),
	}
	var out bytes.Buffer
	plugin.Stdout = &out
	err := plugin.Run()
	return out.String(), err
}

func (f *fixture) mustCall(t *testing.T, command, sandbox, pod, uid string, more ...string) string {
	t.Helper()
	out, err := f.call(t, command, sandbox, pod, uid, more...)
	if err != nil {
		t.Fatalf("%s of %s: %v: %s", command, pod, err, out)
	}
	return out
}

func (f *fixture) delegated(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(f.path, "own-network.calls"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(raw)
}

func (f *fixture) expect(t *testing.T, reason, want string) {
	t.Helper()
	if diff := cmp.Diff(want, f.node.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", reason, diff)
	}
}

func pod(name, subnet string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name, UID: "uid-1", Annotations: map[string]string{}}}
	if subnet != "" {
		p.Annotations[networkv1alpha1.AnnotationSubnet] = subnet
	}
	return p
}

func annotation(port string) string {
	a := attachment.Attachment{Vpc: "demo/v", Subnet: "demo/net1", Port: port, MAC: "0a:58:0a:00:00:02", MTU: 1400}
	for _, err := range []error{a.Address.UnmarshalText([]byte("10.0.0.2/24")), a.Gateway.UnmarshalText([]byte("10.0.0.1"))} {
		if err != nil {
			panic(err)
		}
	}
	return a.String()
}

func world() []client.Object {
	return []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "demo"}},
		&spokev1alpha1.LocalRouter{
			ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: "demo.v"},
			Spec: spokev1alpha1.LocalRouterSpec{
				Vpc:     spokev1alpha1.VpcIdentity{Namespace: "demo", Name: "v"},
				Subnets: []spokev1alpha1.RouterSubnet{{Name: "net1", CIDR: "10.0.0.0/24", Gateway: "10.0.0.1"}},
			},
		},
	}
}

func TestPodOfVpc(t *testing.T) {
	p := pod("p", "net1")
	f := newFixture(t, append(world(), p)...)
	f.serve(t)
	go func() { // the controller is slower than the runtime
		time.Sleep(200 * time.Millisecond)
		p.Annotations[networkv1alpha1.AnnotationNetwork] = annotation("pod-uid-1")
		if err := f.client.Update(t.Context(), p); err != nil {
			t.Errorf("annotate: %v", err)
		}
	}()
	const plugged = `eth0 of s1 is 10.0.0.2/24 0a:58:0a:00:00:02 via 10.0.0.1 mtu 1400, offload off true
port pod-uid-1 of uid-1
`
	var result struct {
		CNIVersion string
		Interfaces []struct{ Name, Mac, Sandbox string }
		IPs        []struct {
			Address, Gateway string
			Interface        int
		}
		Routes []struct{ Dst, GW string }
	}
	if err := json.Unmarshal([]byte(f.mustCall(t, "ADD", "s1", "p", "uid-1")), &result); err != nil {
		t.Fatal(err)
	}
	if result.CNIVersion != "1.0.0" || len(result.Interfaces) != 2 || result.Interfaces[1].Name != "eth0" || result.Interfaces[1].Sandbox != f.node.sandboxes["s1"].Path() ||
		len(result.IPs) != 1 || result.IPs[0].Address != "10.0.0.2/24" || result.IPs[0].Gateway != "10.0.0.1" || result.IPs[0].Interface != 1 ||
		len(result.Routes) != 1 || result.Routes[0].Dst != "0.0.0.0/0" {
		t.Errorf("result is %+v", result)
	}
	f.expect(t, "ADD plugs", plugged)
	f.mustCall(t, "ADD", "s1", "p", "uid-1")
	f.expect(t, "ADD twice is ADD once", plugged)
	f.mustCall(t, "CHECK", "s1", "p", "uid-1", `, "prevResult": {"cniVersion": "1.0.0"}`)

	if err := f.client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	f.mustCall(t, "DEL", "s1", "p", "uid-1")
	f.expect(t, "DEL unplugs although the pod's object is gone", "")
	if got := f.delegated(t); got != "" {
		t.Errorf("the delegate was called for a pod of a Vpc: %s", got)
	}
	f.mustCall(t, "DEL", "s1", "p", "uid-1") // idempotent
}

// TestDirectPath: with Open vSwitch in userspace a new pod gets a second pair, one that is there keeps its single one, and
// both go with all that they have.
func TestDirectPath(t *testing.T) {
	p := pod("p", "net1")
	p.Annotations[networkv1alpha1.AnnotationNetwork] = annotation("pod-uid-1")
	f := newFixture(t, append(world(), p)...)
	stop := f.serve(t)
	f.mustCall(t, "ADD", "old", "p", "uid-1")
	stop()
	f.direct = true
	f.serve(t)
	for _, call := range []string{"ADD", "CHECK"} {
		f.mustCall(t, call, "old", "p", "uid-1", `, "prevResult": {"cniVersion": "1.0.0"}`)
	}
	before := f.changes.Load()
	f.mustCall(t, "ADD", "new", "p", "uid-1")
	if f.changes.Load() == before {
		t.Error("nobody was told of a new pod")
	}
	f.mustCall(t, "CHECK", "new", "p", "uid-1", `, "prevResult": {"cniVersion": "1.0.0"}`)
	former, host := naming.PodHostEnd("old", "eth0"), naming.PodHostEnd("new", "eth0")
	f.node.mu.Lock()
	_, formerPort := f.node.ports[former]
	_, port := f.node.ports[naming.PodOVSEnd(host)]
	f.node.mu.Unlock()
	for sandbox, want := range map[string]struct {
		port, second bool
		offload      string
	}{
		"old": {formerPort, false, "offload off true"},
		"new": {port, true, "offload off false"},
	} {
		has, err := describe(f.node.sandboxes[sandbox])
		if err != nil {
			t.Fatal(err)
		}
		second := f.node.exists(t, naming.PodSwitchEnd(naming.PodHostEnd(sandbox, "eth0")))
		if !strings.Contains(has, want.offload) || second != want.second || !want.port {
			t.Errorf("pod %s: its interface %q, a second pair %t, its port %t", sandbox, has, second, want.port)
		}
	}
	f.mustCall(t, "DEL", "new", "p", "uid-1")
	f.mustCall(t, "DEL", "old", "p", "uid-1")
	f.expect(t, "DEL unplugs both", "")
	if removed := f.node.removed; !slices.Contains(removed, naming.PodSwitchEnd(host)) || !slices.Contains(removed, host) {
		t.Errorf("removed were %v", removed)
	}
}

func TestPodOfNoVpc(t *testing.T) {
	f := newFixture(t, append(world(), pod("plain", ""))...)
	f.serve(t)
	if out := f.mustCall(t, "ADD", "s2", "plain", "uid-1"); !strings.Contains(out, "10.9.0.7/24") {
		t.Errorf("result is %s, want the delegate's", out)
	}
	raw, err := os.ReadFile(filepath.Join(f.path, "own-network.stdin"))
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"cniVersion": "1.0.0", "name": "net", "type": "own-network", "bridge": "cni0"}, config); diff != "" {
		t.Errorf("the delegate's configuration (-want +got):\n%s", diff)
	}
	f.mustCall(t, "CHECK", "s2", "plain", "uid-1", `, "prevResult": {"cniVersion": "1.0.0"}`)
	f.mustCall(t, "DEL", "s2", "plain", "uid-1")
	if diff := cmp.Diff("ADD s2\nCHECK s2\nDEL s2\n", f.delegated(t)); diff != "" {
		t.Errorf("calls of the delegate (-want +got):\n%s", diff)
	}
	f.expect(t, "the node is untouched", "")
}

func TestRefused(t *testing.T) {
	cases := map[string]struct {
		reason  string
		pod     func() *corev1.Pod
		uid     string
		want    []string
		noAgent bool
	}{
		"UnknownSubnet": {
			reason: "a pod that asks for a Vpc must not start on the open network",
			pod:    func() *corev1.Pod { return pod("p", "net9") }, uid: "uid-1",
			want: []string{networkv1alpha1.AnnotationSubnet, "net9", "name a Subnet"},
		},
		"NoAddress": {
			reason: "without an address the message says where to look",
			pod:    func() *corev1.Pod { return pod("p", "net1") }, uid: "uid-1",
			want: []string{"no address", "demo/net1", "LocalRouter tombolo-system/demo.v"},
		},
		"ForgedAnnotation": {
			reason: "who may edit a pod must not take another pod's port",
			pod: func() *corev1.Pod {
				p := pod("p", "net1")
				p.Annotations[networkv1alpha1.AnnotationNetwork] = annotation("pod-of-somebody-else")
				return p
			},
			uid: "uid-1", want: []string{"pod-of-somebody-else", "pod-uid-1"},
		},
		"OtherUID": {
			reason: "a new pod of an old name is another pod",
			pod:    func() *corev1.Pod { return pod("p", "net1") }, uid: "uid-2",
			want: []string{"uid-2"},
		},
		"NoAgent": {
			reason: "the error names the socket and the cure",
			pod:    func() *corev1.Pod { return pod("p", "net1") }, noAgent: true,
			want: []string{"cni.sock", "tombolo-agent node"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, append(world(), tc.pod())...)
			f.patience = 700 * time.Millisecond
			if !tc.noAgent {
				f.serve(t)
			}
			out, err := f.call(t, "ADD", "s1", "p", tc.uid)
			if err == nil {
				t.Fatalf("%s: ADD succeeded: %s", tc.reason, out)
			}
			for _, part := range tc.want {
				if !strings.Contains(out, part) {
					t.Errorf("%s: error %s does not say %q", tc.reason, out, part)
				}
			}
			f.expect(t, "nothing is plugged", "")
			if got := f.delegated(t); got != "" {
				t.Errorf("%s: the delegate was called: %s", tc.reason, got)
			}
		})
	}
}
