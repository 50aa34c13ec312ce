// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/confirm"
)

// TestConfirm: what is held back is shown, and exactly that is confirmed.
func TestConfirm(t *testing.T) {
	if _, _, err := run(t, hub.kubeconfig, "confirm"); err == nil || !strings.Contains(err.Error(), "which the hub makes") {
		t.Errorf("without a Fleet: %v", err)
	}
	fleet := &networkv1alpha1.Fleet{ObjectMeta: metav1.ObjectMeta{Name: networkv1alpha1.FleetName}}
	hub.create(t, fleet)
	if out, _, err := run(t, hub.kubeconfig, "confirm"); err != nil || !strings.Contains(out, "Nothing is held back") {
		t.Errorf("nothing is held back: %v\n%s", err, out)
	}
	if _, _, err := run(t, hub.kubeconfig, "confirm", "0123456789abcdef"); err == nil || !strings.Contains(err.Error(), "confirms nothing") {
		t.Errorf("a digest for nothing: %v", err)
	}
	if err := hub.client.Get(t.Context(), client.ObjectKeyFromObject(fleet), fleet); err != nil {
		t.Fatal(err)
	}
	fleet.Status.PendingRemoval = &networkv1alpha1.PendingRemoval{Digest: "0123456789abcdef", Objects: 12, TotalObjects: 40, Routers: 11, TotalRouters: 38, Examples: []string{"LocalRouter east/shop.a: deleted, for a reason"}}
	fleet.Status.Conditions = []metav1.Condition{{Type: networkv1alpha1.ConditionFrozen, Status: metav1.ConditionTrue, Reason: networkv1alpha1.ReasonMassRemoval, Message: "A plan would take much away.", LastTransitionTime: metav1.Now()}}
	if err := hub.client.Status().Update(t.Context(), fleet); err != nil {
		t.Fatal(err)
	}
	_, complaints, err := run(t, hub.kubeconfig, "confirm")
	if err == nil || !strings.Contains(err.Error(), "give the digest as an argument") {
		t.Errorf("without a person: %v", err)
	}
	for _, want := range []string{"MassRemoval", "A plan would take much away.", "12 of 40", "LocalRouter east/shop.a: deleted, for a reason", "Digest: 0123456789abcdef"} {
		if !strings.Contains(complaints, want) {
			t.Errorf("%q is missing in what is shown:\n%s", want, complaints)
		}
	}
	out, _, err := run(t, hub.kubeconfig, "confirm", "-o", "json")
	report := confirm.Report{}
	if jsonErr := json.Unmarshal([]byte(out), &report); jsonErr != nil || err == nil || !report.Frozen || report.Confirmed || report.Pending.Digest != "0123456789abcdef" {
		t.Errorf("as JSON: %v, %v, exit %v", report, jsonErr, err)
	}
	if out, _, err := run(t, hub.kubeconfig, "status"); err == nil || !strings.HasPrefix(out, "✗ The hub is frozen: MassRemoval") {
		t.Errorf("status does not begin with it: %v\n%s", err, out)
	}
	if _, _, err := run(t, hub.kubeconfig, "confirm", "0123456789abcdee"); err == nil || !strings.Contains(err.Error(), "is not the digest") {
		t.Errorf("another digest: %v", err)
	}
	if _, complaints, err := run(t, hub.kubeconfig, "confirm", "0123456789abcdef"); err != nil {
		t.Errorf("confirm: %v\n%s", err, complaints)
	}
	if err := hub.client.Get(t.Context(), client.ObjectKeyFromObject(fleet), fleet); err != nil || fleet.Spec.ConfirmedRemoval != "0123456789abcdef" {
		t.Errorf("the Fleet has %q, %v", fleet.Spec.ConfirmedRemoval, err)
	}
}
