// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package router

import (
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/binding"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// podChanged leaves out the many updates that change neither where a pod belongs nor what it was told.
func podChanged() predicate.Predicate {
	type facts struct {
		subnet, network     string
		candidate, finished bool
	}
	of := func(o client.Object) facts {
		pod := o.(*corev1.Pod)
		return facts{
			subnet: pod.Annotations[networkv1alpha1.AnnotationSubnet], network: pod.Annotations[networkv1alpha1.AnnotationNetwork],
			candidate: binding.Candidate(pod), finished: binding.Finished(pod),
		}
	}
	return updated(func(before, after client.Object) bool { return of(before) != of(after) })
}

func namespaceChanged() predicate.Predicate {
	return updated(func(before, after client.Object) bool {
		return before.GetAnnotations()[networkv1alpha1.AnnotationVpc] != after.GetAnnotations()[networkv1alpha1.AnnotationVpc]
	})
}

// ownGateway leaves out the InterconnectGateways of other clusters, of which OVN knows nothing. Of the own one statuses count, too: they tell which nodes are
// silent.
func ownGateway() predicate.Predicate {
	is := func(o client.Object) bool { return o.GetLabels()[local.LabelOwn] == "true" }
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return is(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool { return is(e.ObjectOld) || is(e.ObjectNew) },
		DeleteFunc: func(e event.DeleteEvent) bool { return is(e.Object) },
	}
}

func comesOrGoes() predicate.Predicate {
	return updated(func(client.Object, client.Object) bool { return false })
}

// updated passes every creation and deletion, and those updates that matter.
func updated(matters func(before, after client.Object) bool) predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return matters(e.ObjectOld, e.ObjectNew) }}
}
