// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/apis/version"
	"github.com/tombolo-io/tombolo/charts"
)

// TestAgentJoins is a cluster's whole way in: the real agent, with a cluster of its own, redeems what `kubectl tombolo join` gave, and reports.
func TestAgentJoins(t *testing.T) {
	newFleet(t, "west")
	startSigner(t)
	startHub(t)
	spoke := newSpoke(t)
	b := mustInvite(t, "east")
	agent := startAgent(t, spoke, b)
	begin := time.Now()
	var id string
	within(t, time.Minute, "the agent reports to the hub", func() error {
		g, err := get(t, &spokev1alpha1.InterconnectGateway{}, "east", "east")
		if err != nil {
			return err
		}
		id = g.Status.ClusterID
		if id == "" || g.Status.AgentVersion != version.Version || meta.FindStatusCondition(g.Status.Conditions, spokev1alpha1.ConditionVersionSupported) == nil {
			return fmt.Errorf("status is %+v", g.Status)
		}
		return nil
	})
	t.Logf("from the agent's start to its first report: %s", time.Since(begin).Round(10*time.Millisecond))

	secret := &corev1.Secret{}
	if err := spoke.client.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: "tombolo-hub-kubeconfig"}, secret); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"kubeconfig", "tls.crt", "tls.key", "cluster-name", "agent-name"} {
		if len(secret.Data[key]) == 0 {
			t.Errorf("the Secret has no %s", key)
		}
	}
	if len(secret.Data) != 5 {
		t.Errorf("the Secret has %d keys, want 5", len(secret.Data))
	}
	lease := &coordinationv1.Lease{}
	within(t, time.Minute, "it renews the Lease that the hub has made", func() error {
		l, err := get(t, &coordinationv1.Lease{}, "east", spokev1alpha1.LeaseName)
		if err == nil && (l.Spec.RenewTime == nil || *l.Spec.HolderIdentity != id) {
			err = fmt.Errorf("it is %+v", l.Spec)
		}
		lease = l
		return err
	})
	if gateway, err := get(t, &spokev1alpha1.InterconnectGateway{}, "east", "east"); err != nil || len(lease.OwnerReferences) != 1 || lease.OwnerReferences[0].UID != gateway.UID {
		t.Errorf("the Lease belongs to %+v, not to the InterconnectGateway: %v", lease.OwnerReferences, err)
	}
	// The same Role as of a cluster that OCM registered.
	for _, cluster := range []string{"east", "west"} {
		binding, err := get(t, &rbacv1.RoleBinding{}, cluster, charts.SpokeAgent)
		if err != nil || binding.RoleRef.Name != "tombolo-spoke-agent" || binding.Subjects[0].Name != spokev1alpha1.AgentGroup(cluster) {
			t.Errorf("the agent of %s is bound by %+v, %v", cluster, binding, err)
		}
	}

	// An agent that starts anew has its identity, although its token was redeemed.
	agent.kill()
	uid := secret.UID
	if err := admin.DeleteAllOf(t.Context(), &corev1.ServiceAccount{}, client.InNamespace("tombolo-join")); err != nil {
		t.Fatal(err)
	}
	gateway, err := get(t, &spokev1alpha1.InterconnectGateway{}, "east", "east")
	if err != nil {
		t.Fatal(err)
	}
	gateway.Status.AgentVersion = ""
	if err := admin.Status().Update(t.Context(), gateway); err != nil {
		t.Fatal(err)
	}
	startAgent(t, spoke, b)
	within(t, time.Minute, "it reports again", func() error {
		g, err := get(t, &spokev1alpha1.InterconnectGateway{}, "east", "east")
		if err == nil && (g.Status.AgentVersion == "" || g.Status.ClusterID != id) {
			err = errors.New("not yet")
		}
		return err
	})
	within(t, time.Minute, "the hub sees that it is alive", func() error {
		g, err := get(t, &spokev1alpha1.InterconnectGateway{}, "east", "east")
		if err == nil && !meta.IsStatusConditionTrue(g.Status.Conditions, spokev1alpha1.ConditionAgentAlive) {
			err = fmt.Errorf("conditions are %+v", g.Status.Conditions)
		}
		return err
	})
	if err := spoke.client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil || secret.UID != uid {
		t.Errorf("the Secret was made anew: %v", err)
	}
}

// spokeCluster is a real apiserver of another cluster, with what the agent's chart says about permissions.
type spokeCluster struct {
	client client.Client
	// kubeconfig of the agent's service account.
	kubeconfig string
}

func newSpoke(t *testing.T) spokeCluster {
	t.Helper()
	definitions, err := ourCRDs()
	if err != nil {
		t.Fatal(err)
	}
	environment := &envtest.Environment{CRDs: definitions}
	config, err := environment.Start()
	if err != nil {
		t.Fatalf("start kube-apiserver of the spoke: %v", err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Errorf("stop kube-apiserver of the spoke: %v", err)
		}
	})
	c := connect(t, config)
	if err := installChart(t.Context(), c, charts.SpokeAgent); err != nil {
		t.Fatal(err)
	}
	account, err := environment.AddUser(envtest.User{Name: "system:serviceaccount:" + systemNamespace + ":tombolo-agent-controller", Groups: []string{"system:serviceaccounts"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := account.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	return spokeCluster{c, writeKubeconfig(t, kubeconfig)}
}

// process of the agent.
type process struct {
	cancel context.CancelFunc
	ended  chan struct{}
}

func (p process) kill() {
	p.cancel()
	<-p.ended
}

// buildAgent builds the real agent, once.
var buildAgent = sync.OnceValues(func() (string, error) {
	program := filepath.Join(apiServer.ControlPlane.GetAPIServer().CertDir, "tombolo-agent") // goes with the API server
	if out, err := exec.Command("go", "build", "-o", program, "../../../spoke-agent/cmd/tombolo-agent").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the agent: %w\n%s", err, out)
	}
	return program, nil
})

// startAgent runs the agent with what the chart makes of the values.
func startAgent(t *testing.T, spoke spokeCluster, b ticket) process {
	t.Helper()
	dir := t.TempDir()
	program, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	bootstrap := clientcmdapi.NewConfig()
	v := b.Values.Hub.Bootstrap
	bootstrap.Clusters["hub"] = &clientcmdapi.Cluster{Server: v.Server, CertificateAuthorityData: v.CAData}
	bootstrap.AuthInfos["token"] = &clientcmdapi.AuthInfo{Token: v.Token}
	bootstrap.Contexts["hub"] = &clientcmdapi.Context{Cluster: "hub", AuthInfo: "token"}
	bootstrap.CurrentContext = "hub"
	file, log := filepath.Join(dir, "bootstrap"), filepath.Join(dir, "log")
	if err := clientcmd.WriteToFile(*bootstrap, file); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, program, "controller", "--kubeconfig="+spoke.kubeconfig, "--cluster-name="+b.Values.ClusterName, "--leader-elect=false",
		"--hub-secret=tombolo-hub-kubeconfig", "--hub-bootstrap="+file, "--nb=unix:"+filepath.Join(dir, "none.sock"), "--metrics-bind-address=0", "--health-probe-bind-address=0")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the agent: %v", err)
	}
	p := process{cancel, make(chan struct{})}
	go func() {
		_ = cmd.Wait() // it is killed
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if text, err := os.ReadFile(log); err == nil && t.Failed() {
			t.Logf("log of the agent:\n%s", text)
		}
	})
	return p
}
