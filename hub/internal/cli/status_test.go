// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/diagnose"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/status"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

// fleet makes two clusters with an agent each, a Vpc in each, and a peering that is not verified.
func fleet(t *testing.T) {
	t.Helper()
	hub.namespace(t, "shop")
	for _, name := range []string{"east", "west"} {
		hub.namespace(t, name)
		hub.create(t, &clusterv1.ManagedCluster{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{facts.AnnotationJoinedBy: facts.JoinedByToken}},
			Spec:       clusterv1.ManagedClusterSpec{HubAcceptsClient: true},
		}, gateway(name, name), &coordinationv1.Lease{ObjectMeta: meta(name, facts.ClusterLease), Spec: coordinationv1.LeaseSpec{RenewTime: new(metav1.NowMicro())}})
		hub.create(t, vpc("vpc-"+name, name))
	}
	hub.create(t, &networkv1alpha1.VpcPeering{
		ObjectMeta: meta("shop", "one-two"),
		Spec:       networkv1alpha1.VpcPeeringSpec{Vpc: "vpc-east", PeerVpc: networkv1alpha1.VpcReference{Name: "vpc-west"}},
		Status: networkv1alpha1.VpcPeeringStatus{State: networkv1alpha1.StateActive, Conditions: []metav1.Condition{
			condition("Accepted", "True", "Accepted", ""), condition("Programmed", "True", "Programmed", ""),
			condition("Verified", "False", "ProbeFailed", "no answer from west"),
		}},
	})
}

func vpc(name, cluster string) *networkv1alpha1.Vpc {
	return &networkv1alpha1.Vpc{
		ObjectMeta: meta("shop", name),
		Spec:       networkv1alpha1.VpcSpec{Clusters: networkv1alpha1.ClusterSelection{Names: []networkv1alpha1.ClusterName{networkv1alpha1.ClusterName(cluster)}}},
		Status: networkv1alpha1.VpcStatus{VNI: 100, Clusters: []networkv1alpha1.VpcCluster{{Name: networkv1alpha1.ClusterName(cluster), Programmed: true}},
			Conditions: []metav1.Condition{condition("Accepted", "True", "Accepted", ""), condition("Programmed", "True", "Programmed", "")}},
	}
}

func gateway(namespace, cluster string) *spokev1alpha1.InterconnectGateway {
	return &spokev1alpha1.InterconnectGateway{
		ObjectMeta: meta(namespace, cluster),
		Spec: spokev1alpha1.InterconnectGatewaySpec{Cluster: cluster, Encapsulation: "VXLAN", Port: 4789, HubVersion: "0.2.0",
			Endpoints: []spokev1alpha1.GatewayEndpoint{{Node: cluster + "-1", Address: "192.0.2.1"}}},
		Status: spokev1alpha1.InterconnectGatewayStatus{ObservedGeneration: 1, AgentVersion: "0.2.0",
			Endpoints:  []spokev1alpha1.ReportedEndpoint{{Node: cluster + "-1", Address: "192.0.2.1"}},
			Gateways:   []spokev1alpha1.GatewayNode{{Node: cluster + "-1"}},
			Tunnels:    []spokev1alpha1.Tunnel{{Cluster: "elsewhere", Node: cluster + "-1", Reachable: true, RTTMicroseconds: 1234, PathMTU: 1500, LastTransitionTime: metav1.Now()}},
			Conditions: []metav1.Condition{condition("Programmed", "True", "Programmed", ""), condition("DataPathReady", "True", "Ready", "")}},
	}
}

func TestStatusOfHub(t *testing.T) {
	fleet(t)
	out, _, err := run(t, hub.kubeconfig, "status")
	if !errors.Is(err, terminal.ErrNotWell) {
		t.Errorf("a peering is not verified, and the error is %v", err)
	}
	for _, want := range []string{"east", "token", "0.2.0", "east-1", "shop/vpc-west", "Active", "✗ ProbeFailed", "no answer from west", "1.234ms"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("colours, and no terminal:\n%q", out)
	}
}

func TestStatusAsJSON(t *testing.T) {
	fleet(t)
	hub.namespace(t, "other")
	for format, namespace := range map[string]string{"json": "", "yaml": "other"} {
		args := []string{"status", "-o", format}
		if namespace != "" {
			args = append(args, "-n", namespace)
		}
		out, _, err := run(t, hub.kubeconfig, args...)
		if namespace == "" && !errors.Is(err, terminal.ErrNotWell) || namespace != "" && err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if format == "yaml" {
			if !strings.Contains(out, "apiVersion: cli.tombolo.io/v1") || strings.Contains(out, "one-two") {
				t.Errorf("the YAML of tenant other:\n%s", out)
			}
			continue
		}
		var report status.Report
		if err := json.Unmarshal([]byte(out), &report); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		want := []status.Peering{{Namespace: "shop", Name: "one-two", Vpc: "shop/vpc-east", Peer: "shop/vpc-west", Phase: "Active",
			Why: status.Why{State: terminal.Failed, Reason: "ProbeFailed", Message: "no answer from west"}}}
		if diff := cmp.Diff(want, report.Peerings); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if heard := report.Clusters[0].Heard; heard == nil || time.Since(*heard) > time.Minute {
			t.Errorf("east was heard %v", heard)
		}
	}
}

func TestStatusOfCluster(t *testing.T) {
	own := gateway(facts.Namespace, "east")
	own.Labels = map[string]string{facts.LabelOwn: "true"}
	own.Spec.Membership = spokev1alpha1.MembershipDraining
	spoke.create(t, own, gateway(facts.Namespace, "west"), &spokev1alpha1.LocalRouter{
		ObjectMeta: meta(facts.Namespace, "shop.vpc-1"),
		Spec: spokev1alpha1.LocalRouterSpec{Vpc: spokev1alpha1.VpcIdentity{Namespace: "shop", Name: "vpc-1", VNI: 100}, VpcUID: "u", LinkCIDR: "100.64.0.0/29",
			Remotes: []spokev1alpha1.Remote{{Vpc: spokev1alpha1.VpcIdentity{Namespace: "shop", Name: "vpc-2", VNI: 101}, Cluster: "west", Prefixes: []string{"10.1.0.0/16"}}}},
		Status: spokev1alpha1.LocalRouterStatus{Conditions: []metav1.Condition{condition("Programmed", "False", "NorthboundUnreachable", "no connection to tcp:10.0.0.5:6641")}},
	})
	out, _, err := run(t, spoke.kubeconfig, "status")
	if !errors.Is(err, terminal.ErrNotWell) {
		t.Errorf("the router is not programmed, and the error is %v", err)
	}
	for _, want := range []string{"east", "! Leaving", "Draining", "shop/vpc-1", "REACHES", "west", "✗ NorthboundUnreachable", "no connection to tcp:10.0.0.5:6641"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
	if strings.Contains(out, "Peerings") {
		t.Errorf("a cluster knows no peerings:\n%s", out)
	}
}

// TestWatch: the report is shown again when it has changed, and only then.
func TestWatch(t *testing.T) {
	fleet(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	reader, writer := io.Pipe()
	command := Command(genericiooptions.IOStreams{In: strings.NewReader(""), Out: writer, ErrOut: io.Discard})
	command.SetArgs([]string{"--kubeconfig=" + hub.kubeconfig, "status", "--watch", "--interval=100ms"})
	ended := make(chan error, 1)
	go func() {
		ended <- command.ExecuteContext(ctx)
		writer.Close()
	}()
	lines := bufio.NewScanner(reader)
	reports, changed := 0, false
	for lines.Scan() {
		if lines.Text() == "Clusters" {
			reports++
		}
		switch {
		case strings.Contains(lines.Text(), "shop/one-two") && !changed:
			changed = true
			time.Sleep(time.Second) // several looks, at which nothing is new
			hub.create(t, vpc("vpc-new", "east"))
		case strings.Contains(lines.Text(), "shop/vpc-new"):
			cancel()
		}
	}
	if err := <-ended; err != nil || !changed {
		t.Errorf("watching: %v", err)
	}
	// The new Vpc is made in two writes, and may be seen between them.
	if reports < 2 || reports > 3 {
		t.Errorf("%d reports of one change", reports)
	}
}

func TestBadInput(t *testing.T) {
	tests := map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"format":   {"a format that is none", []string{"status", "-o", "wide"}, `--output "wide" is not known`},
		"interval": {"time goes forward", []string{"status", "-w", "--interval", "-1s"}, "--interval -1s is not positive"},
		"side":     {"the hub is no cluster", []string{"diagnose", "cluster"}, "is no cluster: choose another with --context"},
		"words":    {"an argument that is none", []string{"diagnose", "everything"}, `invalid argument "everything"`},
		"context":  {"a context that is not there", []string{"status", "--context", "nowhere"}, `context "nowhere" does not exist`},
		"flows":    {"longer than is reasonable", []string{"gather", "--flows", "2m"}, "--flows 2m0s is not between 0 and 1m0s"},
		"server":   {"nobody there", []string{"status", "--server", "https://127.0.0.1:1"}, "reach API server https://127.0.0.1:1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, err := run(t, hub.kubeconfig, test.args...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v, want %q", test.reason, err, test.want)
			}
		})
	}
}

// TestFewPermissions: who may read the network only still gets a status, which says what is missing in it.
func TestFewPermissions(t *testing.T) {
	fleet(t)
	hub.create(t, &rbacv1.ClusterRole{ObjectMeta: meta("", "network-reader"), Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"network.tombolo.io", "spoke.tombolo.io"}, Resources: []string{"*"}, Verbs: []string{"list", "get"}}}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: meta("", "network-reader"),
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "network-reader"}, Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "reader"}}})
	kubeconfig := hub.user(t, "reader")
	out, _, err := run(t, kubeconfig, "status")
	if !errors.Is(err, terminal.ErrNotWell) {
		t.Errorf("status: %v", err)
	}
	for _, want := range []string{"shop/one-two", "Could not be read", "managedclusters", "is forbidden"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
	out, _, _ = run(t, kubeconfig, "diagnose")
	if !strings.Contains(out, "? clusters are accepted, and OCM hears them") || !strings.Contains(out, "✗ peerings carry packets") {
		t.Errorf("what can't be read must be unknown, and the rest be known:\n%s", out)
	}
	if _, _, err := run(t, kubeconfig, "leave", "east", "--yes"); err == nil || !strings.Contains(err.Error(), "can't tell what would be lost") {
		t.Errorf("leave without a look at what would be lost: %v", err)
	}
}

func TestDiagnose(t *testing.T) {
	fleet(t)
	out, _, err := run(t, hub.kubeconfig, "diagnose", "hub", "-o", "json")
	if !errors.Is(err, terminal.ErrNotWell) {
		t.Errorf("there is no hub running, and the error is %v", err)
	}
	var report diagnose.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	var got []string
	for _, result := range report.Results {
		if result.State != terminal.Well {
			got = append(got, string(result.State)+" "+result.Check)
		}
	}
	want := []string{
		"Failed the hub's pods are ready", "Failed there are pools of VNIs and of links", "Failed peerings carry packets",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	out, _, err = run(t, spoke.kubeconfig, "diagnose", "--quiet")
	if !errors.Is(err, terminal.ErrNotWell) {
		t.Errorf("there is no agent, and the error is %v", err)
	}
	for _, want := range []string{"Deployment tombolo-system/tombolo-agent-controller: is not there", "Secret tombolo-system/tombolo-hub-kubeconfig: is not there", "→ "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
	if strings.Contains(out, "✓") {
		t.Errorf("--quiet tells of what is well:\n%s", out)
	}
}

func TestVersion(t *testing.T) {
	fleet(t)
	out, _, err := run(t, hub.kubeconfig, "version")
	if err != nil || !strings.Contains(out, "agent of east") {
		t.Errorf("%v:\n%s", err, out)
	}
	if out, _, err = run(t, "/nowhere", "version", "--client"); err != nil || !strings.Contains(out, "kubectl-tombolo") {
		t.Errorf("without any cluster: %v:\n%s", err, out)
	}
}

func TestCompletion(t *testing.T) {
	fleet(t)
	out, _, err := run(t, hub.kubeconfig, "__complete", "--kubeconfig="+hub.kubeconfig, "leave", "e")
	if lines := strings.Fields(out); err != nil || !slices.Contains(lines, "east") || slices.Contains(lines, "west") {
		t.Errorf("%v: %q", err, out)
	}
	out, _, err = run(t, hub.kubeconfig, "leave", "--help")
	if err != nil || !strings.Contains(out, "kubectl tombolo leave CLUSTER [flags]") {
		t.Errorf("usage is that of a plugin: %v:\n%s", err, out)
	}
}
