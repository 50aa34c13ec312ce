// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"helm.sh/helm/v3/pkg/strvals"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// addOnSettles is how long the hub may take to write a ManifestWork that other values change.
const addOnSettles = 15 * time.Second

// upgradeAddOn gives the add-on of a cluster other values, and waits until OCM has applied what they change.
func (l *Lab) upgradeAddOn(ctx context.Context, c *Cluster, set []string) error {
	ctx, cancel := context.WithTimeout(ctx, helmTimeout)
	defer cancel()
	values := c.values(charts.SpokeAgent)
	for _, s := range set {
		if err := strvals.ParseInto(s, values); err != nil {
			return fmt.Errorf("parse value %q: %w", s, err)
		}
	}
	addOn, err := c.addOn(values)
	if err != nil {
		return err
	}
	if has, err := l.hasAddOn(ctx, addOn); has || err != nil {
		return err
	}
	before, err := l.addOnWork(ctx, c.Name)
	if err != nil {
		return err
	}
	if err := l.Hub.Apply(ctx, &unstructured.Unstructured{Object: addOn}); err != nil {
		return err
	}
	unchanged := time.Now().Add(addOnSettles)
	err = proc.Wait(ctx, "the add-on's ManifestWork in "+c.Name, nil, func(ctx context.Context) error {
		work, err := l.addOnWork(ctx, c.Name)
		if err != nil {
			return err
		}
		if work.Generation == before.Generation && time.Now().After(unchanged) {
			return nil // other words for the same values
		}
		return appliedAfter(work, before.Generation)
	})
	if err != nil {
		return errors.Join(err, c.complaints(context.WithoutCancel(ctx)))
	}
	return c.tomboloReady(ctx)
}

// appliedAfter tells whether a later generation of a ManifestWork than before has been applied.
func appliedAfter(work *workv1.ManifestWork, before int64) error {
	applied := meta.FindStatusCondition(work.Status.Conditions, workv1.WorkApplied)
	if work.Generation == before || applied == nil || applied.Status != metav1.ConditionTrue || applied.ObservedGeneration != work.Generation {
		return fmt.Errorf("generation %d, was %d, condition %+v", work.Generation, before, applied)
	}
	return nil
}

// hasAddOn tells whether the hub has an add-on with the same annotations: nothing would change.
func (l *Lab) hasAddOn(ctx context.Context, addOn map[string]any) (bool, error) {
	hub, err := l.hubClient()
	if err != nil {
		return false, err
	}
	want := &unstructured.Unstructured{Object: addOn}
	have := &unstructured.Unstructured{}
	have.SetGroupVersionKind(want.GroupVersionKind())
	err = hub.Get(ctx, client.ObjectKeyFromObject(want), have)
	for key, value := range want.GetAnnotations() {
		if have.GetAnnotations()[key] != value {
			return false, client.IgnoreNotFound(err)
		}
	}
	return err == nil, client.IgnoreNotFound(err)
}

func (l *Lab) addOnWork(ctx context.Context, cluster string) (*workv1.ManifestWork, error) {
	hub, err := l.hubClient()
	if err != nil {
		return nil, err
	}
	work := &workv1.ManifestWork{}
	return work, hub.Get(ctx, client.ObjectKey{Namespace: cluster, Name: "addon-tombolo-deploy-0"}, work)
}

func (l *Lab) hubClient() (client.Client, error) {
	config, err := l.Hub.REST()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := workv1.Install(scheme); err != nil {
		return nil, err
	}
	return client.New(config, client.Options{Scheme: scheme})
}
