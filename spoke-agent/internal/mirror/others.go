// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"k8s.io/apimachinery/pkg/api/equality"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// Every agent watches the InterconnectGateways of all clusters, for where their gateways are. What the hub asks another cluster, and what that answers, is
// none of its business: in a fleet of thousands of clusters each such word would wake all of them.

// withoutOthers keeps of other clusters' InterconnectGateways what this one copies.
func withoutOthers(cluster string) toolscache.TransformFunc {
	return func(o any) (any, error) {
		g, is := o.(*spokev1alpha1.InterconnectGateway)
		if !is {
			return o, nil
		}
		g.ManagedFields = nil
		if !own(g, cluster) {
			g.Spec.ReleasedVpcs, g.Status = nil, spokev1alpha1.InterconnectGatewayStatus{}
		}
		return g, nil
	}
}

// news leaves out changes of other clusters' InterconnectGateways that are not copied.
func (m *Mirror) news() predicate.TypedPredicate[client.Object] {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		was, wasOne := e.ObjectOld.(*spokev1alpha1.InterconnectGateway)
		is, isOne := e.ObjectNew.(*spokev1alpha1.InterconnectGateway)
		return !wasOne || !isOne || own(is, m.Cluster) || was.UID != is.UID || (was.DeletionTimestamp == nil) != (is.DeletionTimestamp == nil) ||
			!equality.Semantic.DeepEqual(was.Finalizers, is.Finalizers) || !equality.Semantic.DeepEqual(was.Spec, is.Spec)
	}}
}

func own(g *spokev1alpha1.InterconnectGateway, cluster string) bool {
	return g.Namespace == cluster && g.Name == cluster
}

// trustChanged passes copies of the own InterconnectGateway that name another hub to believe than before: then all that the hub says is judged anew.
func trustChanged() predicate.TypedPredicate[client.Object] {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld.GetAnnotations(), e.ObjectNew.GetAnnotations()
			return e.ObjectNew.GetLabels()[local.LabelOwn] == "true" &&
				(was[annotationTrustedHub] != is[annotationTrustedHub] || was[annotationJoined] != is[annotationJoined])
		},
	}
}
