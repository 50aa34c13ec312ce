// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tombolo-io/tombolo/apis/crds"
	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// TestControlPlane boots a cluster, uses it from the machine's own network, and
// takes its apiserver away and back.
func TestControlPlane(t *testing.T) {
	config := testConfig(t)
	begin := time.Now()
	c, err := Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	t.Logf("control plane up in %s", took.Round(100*time.Millisecond))
	if took > time.Minute {
		t.Errorf("the control plane took %s, want less than a minute", took)
	}

	user := clientset(t, c.Kubeconfig, nil)
	want := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Data: map[string]string{"a": "b"}}
	if _, err := user.CoreV1().ConfigMaps("default").Create(t.Context(), want, metav1.CreateOptions{}); err != nil {
		t.Fatalf("write through the forwarder: %v", err)
	}
	out, err := exec.CommandContext(t.Context(), c.Binaries.Path("kubectl"),
		"--kubeconfig", c.Kubeconfig, "get", "configmap", "kept", "-o", "jsonpath={.data.a}").CombinedOutput()
	if err != nil || string(out) != "b" {
		t.Errorf("kubectl with the user's kubeconfig: %s, %v", out, err)
	}

	t.Run("CRDs", func(t *testing.T) { testCRDs(t, c) })
	t.Run("Identities", func(t *testing.T) { testIdentities(t, c) })
	t.Run("APIServerAway", func(t *testing.T) { testAway(t, config, user) })
}

func testCRDs(t *testing.T, c *ControlPlane) {
	objects, err := Objects(crds.Files, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ApplyCRDs(t.Context(), objects...); err != nil {
		t.Fatal(err)
	}
}

// testIdentities tells the apiserver's view of each kind of kubeconfig.
func testIdentities(t *testing.T, c *ControlPlane) {
	cert, err := c.ClientConfig("jane", []string{"fleet", "admins"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.TokenConfig(t.Context(), "default", "default")
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason     string
		kubeconfig []byte
		want       string
	}{
		"Certificate": {"the common name is the user", cert, `User "jane"`},
		"Token":       {"a service account's token is that account", token, `User "system:serviceaccount:default:default"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kubeconfig")
			if err := os.WriteFile(path, tc.kubeconfig, 0o600); err != nil {
				t.Fatal(err)
			}
			client := clientset(t, path, func(config *rest.Config) { config.Dial = netns.DialContext(c.NetNS) })
			_, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want it forbidden for %s", tc.reason, err, tc.want)
			}
		})
	}
}

// testAway works on an opened control plane, as another program would.
func testAway(t *testing.T, config Config, user kubernetes.Interface) {
	c, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(APIServer); err != nil {
		t.Fatal(err)
	}
	// client-go tries a connection that is closed at once ten times, a second apart.
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := user.CoreV1().ConfigMaps("default").Get(short, "kept", metav1.GetOptions{}); err == nil {
		t.Error("the API answers while the apiserver is stopped")
	}
	begin := time.Now()
	if err := c.Start(t.Context(), APIServer); err != nil {
		t.Fatal(err)
	}
	t.Logf("apiserver back in %s", time.Since(begin).Round(100*time.Millisecond))
	got, err := user.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{})
	if err != nil || got.Data["a"] != "b" {
		t.Errorf("after the restart the object is %v, %v", got, err)
	}
	for _, component := range []Component{Etcd, ControllerManager, Scheduler, Forwarder} {
		if _, ok := c.Process(component); !ok {
			t.Errorf("%s did not survive the restart of the apiserver", component)
		}
	}
}

// testConfig makes a network namespace with one address and tells, at the end of
// the test, whether anything is left.
func testConfig(t *testing.T) Config {
	t.Helper()
	set, err := binaries.Servers(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	own, err := binaries.Forward(t.Context(), t.TempDir(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(set, own)

	dir, ns := t.TempDir(), fmt.Sprintf("tmb-kube%d", os.Getpid())
	config := Config{
		Name: "kt", Dir: filepath.Join(dir, "kt"), Procs: proc.Dir(dir), NetNS: ns,
		IP: netip.MustParseAddr("10.90.1.1"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
		Nodes: true, Kubeconfig: filepath.Join(dir, "kt.kubeconfig"), Binaries: set,
	}
	if err := netns.Create(ns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		processes := config.Procs.List()
		if err := errors.Join(config.Procs.StopAll(20*time.Second), netns.Delete(ns)); err != nil {
			t.Error(err)
		}
		for _, p := range processes {
			if p.Alive() {
				t.Errorf("%s (pid %d) is left", p.Name(), p.PID())
			}
		}
		if left, err := netns.List(ns); err != nil || len(left) > 0 {
			t.Errorf("namespaces %v are left, %v", left, err)
		}
	})
	// A bridge without ports stands for the fabric: only this namespace talks to itself here.
	if err := errors.Join(netns.Bridge(ns, "eth0"), netns.AddAddr(ns, "eth0", netip.PrefixFrom(config.IP, 16))); err != nil {
		t.Fatal(err)
	}
	return config
}

func clientset(t *testing.T, kubeconfig string, change func(*rest.Config)) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(config)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
