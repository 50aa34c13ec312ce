// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/distribute"
	"github.com/tombolo-io/tombolo/hub/internal/settled"
	"github.com/tombolo-io/tombolo/hub/internal/snapshot"
)

const key federation.Key = "east/shop.front"

func router(change func(*spokev1alpha1.LocalRouter)) *spokev1alpha1.LocalRouter {
	r := &spokev1alpha1.LocalRouter{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "east", Name: "shop.front", Finalizers: []string{spokev1alpha1.Finalizer},
			Labels: map[string]string{spokev1alpha1.LabelVpcNamespace: "shop", spokev1alpha1.LabelVpcName: "front"},
		},
		Spec: spokev1alpha1.LocalRouterSpec{LinkCIDR: "100.64.0.0/29"},
	}
	if change != nil {
		change(r)
	}
	return r
}

func TestDiff(t *testing.T) {
	deleting := func(r *spokev1alpha1.LocalRouter) { r.DeletionTimestamp = new(metav1.NewTime(time.Unix(1000, 0))) }
	for name, test := range map[string]struct {
		reason    string
		namespace string
		have      *spokev1alpha1.LocalRouter
		want      *spokev1alpha1.LocalRouter
		deletions []federation.Deletion
		writes    []distribute.Verb
	}{
		"New":         {reason: "what a cluster is not told yet is created", namespace: "east", want: router(nil), writes: []distribute.Verb{distribute.Create}},
		"NoNamespace": {reason: "OCM has not made the namespace yet: it is waited for", namespace: "west", want: router(nil)},
		"Same":        {reason: "what is as decided is not written", namespace: "east", have: router(nil), want: router(nil)},
		"OtherSpec": {reason: "a changed decision is written", namespace: "east", want: router(nil), writes: []distribute.Verb{distribute.Update},
			have: router(func(r *spokev1alpha1.LocalRouter) { r.Spec.LinkCIDR = "100.64.0.8/29" })},
		"ForeignLabel": {reason: "labels that others add are theirs", namespace: "east", want: router(nil),
			have: router(func(r *spokev1alpha1.LocalRouter) { r.Labels["team"] = "a" })},
		"LostLabel": {reason: "ours are put back", namespace: "east", want: router(nil), writes: []distribute.Verb{distribute.Update},
			have: router(func(r *spokev1alpha1.LocalRouter) { r.Labels = nil })},
		"LostFinalizer": {reason: "so is the finalizer, else the router could go while its cluster has it", namespace: "east", want: router(nil),
			have: router(func(r *spokev1alpha1.LocalRouter) { r.Finalizers = nil }), writes: []distribute.Verb{distribute.Update}},
		"UnderDeletion": {reason: "what goes is made anew when it is gone, not before", namespace: "east", have: router(deleting), want: router(nil)},
		"NotDecided":    {reason: "nothing is deleted because nobody speaks of it", namespace: "east", have: router(nil)},
		"Deletion": {reason: "it is on evidence", namespace: "east", have: router(nil), writes: []distribute.Verb{distribute.Delete},
			deletions: []federation.Deletion{{Kind: "LocalRouter", Key: key, Because: "Vpc shop/front is being deleted"}}},
		"DeletionOnce": {reason: "and once", namespace: "east", have: router(deleting),
			deletions: []federation.Deletion{{Kind: "LocalRouter", Key: key, Because: "Vpc shop/front is being deleted"}}},
		"DeletionOfOtherKind": {reason: "of that very kind", namespace: "east", have: router(nil),
			deletions: []federation.Deletion{{Kind: "InterconnectGateway", Key: key, Because: "cluster east leaves"}}},
	} {
		t.Run(name, func(t *testing.T) {
			state := &snapshot.State{Snapshot: federation.Snapshot{Hub: federation.Hub{UID: "hub", Epoch: 7}}, Namespaces: map[string]bool{test.namespace: true}, Routers: map[federation.Key]*spokev1alpha1.LocalRouter{}}
			if test.have != nil {
				state.Routers[key] = test.have
			}
			result := &federation.Result{Routers: map[federation.Key]*spokev1alpha1.LocalRouter{}, Deletions: test.deletions}
			if test.want != nil {
				result.Routers[key] = test.want
			}
			var verbs []distribute.Verb
			for _, write := range distribute.Diff(&settled.Kinds{}, state, result) {
				verbs = append(verbs, write.Verb)
				if write.Verb == distribute.Update {
					checkUpdate(t, write.Object.(*spokev1alpha1.LocalRouter), test.have, test.want)
				}
			}
			if diff := cmp.Diff(test.writes, verbs); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// checkUpdate: the update is the object that was read with all that the plan says, and shares nothing with either.
func checkUpdate(t *testing.T, got, have, want *spokev1alpha1.LocalRouter) {
	t.Helper()
	expected := have.DeepCopy()
	expected.Spec = want.Spec
	if expected.Labels == nil {
		expected.Labels = map[string]string{}
	}
	maps.Copy(expected.Labels, want.Labels)
	expected.Finalizers = want.Finalizers
	expected.Annotations = map[string]string{spokev1alpha1.AnnotationHub: "hub", spokev1alpha1.AnnotationHubEpoch: "7"}
	if !cmp.Equal(have.Spec, want.Spec) { // the cluster may not have realized it; what else there is, it has
		expected.Annotations[spokev1alpha1.AnnotationPending] = `{".":1}`
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("update (-want +got):\n%s", diff)
	}
	if got == have || got == want {
		t.Error("the update is the cache's or the planner's own object")
	}
}

func TestUrgent(t *testing.T) {
	write := func(verb distribute.Verb, name string) distribute.Write {
		return distribute.Write{Verb: verb, Object: router(func(r *spokev1alpha1.LocalRouter) { r.Name = name })}
	}
	writes := []distribute.Write{
		write(distribute.Create, "left-1"), write(distribute.Update, "fresh"), write(distribute.Create, "left-2"), write(distribute.Delete, "gone"),
	}
	distribute.Urgent(writes, federation.Changes{Routers: []federation.Key{"east/fresh", "east/elsewhere"}})
	var names []string
	for _, write := range writes {
		names = append(names, write.Object.GetName())
	}
	if diff := cmp.Diff([]string{"fresh", "gone", "left-1", "left-2"}, names); diff != "" {
		t.Errorf("a small change waits behind a large one (-want +got):\n%s", diff)
	}
}
