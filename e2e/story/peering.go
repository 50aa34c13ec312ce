// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package story

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
)

// Verified waits until a VpcPeering is Active, Programmed and Verified.
func (c *Cluster) Verified(ctx context.Context, namespace, name string) (*networkv1alpha1.VpcPeering, error) {
	peering := &networkv1alpha1.VpcPeering{}
	err := Eventually(ctx, fmt.Sprintf("VpcPeering %s/%s to be verified", namespace, name), func(ctx context.Context) error {
		if err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, peering); err != nil {
			return err
		}
		if peering.Status.State != networkv1alpha1.StateActive {
			return fmt.Errorf("state %q, conditions %v", peering.Status.State, messages(peering))
		}
		for _, t := range []string{networkv1alpha1.ConditionProgrammed, networkv1alpha1.ConditionVerified} {
			if !meta.IsStatusConditionTrue(peering.Status.Conditions, t) {
				return fmt.Errorf("not %s: %v", t, messages(peering))
			}
		}
		return nil
	})
	return peering, err
}

// Failed waits until a VpcPeering is refused and returns the message.
func (c *Cluster) Failed(ctx context.Context, namespace, name, reason string) (string, error) {
	var message string
	err := Eventually(ctx, fmt.Sprintf("VpcPeering %s/%s to fail", namespace, name), func(ctx context.Context) error {
		peering := &networkv1alpha1.VpcPeering{}
		if err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, peering); err != nil {
			return err
		}
		accepted := meta.FindStatusCondition(peering.Status.Conditions, networkv1alpha1.ConditionAccepted)
		if peering.Status.State != networkv1alpha1.StateFailed || accepted == nil || accepted.Reason != reason {
			return fmt.Errorf("state %q, conditions %v", peering.Status.State, messages(peering))
		}
		message = accepted.Message
		return nil
	})
	return message, err
}

func messages(p *networkv1alpha1.VpcPeering) []string {
	var out []string
	for _, c := range p.Status.Conditions {
		out = append(out, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	return out
}

// VNI of a Vpc.
func (c *Cluster) VNI(ctx context.Context, namespace, name string) (int32, error) {
	vpc := &networkv1alpha1.Vpc{}
	if err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, vpc); err != nil {
		return 0, err
	}
	if vpc.Status.VNI == 0 {
		return 0, fmt.Errorf("wait for Vpc %s/%s: it has no VNI yet", namespace, name)
	}
	return vpc.Status.VNI, nil
}
