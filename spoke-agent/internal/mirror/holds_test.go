// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
)

func TestHoldsOf(t *testing.T) {
	two := []spokev1alpha1.LocalRouter{*hubRouter("b"), *hubRouter("a")}
	want := &[]spokev1alpha1.Hold{{VpcUID: "uid-a", VNI: 100, LinkCIDR: "169.254.128.0/29"}, {VpcUID: "uid-b", VNI: 100, LinkCIDR: "169.254.128.0/29"}}
	for name, tc := range map[string]struct {
		reason string
		copies []spokev1alpha1.LocalRouter
		want   *[]spokev1alpha1.Hold
	}{
		"Some":    {"in order, so that nothing is written when nothing has changed", two, want},
		"None":    {"to hold nothing is to say so, which is another thing than silence", nil, &[]spokev1alpha1.Hold{}},
		"TooMany": {"half of a list would free the other half", make([]spokev1alpha1.LocalRouter, spokev1alpha1.MaxHolds+1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, holdsOf(tc.copies)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// testHolds: the cluster tells what it holds, and answers the hub's question only when nothing of the Vpc can come any more.
func (f *fleet) testHolds(t *testing.T) {
	f.mustCreate(t, hubRouter("vpc-7"))
	f.eventuallyAnswers(t, "uid-vpc-7", true)
	f.ask(t, "uid-vpc-8")
	f.eventuallyAnswers(t, "uid-vpc-8", false)

	f.mustCreate(t, hubRouter("vpc-8"))
	time.Sleep(time.Second) // long enough to have done harm
	if _, err := f.copyOf(t.Context(), "demo.vpc-8"); !apierrors.IsNotFound(err) {
		t.Errorf("a copy was made of a Vpc whose addresses others may have: %v", err)
	}
	f.ask(t, "uid-vpc-8", "another")
	time.Sleep(time.Second)
	if own := f.own(t, hubGateway("east")); own.Status.HoldsGeneration == own.Generation {
		t.Errorf("the cluster says that nothing is left of a Vpc while the hub's object is still there")
	}
	f.ask(t)
	f.eventuallyLink(t, "demo.vpc-8", "169.254.128.0/29")
	f.eventuallyAnswers(t, "uid-vpc-8", true)
}

// testNothingLate: what the cache still shows and the hub has not got any more is not copied, for its addresses may be another's.
func (f *fleet) testNothingLate(t *testing.T) {
	gone := hubRouter("vpc-9")
	gone.UID, gone.ResourceVersion, gone.Generation = "gone", "1", 1
	another := hubRouter("vpc-10")
	f.mustCreate(t, another)
	f.eventuallyLink(t, "demo.vpc-10", "169.254.128.0/29")
	former := another.DeepCopy()
	former.UID, former.ResourceVersion = "former", "1"
	copy, err := f.copyOf(t.Context(), "demo.vpc-10")
	if err != nil {
		t.Fatal(err)
	}
	for _, stale := range []*spokev1alpha1.LocalRouter{gone, former} {
		c := copier{hub: behind{f.hub.Client, stale}, spoke: withoutCopy{f.spoke.Client, copy.Name}, live: f.spoke.Client, hubLive: f.hub.Client, joined: "j"}
		r := &routers{copier: c, cluster: "east", leave: &leave.Reader{Client: f.spoke.Client, Live: f.spoke.Client}, keeper: &keeper{copier: c, cluster: "east"}}
		result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(stale)})
		if err != nil || result.RequeueAfter == 0 {
			t.Errorf("%s: %+v, %v: want another look when the cache is up to date", stale.UID, result, err)
		}
	}
	if _, err := f.copyOf(t.Context(), "demo.vpc-9"); !apierrors.IsNotFound(err) {
		t.Errorf("a copy was made of what the hub has not got any more: %v", err)
	}
}

// behind is a cache that still shows a router.
type behind struct {
	client.Client
	router *spokev1alpha1.LocalRouter
}

func (b behind) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if r, is := o.(*spokev1alpha1.LocalRouter); is {
		b.router.DeepCopyInto(r)
		return nil
	}
	return b.Client.Get(ctx, key, o, opts...)
}

// withoutCopy is a cache that does not show a copy yet.
type withoutCopy struct {
	client.Client
	name string
}

func (w withoutCopy) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if _, is := o.(*spokev1alpha1.LocalRouter); is && key.Name == w.name {
		return apierrors.NewNotFound(spokev1alpha1.GroupVersion.WithResource("localrouters").GroupResource(), key.Name)
	}
	return w.Client.Get(ctx, key, o, opts...)
}

// ask writes the hub's question.
func (f *fleet) ask(t *testing.T, released ...string) {
	t.Helper()
	own := f.own(t, hubGateway("east"))
	before := own.DeepCopy()
	own.Spec.ReleasedVpcs = released
	if err := f.hub.Client.Patch(t.Context(), own, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// eventuallyAnswers waits for the answer to the newest question, and for what it says of a Vpc.
func (f *fleet) eventuallyAnswers(t *testing.T, uid string, holds bool) {
	t.Helper()
	clustertest.Eventually(t, fmt.Sprintf("the cluster to say of %s: %v", uid, holds), func(ctx context.Context) error {
		own := hubGateway("east")
		if err := f.hub.Client.Get(ctx, client.ObjectKeyFromObject(own), own); err != nil {
			return err
		}
		if own.Status.Holds == nil || own.Status.HoldsGeneration != own.Generation {
			return fmt.Errorf("holds %v of generation %d, and it is %d", own.Status.Holds, own.Status.HoldsGeneration, own.Generation)
		}
		if slices.ContainsFunc(*own.Status.Holds, func(h spokev1alpha1.Hold) bool { return h.VpcUID == uid }) != holds {
			return fmt.Errorf("holds %v", *own.Status.Holds)
		}
		return nil
	})
}
