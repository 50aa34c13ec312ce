// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/apis/version"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

func TestVersionSupported(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, hub string
		want        metav1.ConditionStatus
		message     string
	}{
		"Same":    {"they were made for each other", version.Version, metav1.ConditionTrue, "works with hub " + version.Version},
		"Newer":   {"a hub is upgraded first", "99.0.0", metav1.ConditionTrue, "works with hub 99.0.0"},
		"Older":   {"it may not say what the agent needs", "0.0.9", metav1.ConditionFalse, "upgrade the chart tombolo-hub"},
		"Unknown": {"a hub from before hubs told", "", metav1.ConditionFalse, "upgrade the chart tombolo-hub"},
		"Broken":  {"nobody can tell", "x", metav1.ConditionFalse, "can't be compared"},
	} {
		t.Run(name, func(t *testing.T) {
			got := versionSupported(&spokev1alpha1.InterconnectGateway{Spec: spokev1alpha1.InterconnectGatewaySpec{HubVersion: tc.hub}})
			if got.Status != tc.want || !strings.Contains(got.Message, tc.message) {
				t.Errorf("%s: got %s %q", tc.reason, got.Status, got.Message)
			}
		})
	}
}

// testForeignName: a cluster whose name another one has on the hub leaves everything as it is, says why, and goes on when the name is free.
func (f *fleet) testForeignName(t *testing.T) {
	own := hubGateway("east")
	id := f.own(t, own).Status.ClusterID
	if err := f.setClusterID(t.Context(), "another"); err != nil {
		t.Fatal(err)
	}
	f.agent(t, f.hub.Kubeconfig(t))
	clustertest.Eventually(t, "an event that tells of it", func(ctx context.Context) error {
		var events eventsv1.EventList
		if err := f.spoke.Client.List(ctx, &events, client.InNamespace(local.Namespace)); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == reasonForeign && e.Regarding.Name == "tombolo-agent-controller" && strings.Contains(e.Note, "kubectl tombolo join east --replace") {
				return nil
			}
		}
		return fmt.Errorf("%d events, none of them", len(events.Items))
	})
	f.mustCreate(t, hubRouter("vpc-6"))
	time.Sleep(time.Second) // long enough to have done harm
	if _, err := f.copyOf(t.Context(), "demo.vpc-6"); !apierrors.IsNotFound(err) {
		t.Errorf("a copy was made of another cluster's object: %v", err)
	}
	if c, err := f.copyOf(t.Context(), "demo.vpc-5"); err != nil || c.DeletionTimestamp != nil {
		t.Errorf("a copy was lost: %v", err)
	}
	if got := f.own(t, own).Status.ClusterID; got != "another" {
		t.Errorf("the other cluster's ID was overwritten with %q", got)
	}
	if err := f.setClusterID(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	f.eventuallyLink(t, "demo.vpc-6", "169.254.128.0/29")
	clustertest.Eventually(t, "this cluster's identity on the hub", func(ctx context.Context) error {
		status := f.own(t, own).Status
		if status.ClusterID != id || id == "" || status.AgentVersion != version.Version {
			return fmt.Errorf("status is %+v, want cluster ID %q", status, id)
		}
		if meta.FindStatusCondition(status.Conditions, spokev1alpha1.ConditionVersionSupported) == nil {
			return errors.New("no condition VersionSupported")
		}
		return nil
	})
}

func (f *fleet) own(t *testing.T, own *spokev1alpha1.InterconnectGateway) *spokev1alpha1.InterconnectGateway {
	t.Helper()
	if err := f.hub.Client.Get(t.Context(), client.ObjectKeyFromObject(own), own); err != nil {
		t.Fatal(err)
	}
	return own
}

func (f *fleet) setClusterID(ctx context.Context, id string) error {
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"status":{"clusterID":%q}}`, id))
	return f.hub.Client.Status().Patch(ctx, hubGateway("east"), patch)
}
