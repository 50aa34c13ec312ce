// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
)

// become makes the hub's InterconnectGateway of east be of that hub.
func (f *fleet) become(t *testing.T, hub spokev1alpha1.HubIdentity) {
	t.Helper()
	own := f.own(t, hubGateway("east"))
	own.Spec.Hub = hub
	if err := f.hub.Client.Update(t.Context(), own); err != nil {
		t.Fatal(err)
	}
}

// eventuallyTrusted waits for HubTrusted on the hub and on the copy.
func (f *fleet) eventuallyTrusted(t *testing.T, want metav1.ConditionStatus, reason, says string) {
	t.Helper()
	clustertest.Eventually(t, fmt.Sprintf("HubTrusted=%s, %s", want, reason), func(ctx context.Context) error {
		on, copy := hubGateway("east"), &spokev1alpha1.InterconnectGateway{}
		if err := f.hub.Client.Get(ctx, client.ObjectKeyFromObject(on), on); err != nil {
			return err
		}
		if err := f.spoke.Client.Get(ctx, localKey("east"), copy); err != nil {
			return err
		}
		for where, conditions := range map[string][]metav1.Condition{"hub": on.Status.Conditions, "copy": copy.Status.Conditions} {
			c := meta.FindStatusCondition(conditions, spokev1alpha1.ConditionHubTrusted)
			if c == nil || c.Status != want || c.Reason != reason || !strings.Contains(c.Message, says) {
				return fmt.Errorf("on the %s it is %+v", where, c)
			}
		}
		return nil
	})
}

// writtenBy is a router as a hub writes it.
func writtenBy(hub string, epoch int64, name string) *spokev1alpha1.LocalRouter {
	r := hubRouter(name)
	r.Annotations = map[string]string{spokev1alpha1.AnnotationHub: hub, spokev1alpha1.AnnotationHubEpoch: fmt.Sprint(epoch)}
	return r
}

func (f *fleet) annotateCopy(t *testing.T, o client.Object, annotations string) {
	t.Helper()
	if err := f.spoke.Client.Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":%s}}`, annotations))); err != nil {
		t.Fatal(err)
	}
}

// stays checks that a copy is there, and is not being deleted, when there was time to do harm.
func (f *fleet) stays(t *testing.T, name string) {
	t.Helper()
	time.Sleep(500 * time.Millisecond)
	if c, err := f.copyOf(t.Context(), name); err != nil || c.DeletionTimestamp != nil {
		t.Errorf("copy of %s was lost: %v", name, err)
	}
}

// testHubWentBack: the hub knows an older LocalRouter than the cluster. It is not taken, nor is its tombstone, until the hub says that it was confirmed.
func (f *fleet) testHubWentBack(t *testing.T) {
	f.become(t, spokev1alpha1.HubIdentity{UID: "hub-1", Epoch: 4})
	f.eventuallyTrusted(t, metav1.ConditionTrue, spokev1alpha1.ReasonTrusted, "")
	hub := writtenBy("hub-1", 4, "back")
	f.mustCreate(t, hub)
	f.eventuallyLink(t, "demo.back", "169.254.128.0/29")
	clustertest.Eventually(t, "the hub to know the epoch that the cluster has seen", func(context.Context) error {
		if e := f.own(t, hubGateway("east")).Status.ObservedEpoch; e != 4 {
			return fmt.Errorf("it is %d", e)
		}
		return nil
	})
	// As if the cluster had taken generation 7 of epoch 6, which the hub has forgotten.
	c, err := f.copyOf(t.Context(), "demo.back")
	if err != nil {
		t.Fatal(err)
	}
	c.Spec.LinkCIDR = "169.254.128.16/29"
	c.Annotations[spokev1alpha1.AnnotationHubGeneration], c.Annotations[spokev1alpha1.AnnotationHubEpoch] = "7", "6"
	if err := f.spoke.Client.Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	f.eventuallyTrusted(t, metav1.ConditionFalse, spokev1alpha1.ReasonWentBack, "demo.back")
	if e := f.own(t, hubGateway("east")).Status.ObservedEpoch; e != 6 {
		t.Errorf("observed epoch is %d, want 6", e)
	}
	if err := f.hub.Client.Delete(t.Context(), hub); err != nil {
		t.Fatal(err)
	}
	f.stays(t, "demo.back")
	f.eventuallyLink(t, "demo.back", "169.254.128.16/29")

	f.become(t, spokev1alpha1.HubIdentity{UID: "hub-1", Epoch: 7, RestoredEpoch: 7})
	f.eventuallyTrusted(t, metav1.ConditionTrue, spokev1alpha1.ReasonTrusted, "")
	f.stays(t, "demo.back") // the tombstone is still of before
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"7"}}}`, spokev1alpha1.AnnotationHubEpoch))
	if err := f.hub.Client.Patch(t.Context(), hub, patch); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the copy to go by the tombstone that was confirmed", func(ctx context.Context) error {
		_, err := f.copyOf(ctx, "demo.back")
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("still there, or %w", err)
	})
}

// testForeignHub: another hub answers at the same address. Nothing that it says is taken, and nothing is deleted for it, until the cluster's
// administrator says that it is the one.
func (f *fleet) testForeignHub(t *testing.T) {
	hub := writtenBy("hub-1", 7, "mine")
	f.mustCreate(t, hub)
	f.eventuallyLink(t, "demo.mine", "169.254.128.0/29")
	f.become(t, spokev1alpha1.HubIdentity{UID: "hub-2", Epoch: 99})
	f.eventuallyTrusted(t, metav1.ConditionFalse, spokev1alpha1.ReasonForeignHub, "hub-1")
	f.mustCreate(t, writtenBy("hub-2", 99, "theirs"))
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"hub-2",%q:"99"}}}`, spokev1alpha1.AnnotationHub, spokev1alpha1.AnnotationHubEpoch))
	if err := f.hub.Client.Patch(t.Context(), hub, patch); err != nil {
		t.Fatal(err)
	}
	if err := f.hub.Client.Delete(t.Context(), hub); err != nil {
		t.Fatal(err)
	}
	f.stays(t, "demo.mine")
	if _, err := f.copyOf(t.Context(), "demo.theirs"); !apierrors.IsNotFound(err) {
		t.Errorf("a copy was made of what another hub says: %v", err)
	}
	f.annotateCopy(t, &spokev1alpha1.InterconnectGateway{ObjectMeta: metav1.ObjectMeta{Namespace: localKey("").Namespace, Name: "east"}}, fmt.Sprintf(`{%q:"hub-2"}`, annotationTrustedHub))
	f.eventuallyTrusted(t, metav1.ConditionTrue, spokev1alpha1.ReasonTrusted, "")
	f.eventuallyLink(t, "demo.theirs", "169.254.128.0/29")
}

func TestFingerprint(t *testing.T) {
	base := rest.Config{Host: "https://hub:6443", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("ca"), CertData: []byte("a")}}
	print := func(change func(*rest.Config)) string {
		c := rest.CopyConfig(&base)
		change(c)
		got, err := fingerprintOf(c)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	same := print(func(*rest.Config) {})
	for name, tc := range map[string]struct {
		reason string
		change func(*rest.Config)
		want   bool
	}{
		"Certificate": {"a renewed certificate is no other hub", func(c *rest.Config) { c.CertData = []byte("b") }, true},
		"Address":     {"another address is a new join", func(c *rest.Config) { c.Host = "https://other:6443" }, false},
		"Authority":   {"and so is another authority", func(c *rest.Config) { c.CAData = []byte("x") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := print(tc.change) == same; got != tc.want {
				t.Errorf("%s: same is %v", tc.reason, got)
			}
		})
	}
}
