// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package router

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// testSilentGateway: what one gateway node says of another one takes it out of the routes and into conditions, event and metric, and back.
func (f *fixture) testSilentGateway(t *testing.T) {
	own := &spokev1alpha1.InterconnectGateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: "east", Labels: map[string]string{local.LabelOwn: "true"}},
		Spec: spokev1alpha1.InterconnectGatewaySpec{Cluster: "east", Encapsulation: "VXLAN", Port: 4789, Endpoints: []spokev1alpha1.GatewayEndpoint{
			{Node: "n1", Address: "192.0.2.1"}, {Node: "n2", Address: "192.0.2.2", Index: 1},
		}},
	}
	far := localRouter("far")
	far.Spec.Routes = []string{"172.31.0.0/16"}
	f.mustCreate(t, own, far)
	f.eventuallyHops(t, "both gateways", "[169.254.128.2 169.254.128.3]")
	say := func(unreachable ...string) {
		t.Helper()
		own.Status.Tunnels = []spokev1alpha1.Tunnel{
			{Cluster: "east", Node: "n2", Unreachable: unreachable, LastTransitionTime: metav1.NewTime(time.Now())},
			{Cluster: "west", Node: "n2", Reachable: true, Answering: 1, LastTransitionTime: metav1.NewTime(time.Now())},
		}
		clustertest.Eventually(t, "n2 to say what it sees", func(ctx context.Context) error {
			fresh := &spokev1alpha1.InterconnectGateway{}
			if err := f.Client.Get(ctx, client.ObjectKeyFromObject(own), fresh); err != nil {
				return err
			}
			fresh.Status.Tunnels = own.Status.Tunnels
			return f.Client.Status().Update(ctx, fresh)
		})
	}
	say("n1")
	f.eventuallyHops(t, "the one that answers", "[169.254.128.3]")
	f.eventuallyReachable(t, own, metav1.ConditionFalse, spokev1alpha1.ReasonGatewayUnreachable, "True GatewayUnreachable gateway node n1: Reachable: gateway node n2 gets no answer")
	if got := gauge(t); got != 1 {
		t.Errorf("the metric says %f", got)
	}
	say()
	f.eventuallyHops(t, "both again", "[169.254.128.2 169.254.128.3]")
	f.eventuallyReachable(t, own, metav1.ConditionTrue, spokev1alpha1.ReasonGatewayReachable, "True Ready")
	if got := gauge(t); got != 0 {
		t.Errorf("the metric says %f", got)
	}
	for _, reason := range []string{spokev1alpha1.ReasonGatewayUnreachable, spokev1alpha1.ReasonGatewayReachable} {
		clustertest.Eventually(t, "event "+reason, func(ctx context.Context) error {
			var list eventsv1.EventList
			if err := f.Client.List(ctx, &list, client.InNamespace(local.Namespace)); err != nil {
				return err
			}
			for _, e := range list.Items {
				if e.Regarding.Name == "east" && e.Reason == reason && strings.HasPrefix(e.Note, "Gateway node n1: ") {
					return nil
				}
			}
			return fmt.Errorf("%d events, none of them", len(list.Items))
		})
	}
}

func (f *fixture) eventuallyHops(t *testing.T, what, want string) {
	t.Helper()
	clustertest.Eventually(t, what+" as next hops", func(context.Context) error {
		for _, r := range f.db.last().Routers {
			if r.Owner == "uid-far" && len(r.Routes) == 1 {
				if got := fmt.Sprint(r.Routes[0].NextHops); got != want {
					return fmt.Errorf("they are %s", got)
				}
				return nil
			}
		}
		return errors.New("no route")
	})
}

// eventuallyReachable waits for the condition of node n1, and for what it makes of the whole.
func (f *fixture) eventuallyReachable(t *testing.T, own *spokev1alpha1.InterconnectGateway, status metav1.ConditionStatus, reason, summary string) {
	t.Helper()
	clustertest.Eventually(t, "node n1 to be Reachable="+string(status), func(ctx context.Context) error {
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(own), own); err != nil {
			return err
		}
		if len(own.Status.Gateways) != 1 || own.Status.Gateways[0].Node != "n1" {
			return fmt.Errorf("gateways are %+v", own.Status.Gateways)
		}
		c := meta.FindStatusCondition(own.Status.Gateways[0].Conditions, spokev1alpha1.ConditionReachable)
		all := meta.FindStatusCondition(own.Status.Conditions, spokev1alpha1.ConditionDataPathReady)
		if c == nil || c.Status != status || c.Reason != reason || all == nil {
			return fmt.Errorf("condition is %+v, and of the whole %+v", c, all)
		}
		if got := fmt.Sprintf("%s %s %s", all.Status, all.Reason, all.Message); !strings.HasPrefix(got, summary) {
			return fmt.Errorf("of the whole it is %q", got)
		}
		return nil
	})
}

func gauge(t *testing.T) float64 {
	t.Helper()
	var m dto.Metric
	if err := unreachableGateways.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetGauge().GetValue()
}
