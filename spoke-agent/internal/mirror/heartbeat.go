// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

const (
	// beatEvery is how often the agent renews its Lease on the hub; the hub misses it after two minutes. Of 5,000 clusters these are 170 small
	// writes a second, a third of what the kubelets of one cluster of 5,000 nodes write.
	beatEvery = 30 * time.Second
	// beatRetry is how soon after a failure.
	beatRetry = 5 * time.Second
	// beatJitter is the share of the wait that is drawn: agents that a hub let in at once do not stay in step.
	beatJitter = 0.2
)

// heartbeat renews this cluster's Lease on the hub while the agent works and has the cluster's name. The hub makes the Lease.
type heartbeat struct {
	hub   client.Client
	claim *claim
	// works is an error while the agent does not follow its own cluster.
	works func() error
	log   logr.Logger
}

// Start renews until ctx ends.
func (h *heartbeat) Start(ctx context.Context) error {
	said := ""
	for {
		err := h.beat(ctx)
		if ctx.Err() != nil {
			return nil
		}
		pause := beatEvery
		if err != nil {
			pause = beatRetry
			if now := err.Error(); now != said {
				h.log.Info("The lease on the hub is not renewed; the hub calls the agent silent after two minutes", "error", now)
				said = now
			}
		} else {
			said = ""
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait.Jitter(pause, beatJitter)):
		}
	}
}

// beat renews once. A hub that has no Lease for this cluster, or lets no agent renew one, is of an earlier version.
func (h *heartbeat) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatRetry)
	defer cancel()
	if err := h.works(); err != nil {
		return err
	}
	mine, err := h.claim.mine(ctx)
	if err != nil {
		return err
	}
	if !mine {
		return fmt.Errorf("the hub does not know this cluster as %s yet", h.claim.cluster)
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"holderIdentity": h.claim.id, "renewTime": metav1.NowMicro()}})
	if err != nil {
		return fmt.Errorf("marshal patch of lease %s: %w", spokev1alpha1.LeaseName, err)
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: h.claim.cluster, Name: spokev1alpha1.LeaseName}}
	err = h.hub.Patch(ctx, lease, client.RawPatch(types.MergePatchType, patch))
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		h.log.V(1).Info("The hub has no lease for this agent", "error", err.Error())
		return nil
	}
	if err != nil {
		return fmt.Errorf("renew lease %s/%s on the hub: %w", lease.Namespace, lease.Name, err)
	}
	return nil
}
