// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// part is how one component is run and when it is ready.
type part struct {
	args  []string
	ready func(context.Context) error
}

// controllers are those that the lab's clusters need. With all of them the
// default service account comes 4 s later and the idle load is higher.
var controllers = []string{
	"namespace-controller",
	"garbage-collector-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
	"root-ca-certificate-publisher-controller",
	"certificatesigningrequest-signing-controller",
	"certificatesigningrequest-approving-controller",
	"certificatesigningrequest-cleaner-controller",
	"clusterrole-aggregation-controller", // OCM's roles are aggregated ones
	"endpointslice-controller",
	"deployment-controller",
	"replicaset-controller",
	"statefulset-controller",
	"daemonset-controller",
	"job-controller",
}

// nodeControllers are added for clusters with nodes: the first removes the
// not-ready taint that admission gives every new node.
var nodeControllers = []string{
	"node-lifecycle-controller",
	"taint-eviction-controller",
	"pod-garbage-collector-controller",
}

func (c *ControlPlane) parts() map[Component]part {
	pki := func(name string) string { return filepath.Join(c.Dir, "pki", name) }
	return map[Component]part{
		Etcd: {
			args: []string{
				"--name=" + c.Name,
				"--data-dir=" + filepath.Join(c.Dir, "etcd"),
				// The namespace's own loopback: nothing else reaches it.
				"--listen-client-urls=http://127.0.0.1:2379",
				"--advertise-client-urls=http://127.0.0.1:2379",
				"--listen-peer-urls=http://127.0.0.1:2380",
				"--initial-advertise-peer-urls=http://127.0.0.1:2380",
				"--initial-cluster=" + c.Name + "=http://127.0.0.1:2380",
				// The lab survives a crash of etcd, not of the machine.
				"--unsafe-no-fsync",
				"--log-level=warn",
			},
			ready: c.healthy("http://127.0.0.1:2379/health"),
		},
		APIServer: {
			args: []string{
				"--etcd-servers=http://127.0.0.1:2379",
				"--bind-address=0.0.0.0",
				"--secure-port=6443",
				"--advertise-address=" + c.IP.String(),
				"--tls-cert-file=" + pki("kube-apiserver.crt"),
				"--tls-private-key-file=" + pki("kube-apiserver.key"),
				"--client-ca-file=" + pki("ca.crt"),
				"--authorization-mode=Node,RBAC",
				"--enable-admission-plugins=NodeRestriction",
				"--allow-privileged=true",
				"--service-cluster-ip-range=" + c.ServiceCIDR.String(),
				"--service-account-issuer=https://kubernetes.default.svc",
				"--service-account-key-file=" + pki("sa.pub"),
				"--service-account-signing-key-file=" + pki("sa.key"),
				"--requestheader-client-ca-file=" + pki("ca.crt"),
				"--requestheader-allowed-names=front-proxy",
				"--requestheader-extra-headers-prefix=X-Remote-Extra-",
				"--requestheader-group-headers=X-Remote-Group",
				"--requestheader-username-headers=X-Remote-User",
				"--proxy-client-cert-file=" + pki("front-proxy.crt"),
				"--proxy-client-key-file=" + pki("front-proxy.key"),
				// Else logs and exec look up node names in DNS and hang 20 s.
				"--kubelet-preferred-address-types=InternalIP",
				"--kubelet-client-certificate=" + pki("kubelet-client.crt"),
				"--kubelet-client-key=" + pki("kubelet-client.key"),
				"--kubelet-certificate-authority=" + pki("ca.crt"),
			},
			ready: c.apiReady,
		},
		ControllerManager: {
			args: append(c.clientArgs("kube-controller-manager", "10257"),
				"--use-service-account-credentials",
				"--cluster-name="+c.Name,
				"--root-ca-file="+pki("ca.crt"),
				"--service-account-private-key-file="+pki("sa.key"),
				"--cluster-signing-cert-file="+pki("ca.crt"),
				"--cluster-signing-key-file="+pki("ca.key"),
				"--controllers="+strings.Join(c.controllers(), ","),
			),
			ready: c.defaultServiceAccount,
		},
		Scheduler: {
			args:  c.clientArgs("kube-scheduler", "10259"),
			ready: c.healthy("https://127.0.0.1:10259/healthz"),
		},
	}
}

func (c *ControlPlane) controllers() []string {
	if !c.Nodes {
		return controllers
	}
	return slices.Concat(controllers, nodeControllers)
}

// clientArgs are those that kube-controller-manager and kube-scheduler share.
func (c *ControlPlane) clientArgs(name, port string) []string {
	config := filepath.Join(c.Dir, name+".kubeconfig")
	return []string{
		"--kubeconfig=" + config,
		"--authentication-kubeconfig=" + config,
		"--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1",
		"--secure-port=" + port,
		"--leader-elect=false",
	}
}

func (c *ControlPlane) apiReady(ctx context.Context) error {
	client, err := c.clientset()
	if err != nil {
		return err
	}
	return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// defaultServiceAccount is the first thing a user misses when it is not there:
// pods of the namespace are refused until then.
func (c *ControlPlane) defaultServiceAccount(ctx context.Context) error {
	client, err := c.clientset()
	if err != nil {
		return err
	}
	_, err = client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
	return err
}

// healthy asks a health endpoint in the control plane's namespace.
func (c *ControlPlane) healthy(url string) func(context.Context) error {
	return Healthy(c.NetNS, url)
}

// Healthy gives a check that wants 200 from a URL with a numeric address in a
// network namespace. Certificates there are self-signed and tell nothing.
func Healthy(namespace, url string) func(context.Context) error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext:       netns.DialContext(namespace),
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true,
	}}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s: %s", url, answer.Status, body)
		}
		return err
	}
}
