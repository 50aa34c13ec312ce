// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package leave

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
)

// nextOf says what is left for the person to do, by what was there before the leave began.
func nextOf(f *facts.Facts, w wish, target Target) string {
	managed := find(f, w.name)
	switch {
	case w.gone:
		return fmt.Sprintf("Cluster %s is given up. Never connect it again as it was: reset its nodes, then join it anew.", w.name)
	case target == TargetAddOn:
		return fmt.Sprintf("Open Cluster Management removes the agent from cluster %[1]s when it is drained: nothing is left to do.\n"+
			"The cluster stays in its fleet; kubectl tombolo leave %[1]s --detach takes it out of there, too.", w.name)
	case !facts.ByToken(managed) && f.AddOn(w.name) != nil:
		return fmt.Sprintf("Open Cluster Management deletes the add-on %s with the ManagedCluster, and removes the agent from cluster %s when it is drained: nothing is left to do.",
			facts.AddOn, w.name)
	case uninstalled(f.Gateway(w.name)):
		return fmt.Sprintf("The agent of cluster %s has left before: nothing is left to do.", w.name)
	}
	return fmt.Sprintf("Next, with the context of cluster %s, to remove the agent (it waits until the cluster is drained):\n"+
		"  helm uninstall tombolo-spoke-agent --namespace %s", w.name, facts.Namespace)
}

// uninstalled is true when the agent has said that nothing of it is left because it was uninstalled there. One that was detached
// says so, too, and its release is still to be uninstalled.
func uninstalled(gateway *spokev1alpha1.InterconnectGateway) bool {
	if gateway == nil || gateway.Spec.Detached {
		return false
	}
	c := meta.FindStatusCondition(gateway.Status.Conditions, spokev1alpha1.ConditionLeaving)
	return c != nil && c.Status == "True" && c.Reason == spokev1alpha1.ReasonLeft
}
