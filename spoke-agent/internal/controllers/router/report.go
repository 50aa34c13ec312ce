// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package router

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/attachment"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/plan"
)

var orphanOwners = prometheus.NewGauge(prometheus.GaugeOpts{
	Name: "tombolo_agent_ovn_orphan_owners",
	Help: "Owners that have rows in OVN and are neither wanted nor removed by name. They are left alone.",
})

func init() { metrics.Registry.MustRegister(orphanOwners) }

// writeConditions says in every copy whether OVN has it. The status's observedGeneration stays at what OVN had last.
func (r *Reconciler) writeConditions(ctx context.Context, routers []spokev1alpha1.LocalRouter, p plan.Plan, report ovn.Report, setErr error) error {
	var errs []error
	for i := range routers {
		router := &routers[i]
		if router.DeletionTimestamp != nil {
			continue
		}
		before := router.DeepCopy()
		condition := r.programmed(p.RouterErrors[router.Name], cmp.Or(setErr, report.Refused[router.Spec.VpcUID]))
		condition.ObservedGeneration = local.HubGeneration(router)
		meta.SetStatusCondition(&router.Status.Conditions, condition)
		if condition.Status == metav1.ConditionTrue {
			router.Status.ObservedGeneration = condition.ObservedGeneration
		}
		router.Status.Bound()
		if equality.Semantic.DeepEqual(before.Status, router.Status) {
			continue
		}
		if err := r.client.Status().Patch(ctx, router, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
			errs = append(errs, fmt.Errorf("write status of LocalRouter %s: %w", router.Name, err))
		} else {
			r.writes.Wrote(router)
		}
	}
	return errors.Join(errs...)
}

func (r *Reconciler) programmed(routerErr, setErr error) metav1.Condition {
	condition := metav1.Condition{Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionFalse}
	_, dialErr := r.northbound.get()
	switch {
	case routerErr != nil:
		condition.Reason, condition.Message = spokev1alpha1.ReasonInvalid, routerErr.Error()
	case dialErr != nil || errors.Is(setErr, context.DeadlineExceeded):
		condition.Reason = spokev1alpha1.ReasonNorthboundUnreachable
		condition.Message = fmt.Sprintf("The northbound database at %s does not answer (%v): start its ovsdb-server, or give its address with --nb.", r.options.Endpoint, setErr)
	case setErr != nil:
		condition.Reason, condition.Message = spokev1alpha1.ReasonNorthboundError, setErr.Error()
	default:
		condition.Status, condition.Reason, condition.Message = metav1.ConditionTrue, spokev1alpha1.ReasonProgrammed, "OVN has it."
	}
	return condition
}

// annotatePods tells the nodes what OVN gave the pods.
func (r *Reconciler) annotatePods(ctx context.Context, p plan.Plan, report ovn.Report) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(report.Ports)) {
		port, wanted := p.Ports[name]
		if !wanted || !port.Prefix.Contains(report.Ports[name].Address) {
			continue // the port is moving between subnets: the address is still the former one's
		}
		want := port.Attachment(name, report.Ports[name])
		have := port.Pod.Annotations[networkv1alpha1.AnnotationNetwork]
		if have == want.String() {
			continue
		}
		if err := r.annotate(ctx, port.Pod, want.String()); err != nil {
			errs = append(errs, err)
			continue
		}
		r.tellMoved(port.Pod, have, want)
	}
	return errors.Join(errs...)
}

// annotate names the pod's UID, so that a new pod of the same name never gets the old one's interface.
func (r *Reconciler) annotate(ctx context.Context, pod *corev1.Pod, value string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": pod.UID, "annotations": map[string]string{networkv1alpha1.AnnotationNetwork: value},
	}})
	if err != nil {
		return fmt.Errorf("marshal patch of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	target := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
	err = r.client.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("annotate pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// tellMoved warns when a running pod's address is not OVN's any more: its interface keeps the old one.
func (r *Reconciler) tellMoved(pod *corev1.Pod, have string, want attachment.Attachment) {
	before, err := attachment.Parse(have)
	if err != nil || pod.Status.PodIP == "" || before.Address == want.Address && before.Subnet == want.Subnet {
		return
	}
	r.recorder.Eventf(pod, nil, corev1.EventTypeWarning, "AddressChanged", "Attach",
		"The pod was started as %s in %s and is now %s in %s: restart it.", before.Address, before.Subnet, want.Address, want.Subnet)
}

// tellPods says once to each pod that asks for a Vpc why it can't join.
func (r *Reconciler) tellPods(podErrors []plan.PodError) {
	told := map[types.UID]string{}
	for _, e := range podErrors {
		message := e.Err.Error()
		told[e.Pod.UID] = message
		if r.told[e.Pod.UID] != message {
			r.recorder.Eventf(e.Pod, nil, corev1.EventTypeWarning, "NotAttached", "Attach", "%s", message)
		}
	}
	r.told = told
}

func (r *Reconciler) reportOrphans(ctx context.Context, orphans []string) {
	orphanOwners.Set(float64(len(orphans)))
	if list := strings.Join(orphans, " "); list != r.orphans {
		r.orphans = list
		log.FromContext(ctx).Info("OVN has rows of owners that nobody speaks for; they are left alone", "owners", orphans)
	}
}
