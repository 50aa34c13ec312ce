// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package distribute writes to the hub what each cluster is told, in the cluster's namespace, and what its agent may
// read and write there. It writes only what has changed, each object guarded by its resourceVersion, and deletes only
// what the plan gives evidence for.
package distribute

import (
	"cmp"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/settled"
	"github.com/tombolo-io/tombolo/hub/internal/snapshot"
)

// Verb is what to do with an object.
type Verb string

// The verbs.
const (
	Create Verb = "create"
	Update Verb = "update"
	Delete Verb = "delete"
)

// Write is one object to write.
type Write struct {
	Verb Verb
	// Object as it shall be; to delete, as it was read.
	Object client.Object
	// Was is the object as it was read, of an update.
	Was client.Object
	// Because is the evidence for a deletion.
	Because string
}

// Diff is what must be written so that the clusters are told what the plan says. What is done is not compared again.
func Diff(done *settled.Kinds, state *snapshot.State, result *federation.Result) []Write {
	var writes []Write
	writes = append(writes, puts(&done.Gateways, state.Namespaces, state.Gateways, result.Gateways, func(o *spokev1alpha1.InterconnectGateway) *spokev1alpha1.InterconnectGatewaySpec {
		return &o.Spec
	}, func(_, _ *spokev1alpha1.InterconnectGateway) {})...)
	routers := puts(&done.Routers, state.Namespaces, state.Routers, result.Routers, func(o *spokev1alpha1.LocalRouter) *spokev1alpha1.LocalRouterSpec {
		return &o.Spec
	}, notePending)
	for _, w := range routers {
		stamp(w.Object, &state.Snapshot.Hub)
	}
	writes = append(writes, routers...)
	writes = append(writes, restamps(state, writes)...)
	return append(writes, deletions(state, result.Deletions)...)
}

// Urgent puts deletions and what has just been decided before what was left over by earlier passes: a small change does
// not wait behind a large one.
func Urgent(writes []Write, changes federation.Changes) {
	fresh := map[federation.Key]bool{}
	for _, key := range slices.Concat(changes.Routers, changes.Gateways) {
		fresh[key] = true
	}
	rank := func(w Write) int {
		if w.Verb == Delete || fresh[snapshot.KeyOf(w.Object)] {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(writes, func(a, b Write) int { return cmp.Compare(rank(a), rank(b)) })
}

// puts are the objects to create and to update. An object under deletion is left alone until it is gone, and a cluster
// whose namespace OCM has not made yet is told nothing yet.
func puts[O client.Object, S any](done *settled.Set, namespaces map[string]bool, existing, desired map[federation.Key]O, spec func(O) *S, note func(have, updated O)) []Write {
	var writes []Write
	for key, want := range desired {
		have, ok := existing[key]
		switch {
		case !ok && namespaces[want.GetNamespace()]:
			writes = append(writes, Write{Verb: Create, Object: want.DeepCopyObject().(O)})
		case !ok, have.GetDeletionTimestamp() != nil, done.Has(key, have):
		case same(have, want, spec(have), spec(want)):
			done.Add(key, have)
		default:
			updated := have.DeepCopyObject().(O)
			*spec(updated) = *spec(want)
			labels := maps.Clone(updated.GetLabels())
			if labels == nil {
				labels = map[string]string{}
			}
			maps.Copy(labels, want.GetLabels())
			updated.SetLabels(labels)
			controllerutil.AddFinalizer(updated, spokev1alpha1.Finalizer)
			note(have, updated)
			// A copy once more: the API server's answer is decoded into it, and the specs are the planner's.
			writes = append(writes, Write{Verb: Update, Was: have, Object: updated.DeepCopyObject().(O)})
		}
	}
	return writes
}

// notePending says beside a new spec what of it the cluster may not have realized. Labels alone make no new generation.
func notePending(have, updated *spokev1alpha1.LocalRouter) {
	if !equality.Semantic.DeepEqual(have.Spec, updated.Spec) {
		metav1.SetMetaDataAnnotation(&updated.ObjectMeta, spokev1alpha1.AnnotationPending, federation.Pending(have, &updated.Spec))
	}
}

// same is true when have is all that want says; labels that others added are theirs.
func same(have, want client.Object, haveSpec, wantSpec any) bool {
	for key, value := range want.GetLabels() {
		if have.GetLabels()[key] != value {
			return false
		}
	}
	return controllerutil.ContainsFinalizer(have, spokev1alpha1.Finalizer) && equality.Semantic.DeepEqual(haveSpec, wantSpec)
}

func deletions(state *snapshot.State, decided []federation.Deletion) []Write {
	var writes []Write
	for _, deletion := range decided {
		var object client.Object
		if router, ok := state.Routers[deletion.Key]; ok && deletion.Kind == "LocalRouter" {
			object = router
		}
		if gateway, ok := state.Gateways[deletion.Key]; ok && deletion.Kind == "InterconnectGateway" {
			object = gateway
		}
		if object == nil || object.GetDeletionTimestamp() != nil {
			continue
		}
		writes = append(writes, Write{Verb: Delete, Object: object, Because: deletion.Because})
	}
	return writes
}
