// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
)

// member makes a cluster that joined by token, or by OCM.
func member(t *testing.T, name string, byToken bool) *clusterv1.ManagedCluster {
	t.Helper()
	hub.namespace(t, name)
	cluster := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Finalizers: []string{facts.DrainFinalizer}}, Spec: clusterv1.ManagedClusterSpec{HubAcceptsClient: true}}
	if byToken {
		cluster.Annotations = map[string]string{facts.AnnotationJoinedBy: facts.JoinedByToken}
	}
	hub.create(t, cluster)
	return cluster
}

func addOn(cluster string) *addonv1alpha1.ManagedClusterAddOn {
	return &addonv1alpha1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: cluster, Name: facts.AddOn, Finalizers: []string{"test/held"}}}
}

func deleted(t *testing.T, object client.Object) bool {
	t.Helper()
	err := hub.client.Get(t.Context(), client.ObjectKeyFromObject(object), object)
	if apierrors.IsNotFound(err) {
		return true
	}
	if err != nil {
		t.Fatal(err)
	}
	return object.GetDeletionTimestamp() != nil
}

func TestLeaveByToken(t *testing.T) {
	fleet(t)
	cluster := member(t, "north", true)
	hub.create(t, vpc("vpc-north", "north"))

	if _, complaints, err := run(t, hub.kubeconfig, "leave", "north"); err == nil || !strings.Contains(err.Error(), "say --yes") || deleted(t, cluster) {
		t.Fatalf("without a person and without --yes: %v\n%s", err, complaints)
	}
	out, complaints, err := run(t, hub.kubeconfig, "leave", "north", "--yes")
	if err != nil || !deleted(t, cluster) {
		t.Fatalf("leave: %v\n%s", err, complaints)
	}
	for _, want := range []string{"leaves by the deletion of its ManagedCluster", "Vpcs that are nowhere else", "shop/vpc-north", "no peerings"} {
		if !strings.Contains(complaints, want) {
			t.Errorf("%q is missing in what was shown before:\n%s", want, complaints)
		}
	}
	if !strings.Contains(out, "helm uninstall tombolo-spoke-agent --namespace tombolo-system") {
		t.Errorf("the next command is missing:\n%s", out)
	}
}

// TestLeaveAfterHelm: `helm uninstall` in the cluster came first, so nobody is told to call it.
func TestLeaveAfterHelm(t *testing.T) {
	fleet(t)
	cluster, own := member(t, "north", true), gateway("north", "north")
	own.Status.Conditions = []metav1.Condition{condition(spokev1alpha1.ConditionLeaving, metav1.ConditionTrue, spokev1alpha1.ReasonLeft, "")}
	hub.create(t, own)
	out, complaints, err := run(t, hub.kubeconfig, "leave", "north", "--yes")
	if err != nil || !deleted(t, cluster) || strings.Contains(out, "helm") || !strings.Contains(out, "nothing is left to do") {
		t.Errorf("leave: %v\n%s%s", err, out, complaints)
	}
}

func TestLeaveByAddOn(t *testing.T) {
	cluster, addOn := member(t, "north", false), addOn("north")
	if _, _, err := run(t, hub.kubeconfig, "leave", "north", "--yes"); err == nil || !strings.Contains(err.Error(), "--detach") || deleted(t, cluster) {
		t.Fatalf("OCM's cluster without the add-on is not ours to delete: %v", err)
	}
	hub.create(t, addOn)
	if out, complaints, err := run(t, hub.kubeconfig, "leave", "north", "--yes"); err != nil || !deleted(t, addOn) || deleted(t, cluster) || !strings.Contains(out, "nothing is left to do") || !strings.Contains(out, "leave north --detach") || !strings.Contains(complaints, "it stays in Open Cluster Management") {
		t.Fatalf("the add-on must go and the cluster stay: %v\n%s%s", err, out, complaints)
	}
	if out, complaints, err := run(t, hub.kubeconfig, "leave", "north", "--yes", "--detach"); err != nil || !deleted(t, cluster) ||
		strings.Contains(out, "helm") || !strings.Contains(complaints, "leaves Open Cluster Management, too") {
		t.Fatalf("--detach: %v\n%s%s", err, out, complaints)
	}
}

func TestLeaveAgainstPlacement(t *testing.T) {
	hub.namespace(t, "fleet")
	member(t, "north", false)
	addOn := addOn("north")
	hub.create(t, addOn,
		&addonv1alpha1.ClusterManagementAddOn{ObjectMeta: meta("", facts.AddOn), Spec: addonv1alpha1.ClusterManagementAddOnSpec{InstallStrategy: addonv1alpha1.InstallStrategy{
			Type: addonv1alpha1.AddonInstallStrategyPlacements, Placements: []addonv1alpha1.PlacementStrategy{{PlacementRef: addonv1alpha1.PlacementRef{Namespace: "fleet", Name: "all"}}}}}},
		&clusterv1beta1.PlacementDecision{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet", Name: "all-1", Labels: map[string]string{clusterv1beta1.PlacementLabel: "all"}},
			Status: clusterv1beta1.PlacementDecisionStatus{Decisions: []clusterv1beta1.ClusterDecision{{ClusterName: "north"}}}})
	_, _, err := run(t, hub.kubeconfig, "leave", "north", "--yes")
	if err == nil || !strings.Contains(err.Error(), "Placement fleet/all") || deleted(t, addOn) {
		t.Errorf("the add-on would come back at once: %v", err)
	}
}

func TestLeaveGone(t *testing.T) {
	fleet(t)
	cluster := member(t, "north", true)
	if _, _, err := run(t, hub.kubeconfig, "leave", "east", "--gone", "--yes"); err == nil || !strings.Contains(err.Error(), "is not gone: it was heard") {
		t.Errorf("east was heard a moment ago: %v", err)
	}
	_, complaints, err := run(t, hub.kubeconfig, "leave", "north", "--gone", "--yes")
	if err != nil || !deleted(t, cluster) || cluster.Annotations[facts.AnnotationGone] != "true" {
		t.Errorf("%v, annotations %v:\n%s", err, cluster.Annotations, complaints)
	}
	if !strings.Contains(complaints, "WARNING") || !strings.Contains(complaints, "There is no way back") {
		t.Errorf("no warning:\n%s", complaints)
	}
	if _, _, err := run(t, hub.kubeconfig, "leave", "nobody", "--yes"); err == nil || !strings.Contains(err.Error(), "is not in the fleet") {
		t.Errorf("a cluster that is none: %v", err)
	}
}

// TestLeaveWait: the hub's part is played by the test.
func TestLeaveWait(t *testing.T) {
	fleet(t)
	cluster := member(t, "north", true)
	own := gateway("north", "north")
	other := &spokev1alpha1.LocalRouter{ObjectMeta: meta("west", "shop.vpc-west"), Spec: spokev1alpha1.LocalRouterSpec{VpcUID: "u", LinkCIDR: "100.64.0.0/29",
		Vpc:     spokev1alpha1.VpcIdentity{Namespace: "shop", Name: "vpc-west", VNI: 100},
		Remotes: []spokev1alpha1.Remote{{Vpc: spokev1alpha1.VpcIdentity{Namespace: "shop", Name: "vpc-north", VNI: 101}, Cluster: "north", Prefixes: []string{"10.1.0.0/16"}}}}}
	hub.create(t, own, other)

	set := func(object client.Object, patch string) {
		if err := hub.client.Patch(t.Context(), object, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
			t.Error(err)
		}
	}
	var out bytes.Buffer
	reader, writer := io.Pipe()
	command := Command(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: writer})
	command.SetArgs([]string{"--kubeconfig=" + hub.kubeconfig, "leave", "north", "--yes", "--wait", "--timeout=2m"})
	ended := make(chan error, 1)
	go func() {
		ended <- command.ExecuteContext(t.Context())
		writer.Close()
	}()
	// Each line that tells of progress is answered as the hub, or the agent, would go on.
	var heard []string
	for lines := bufio.NewScanner(reader); lines.Scan(); {
		line, progress := strings.CutPrefix(lines.Text(), "tombolo: ")
		if !progress {
			continue
		}
		heard = append(heard, line)
		switch {
		case strings.HasPrefix(line, "waiting for the hub"):
			set(own, `{"spec":{"membership":"Draining"}}`)
		case strings.HasPrefix(line, "Draining"):
			set(own, `{"spec":{"membership":"Drained"}}`)
		case strings.HasPrefix(line, "Drained"):
			set(cluster, `{"metadata":{"finalizers":null}}`)
		}
	}
	if err := <-ended; err != nil {
		t.Fatalf("%v: %q", err, heard)
	}
	want := []string{
		"cluster north has begun to leave", "waiting for the hub to begin",
		"Draining: still to confirm that they have no route to it: [west]",
		"Drained: no other cluster has a route to it; its agent cleans up", "it has left",
	}
	if diff := cmp.Diff(want, heard); diff != "" {
		t.Errorf("what was told: -want +got:\n%s", diff)
	}
	if !strings.Contains(out.String(), "helm uninstall") {
		t.Errorf("the next command is missing:\n%s", out.String())
	}
}
