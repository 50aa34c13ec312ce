// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/snapshot"
)

// stamp says in a LocalRouter which hub writes it, and in which epoch. A new epoch alone is no reason to write: a new leader would rewrite the fleet.
func stamp(router client.Object, hub *federation.Hub) {
	annotations := router.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[spokev1alpha1.AnnotationHub] = hub.UID
	annotations[spokev1alpha1.AnnotationHubEpoch] = strconv.FormatInt(hub.Epoch, 10)
	router.SetAnnotations(annotations)
}

// restamps are the LocalRouters that clusters don't take from this hub although somebody has confirmed that it is right: those that bear the name of a hub
// that it has taken over, and those that a cluster refuses because it has seen newer. They are written again as they are, those under deletion too.
func restamps(state *snapshot.State, others []Write) []Write {
	hub := &state.Snapshot.Hub
	if hub.RestoredEpoch == 0 {
		return nil
	}
	written := map[federation.Key]bool{}
	for _, w := range others {
		if _, is := w.Object.(*spokev1alpha1.LocalRouter); is {
			written[snapshot.KeyOf(w.Object)] = true
		}
	}
	var writes []Write
	for _, router := range state.Snapshot.Routers {
		if !written[snapshot.KeyOf(router)] && distrusted(router, hub) {
			again := router.DeepCopy()
			stamp(again, hub)
			writes = append(writes, Write{Verb: Update, Was: router, Object: again})
		}
	}
	return writes
}

func distrusted(router *spokev1alpha1.LocalRouter, hub *federation.Hub) bool {
	if slices.Contains(hub.FormerUIDs, router.Annotations[spokev1alpha1.AnnotationHub]) {
		return true
	}
	epoch, err := strconv.ParseInt(router.Annotations[spokev1alpha1.AnnotationHubEpoch], 10, 64)
	c := meta.FindStatusCondition(router.Status.Conditions, spokev1alpha1.ConditionProgrammed)
	return c != nil && c.Status == metav1.ConditionFalse && c.Reason == spokev1alpha1.ReasonWentBack && (err != nil || epoch < hub.RestoredEpoch)
}
