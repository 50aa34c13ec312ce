// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
	"github.com/tombolo-io/tombolo/e2e/lab/image"
	"github.com/tombolo-io/tombolo/e2e/lab/kube"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// Names that must be gone in the end.
const (
	cluster     = "nodetest"
	controlNS   = "tmb-nodetest-cp"
	nodeNS      = "tmb-nodetest-n1"
	managementA = "10.77.0.1/24"
	managementB = "10.77.0.2/24"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestNode runs a control plane and one node with one pod, and checks that
// nothing of it is left in the end, nor changed on this machine.
func TestNode(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dir := t.TempDir() // its removal fails on a mount that was left
	before := machine(t, dir)
	t.Cleanup(func() { // runs last but for the removal of dir
		if after := machine(t, dir); after != before {
			t.Errorf("the machine was\n%s\nand is now\n%s", before, after)
		}
	})

	begin := time.Now()
	lap := func(what string) {
		t.Logf("%-30s %v", what, time.Since(begin).Round(10*time.Millisecond))
		begin = time.Now()
	}
	control, client := startControlPlane(ctx, t, dir)
	lap("control plane")
	built, err := image.Build(ctx, filepath.Join(dir, "images"))
	must(t, err)
	lap("images built")

	options := nodeOptions(t, dir, control, built)
	n, err := Start(ctx, options)
	t.Cleanup(func() { must(t, (&Node{options}).Stop(context.Background())) })
	must(t, err)
	lap("containerd and kubelet run")
	must(t, n.WaitReady(ctx))
	lap("node Ready")

	pod := startPod(ctx, t, client, n.Name)
	lap("pod Running")
	out, err := execIn(ctx, control, pod.Name, "podtool", "addr")
	must(t, err)
	if got := strings.TrimSpace(out); got != pod.Status.PodIP || !options.PodCIDR.Contains(netip.MustParseAddr(got)) {
		t.Errorf("eth0 of the pod has %q, its status %q, want one of %s", got, pod.Status.PodIP, options.PodCIDR)
	}
	lap("exec")

	t.Run("Reach", func(t *testing.T) { testReach(ctx, t, n, control, pod) })
	if pids, err := n.PodProcesses(string(pod.UID)); err != nil || len(pids) != 1 {
		t.Errorf("the pod's processes are %v, %v; want podtool alone", pids, err)
	}
	t.Run("Box", func(t *testing.T) { testBox(ctx, t, n) })
	lap("reach, box")
	t.Run("KubeletAgain", func(t *testing.T) {
		kubelet, _ := n.Process("kubelet")
		must(t, kubelet.Kill())
		again, err := Start(ctx, options)
		must(t, err)
		must(t, again.WaitReady(ctx))
		// A new kubelet learns its old pods from the runtime in its first second.
		waitExec(ctx, t, control, pod.Name)
	})
	lap("kubelet again")
	t.Run("Reboot", func(t *testing.T) {
		must(t, n.Stop(ctx))
		lap("stop")
		_, err := Start(ctx, options)
		must(t, err)
		must(t, n.WaitReady(ctx))
		lap("start again, node Ready")
		waitExec(ctx, t, control, pod.Name)
		lap("pod again")
	})
	must(t, n.Stop(ctx))
	lap("stop")
}

func startControlPlane(ctx context.Context, t *testing.T, dir string) (*kube.ControlPlane, kubernetes.Interface) {
	t.Helper()
	set, err := binaries.Servers(ctx, t.Logf)
	must(t, err)
	own, err := binaries.Forward(ctx, filepath.Join(dir, "bin"), t.Logf)
	must(t, err)
	set["forward"] = own.Path("forward")

	procs := proc.Dir(filepath.Join(dir, "procs"))
	must(t, errors.Join(netns.Create(controlNS), netns.Create(nodeNS)))
	t.Cleanup(func() {
		must(t, errors.Join(procs.StopAll(20*time.Second), netns.Delete(nodeNS), netns.Delete(controlNS)))
	})
	must(t, netns.Veth(controlNS, "eth0", nodeNS, ManagementIf, 1500))
	must(t, netns.AddAddr(controlNS, "eth0", netip.MustParsePrefix(managementA)))
	control, err := kube.Start(ctx, kube.Config{
		Name: cluster, Dir: filepath.Join(dir, "cp"), Procs: procs, NetNS: controlNS,
		IP: netip.MustParsePrefix(managementA).Addr(), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
		Nodes: true, Kubeconfig: filepath.Join(dir, "kubeconfig"), Binaries: set,
	})
	must(t, err)
	config, err := control.REST()
	must(t, err)
	client, err := kubernetes.NewForConfig(config)
	must(t, err)
	return control, client
}

func nodeOptions(t *testing.T, dir string, control *kube.ControlPlane, built image.Built) Options {
	t.Helper()
	const name = "n1"
	ip := netip.MustParsePrefix(managementB)
	kubeconfig, err := control.ClientConfig("system:node:"+name, []string{"system:nodes"})
	must(t, err)
	proxy, err := control.ClientConfig("system:kube-proxy", nil)
	must(t, err)
	serving, err := control.CA().Server("system:node:"+name, ip.Addr().String())
	must(t, err)
	return Options{
		Dir: control.Procs, Cluster: cluster, Name: name, NetNS: nodeNS, StateDir: filepath.Join(dir, name),
		MgmtIP: ip, PodCIDR: netip.MustParsePrefix("10.244.1.0/24"), Labels: map[string]string{"tombolo.io/gateway": "true"},
		CA: control.CA().PEM(), Kubeconfig: kubeconfig, ServingCert: serving.Cert, ServingKey: serving.Key,
		ServiceCIDR: control.ServiceCIDR, ProxyKubeconfig: proxy, KubeProxy: control.Binaries.Path("kube-proxy"),
		Mounts:  map[string]string{"/run/own": filepath.Join(dir, "own")},
		Kubelet: control.Binaries.Path("kubelet"), Pause: built.Pause, PauseTar: built.PauseTar, Images: []string{built.PodtoolTar},
	}
}

func startPod(ctx context.Context, t *testing.T, client kubernetes.Interface, on string) *corev1.Pod {
	t.Helper()
	node, err := client.CoreV1().Nodes().Get(ctx, on, metav1.GetOptions{})
	must(t, err)
	if node.Labels["tombolo.io/gateway"] != "true" {
		t.Errorf("the Node's labels are %v", node.Labels)
	}
	pods := client.CoreV1().Pods("default")
	// No node name: the scheduler must find the node fit.
	_, err = pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "plain", Labels: map[string]string{"app": "plain"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "podtool", Image: image.PodtoolRef, ImagePullPolicy: corev1.PullNever,
		}}},
	}, metav1.CreateOptions{})
	must(t, err)
	var pod *corev1.Pod
	must(t, proc.Wait(ctx, "pod plain", nil, func(ctx context.Context) (err error) {
		if pod, err = pods.Get(ctx, "plain", metav1.GetOptions{}); err != nil {
			return err
		}
		if pod.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("phase %s, %+v", pod.Status.Phase, pod.Status.ContainerStatuses)
		}
		return nil
	}))
	return pod
}

func execIn(ctx context.Context, control *kube.ControlPlane, pod string, command ...string) (string, error) {
	// From the machine's own network: a WebSocket executor dials by itself.
	config, err := clientcmd.BuildConfigFromFlags("", control.Kubeconfig)
	if err != nil {
		return "", err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	request := client.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	return stream(ctx, config, request.URL().String())
}

func stream(ctx context.Context, config *rest.Config, url string) (string, error) {
	executor, err := remotecommand.NewWebSocketExecutor(config, "GET", url)
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr}); err != nil {
		return "", fmt.Errorf("%w: %s", err, stderr.String())
	}
	return stdout.String(), nil
}

func waitExec(ctx context.Context, t *testing.T, control *kube.ControlPlane, pod string) {
	t.Helper()
	must(t, proc.Wait(ctx, "exec in pod "+pod, nil, func(ctx context.Context) error {
		// An exec into a container that is just ending may never be answered.
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := execIn(ctx, control, pod, "podtool", "addr")
		return err
	}))
}

// testReach uses the pod's network and its tools: the echo server from the
// node, ICMP from the pod.
func testReach(ctx context.Context, t *testing.T, n *Node, control *kube.ControlPlane, pod *corev1.Pod) {
	gateway := n.PodCIDR.Masked().Addr().Next().String()
	out, err := execIn(ctx, control, pod.Name, "podtool", "ping", "-c", "3", "-i", "5ms", gateway)
	if err != nil || !strings.Contains(out, "sent=3 received=3 lost=0 ttl=64") {
		t.Errorf("ping from the pod to its gateway: %v: %s", err, out)
	}
	out, err = execIn(ctx, control, pod.Name, "podtool", "tcp", pod.Status.PodIP+":8080", "-bytes", "1M")
	if err != nil || !strings.Contains(out, "match=true") {
		t.Errorf("echo: %v: %s", err, out)
	}
	// Nothing but kube-proxy knows the addresses of Services. The node's way to one:
	service := control.ServiceCIDR.Masked().Addr().Next()
	must(t, kube.Healthy(n.NetNS, "https://"+netip.AddrPortFrom(service, 443).String()+"/livez")(ctx))
	own := startService(ctx, t, control) // and the pod's
	must(t, proc.Wait(ctx, "the pod's own Service", nil, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := execIn(ctx, control, pod.Name, "podtool", "tcp", "-timeout", "2s", "-bytes", "1M", own+":8080")
		return err
	}))
	if _, err := execIn(ctx, control, pod.Name, "podtool", "ping", "-c", "1", "-W", "20ms", "10.244.1.250"); err == nil {
		t.Error("ping of an address that nobody has is a success")
	}
}

// startService gives the pod's echo server an address of the Services' range.
func startService(ctx context.Context, t *testing.T, control *kube.ControlPlane) string {
	t.Helper()
	config, err := control.REST()
	must(t, err)
	client, err := kubernetes.NewForConfig(config)
	must(t, err)
	service, err := client.CoreV1().Services("default").Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "plain"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "plain"}, Ports: []corev1.ServicePort{{Port: 8080}}},
	}, metav1.CreateOptions{})
	must(t, err)
	return service.Spec.ClusterIP
}

// testBox checks what the node must not share with the machine.
func testBox(ctx context.Context, t *testing.T, n *Node) {
	cases := map[string]struct {
		reason  string
		command string
		want    string
	}{
		"PID":     {"PID 1 is the one that reaps", "cat /proc/1/comm", "pause"},
		"Setting": {"the kubelet's kernel settings are copies", "grep -c ' /proc/sys/kernel/panic ' /proc/self/mountinfo", "1"},
		"Mount":   {"what a node has at a fixed path may lie elsewhere", "touch /run/own/x && grep -c ' /run/own ' /proc/self/mountinfo", "1"},
		"Etc":     {"a node's /etc is the machine's, and more", "test -e /etc/passwd && ls /etc/cni/net.d", "10-bridge.conflist"},
		"Opt":     {"plugins are where runtimes look for them", "test -e /opt/cni/bin/bridge && echo yes", "yes"},
		"Cgroups": {"tools of the machine see its cgroups", "test -d /sys/fs/cgroup && echo yes", "yes"},
	}
	for _, dir := range append([]string{"/sys/fs/bpf"}, ownDirs...) {
		out, err := n.Exec(ctx, "stat", "-c", "%d", dir)
		must(t, err)
		if got := strings.TrimSpace(string(out)); got == device(t, dir) {
			t.Errorf("%s in the box is the machine's", dir)
		}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out, err := n.Exec(ctx, "sh", "-c", tc.command)
			if got := strings.TrimSpace(string(out)); err != nil || got != tc.want {
				t.Errorf("%s: %q, want %q, %v", tc.reason, got, tc.want, err)
			}
		})
	}
}

// device is the number of the file system that dir of this machine lies on.
func device(t *testing.T, dir string) string {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(dir, &st))
	return fmt.Sprint(st.Dev)
}

// machine describes what a node must leave as it was.
func machine(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, setting := range ownSettings {
		value, err := os.ReadFile("/proc/sys/" + setting)
		must(t, err)
		fmt.Fprintf(&b, "%s=%s", setting, value)
	}
	names, err := netns.List("tmb-" + cluster)
	must(t, err)
	roots, err := hierarchies()
	must(t, err)
	var cgroups []string
	for _, root := range roots {
		found, err := filepath.Glob(root + "/tmb-" + cluster + "*")
		must(t, err)
		cgroups = append(cgroups, found...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	fmt.Fprintf(&b, "namespaces=%v cgroups=%v mounts=%d", names, cgroups, bytes.Count(mounts, []byte(dir)))
	for _, dir := range []string{"/run/containerd", "/var/lib/kubelet", "/var/log/containers", "/var/lib/cni", "/usr/libexec/kubernetes", "/etc/cni", "/opt/cni"} {
		_, err := os.Stat(dir)
		fmt.Fprintf(&b, " %s=%t", dir, err == nil)
	}
	return b.String()
}
