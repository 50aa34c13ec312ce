// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/gateway"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
)

func TestTunnelEntries(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	before, at := metav1.NewTime(now.Add(-time.Hour)).Rfc3339Copy(), metav1.NewTime(now).Rfc3339Copy()
	old := spokev1alpha1.Tunnel{Cluster: "west", Node: "e1", Reachable: true, Answering: 1, RTTMicroseconds: 10_000, PathMTU: 1500, LastTransitionTime: before}
	other := spokev1alpha1.Tunnel{Cluster: "west", Node: "e2", Reachable: true, LastTransitionTime: before}
	with := func(e spokev1alpha1.Tunnel, change func(*spokev1alpha1.Tunnel)) spokev1alpha1.Tunnel {
		change(&e)
		return e
	}
	result := func(change func(*tunnelprobe.Result)) tunnelprobe.Result {
		r := tunnelprobe.Result{
			Target: tunnelprobe.Target{Cluster: "west", Node: "w1", MTU: 1500}, Reachable: true, Since: now.Add(-time.Minute), RTT: 10 * time.Millisecond, PathMTU: 1500,
		}
		change(&r)
		return r
	}
	same := func(*tunnelprobe.Result) {}
	for name, tc := range map[string]struct {
		reason  string
		list    []spokev1alpha1.Tunnel
		none    bool // no target
		results []tunnelprobe.Result
		want    []spokev1alpha1.Tunnel
	}{
		"First": {"other nodes' entries stay", []spokev1alpha1.Tunnel{other}, false, []tunnelprobe.Result{result(same)},
			[]spokev1alpha1.Tunnel{with(old, func(e *spokev1alpha1.Tunnel) { e.LastTransitionTime = at }), other}},
		"Same":         {"nothing new", []spokev1alpha1.Tunnel{old}, false, []tunnelprobe.Result{result(same)}, []spokev1alpha1.Tunnel{old}},
		"LittleSlower": {"by half and not more", []spokev1alpha1.Tunnel{old}, false, []tunnelprobe.Result{result(func(r *tunnelprobe.Result) { r.RTT = 15 * time.Millisecond })}, []spokev1alpha1.Tunnel{old}},
		"MuchSlower": {"the path is the same, so the time is", []spokev1alpha1.Tunnel{old}, false, []tunnelprobe.Result{result(func(r *tunnelprobe.Result) { r.RTT = 16 * time.Millisecond })},
			[]spokev1alpha1.Tunnel{with(old, func(e *spokev1alpha1.Tunnel) { e.RTTMicroseconds = 16_000 })}},
		"Jitter": {"three times as much of very little", []spokev1alpha1.Tunnel{with(old, func(e *spokev1alpha1.Tunnel) { e.RTTMicroseconds = 100 })}, false,
			[]tunnelprobe.Result{result(func(r *tunnelprobe.Result) { r.RTT = 300 * time.Microsecond })}, []spokev1alpha1.Tunnel{with(old, func(e *spokev1alpha1.Tunnel) { e.RTTMicroseconds = 100 })}},
		"LossBelowOnePercent": {"none to speak of", []spokev1alpha1.Tunnel{old}, false, []tunnelprobe.Result{result(func(r *tunnelprobe.Result) { r.Loss = 0.009 })}, []spokev1alpha1.Tunnel{old}},
		"Loss": {"some", []spokev1alpha1.Tunnel{old}, false, []tunnelprobe.Result{result(func(r *tunnelprobe.Result) { r.Loss = 0.05 })},
			[]spokev1alpha1.Tunnel{with(old, func(e *spokev1alpha1.Tunnel) { e.LossPermille = 50 })}},
		"Narrower": {"a change of the path", []spokev1alpha1.Tunnel{old}, false, []tunnelprobe.Result{result(func(r *tunnelprobe.Result) { r.PathMTU = 1400 })},
			[]spokev1alpha1.Tunnel{with(old, func(e *spokev1alpha1.Tunnel) { e.PathMTU, e.LastTransitionTime = 1400, at })}},
		"Gone": {"unreachable, with what is known of it", []spokev1alpha1.Tunnel{old}, false, []tunnelprobe.Result{result(func(r *tunnelprobe.Result) { r.Reachable, r.Loss = false, 1 })},
			[]spokev1alpha1.Tunnel{with(old, func(e *spokev1alpha1.Tunnel) {
				e.Reachable, e.Answering, e.Unreachable, e.LossPermille, e.LastTransitionTime = false, 0, []string{"w1"}, 1000, at
			})}},
		"OneGone": {"which of them", []spokev1alpha1.Tunnel{old}, false,
			[]tunnelprobe.Result{result(func(r *tunnelprobe.Result) { r.Node, r.Reachable = "w2", false }), result(same)},
			[]spokev1alpha1.Tunnel{with(old, func(e *spokev1alpha1.Tunnel) {
				e.Reachable, e.Unreachable, e.LastTransitionTime = false, []string{"w2"}, at
			})}},
		"StillGone": {"an agent that has just started has not measured all", []spokev1alpha1.Tunnel{with(old, func(e *spokev1alpha1.Tunnel) { e.Reachable, e.Unreachable = false, []string{"w2"} })}, false,
			[]tunnelprobe.Result{result(same)}, []spokev1alpha1.Tunnel{with(old, func(e *spokev1alpha1.Tunnel) { e.Reachable, e.Unreachable = false, []string{"w2"} })}},
		"Back": {"all answer again", []spokev1alpha1.Tunnel{with(old, func(e *spokev1alpha1.Tunnel) { e.Reachable, e.Unreachable = false, []string{"w2"} })}, false,
			[]tunnelprobe.Result{result(same), result(func(r *tunnelprobe.Result) { r.Node = "w2" })},
			[]spokev1alpha1.Tunnel{with(old, func(e *spokev1alpha1.Tunnel) { e.Answering, e.LastTransitionTime = 2, at })}},
		"OwnCluster": {"whose path MTU nobody looks for", nil, false, []tunnelprobe.Result{result(func(r *tunnelprobe.Result) { r.MTU, r.PathMTU, r.Since = 0, 0, now })},
			[]spokev1alpha1.Tunnel{with(old, func(e *spokev1alpha1.Tunnel) { e.PathMTU, e.LastTransitionTime = 0, at })}},
		"OneOfTwo": {"each value is of the one that does worst", []spokev1alpha1.Tunnel{old}, false,
			[]tunnelprobe.Result{result(func(r *tunnelprobe.Result) { r.RTT, r.Node = 30*time.Millisecond, "w2" }), result(func(r *tunnelprobe.Result) { r.PathMTU = 1400 })},
			[]spokev1alpha1.Tunnel{with(old, func(e *spokev1alpha1.Tunnel) {
				e.Answering, e.RTTMicroseconds, e.PathMTU, e.LastTransitionTime = 2, 30_000, 1400, at
			})}},
		"NotMeasured": {"an agent that has just started keeps what was told", []spokev1alpha1.Tunnel{old}, false, nil, []spokev1alpha1.Tunnel{old}},
		"NotFound":    {"the search for the path MTU goes on", nil, false, []tunnelprobe.Result{result(func(r *tunnelprobe.Result) { r.PathMTU, r.Since = 0, now.Add(-time.Second) })}, nil},
		"NeverFound": {"nothing large passes", nil, false, []tunnelprobe.Result{result(func(r *tunnelprobe.Result) { r.PathMTU = 0 })},
			[]spokev1alpha1.Tunnel{with(old, func(e *spokev1alpha1.Tunnel) { e.PathMTU, e.LastTransitionTime = 0, at })}},
		"NoTarget": {"the last router to west is gone", []spokev1alpha1.Tunnel{old, other}, true, []tunnelprobe.Result{result(same)}, []spokev1alpha1.Tunnel{other}},
	} {
		t.Run(name, func(t *testing.T) {
			targets := []tunnelprobe.Target{{Cluster: "west", Node: "w1"}, {Cluster: "west", Node: "w2"}}
			if tc.none {
				targets = nil
			}
			if diff := cmp.Diff(tc.want, tunnelEntries(tc.list, "e1", targets, tc.results, now)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestEchoed(t *testing.T) {
	own := &spokev1alpha1.InterconnectGateway{Status: spokev1alpha1.InterconnectGatewayStatus{Tunnels: []spokev1alpha1.Tunnel{
		{Cluster: "west", Node: "e1", Unreachable: []string{"w1", "w2"}}, {Cluster: "east", Node: "e1", Unreachable: []string{"e2"}}, {Cluster: "north", Node: "e2", Unreachable: []string{"n1"}},
	}}}
	results := []tunnelprobe.Result{
		{Target: tunnelprobe.Target{Cluster: "west", Node: "w1"}, Reachable: true}, {Target: tunnelprobe.Target{Cluster: "west", Node: "w3"}},
	}
	want := map[gateway.Peer]bool{{Cluster: "west", Node: "w1"}: true, {Cluster: "west", Node: "w2"}: false, {Cluster: "west", Node: "w3"}: false, {Cluster: "east", Node: "e2"}: false}
	if diff := cmp.Diff(want, echoed(own, "e1", results)); diff != "" {
		t.Errorf("what was measured, else what this node has told before (-want +got):\n%s", diff)
	}
	if got := echoed(nil, "e1", nil); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestPathMTUs(t *testing.T) {
	own := &spokev1alpha1.InterconnectGateway{Status: spokev1alpha1.InterconnectGatewayStatus{Tunnels: []spokev1alpha1.Tunnel{
		{Cluster: "west", Node: "e1", PathMTU: 1300}, {Cluster: "south", Node: "e1", PathMTU: 1300}, {Cluster: "north", Node: "e2", PathMTU: 1300}, {Cluster: "vault", Node: "e1"},
	}}}
	results := []tunnelprobe.Result{
		{Target: tunnelprobe.Target{Cluster: "west", Node: "w1"}, PathMTU: 1500}, {Target: tunnelprobe.Target{Cluster: "west", Node: "w2"}, PathMTU: 1400},
		{Target: tunnelprobe.Target{Cluster: "west", Node: "w3"}}, {Target: tunnelprobe.Target{Cluster: "south", Node: "s1"}},
	}
	if diff := cmp.Diff(map[string]int{"west": 1400, "south": 1300}, pathMTUs(own, "e1", results)); diff != "" {
		t.Errorf("the worst that was measured, else what this node has told before (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"west": 1300, "south": 1300, "north": 1300}, pathMTUs(own, "n9", nil)); diff != "" {
		t.Errorf("a node that measures nothing (-want +got):\n%s", diff)
	}
	if got := pathMTUs(nil, "e1", nil); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

// testTunnels: what is measured goes into the own copy, into the metrics and, when a path is narrow, into both paths' MTU.
func (f *fixture) testTunnels(t *testing.T) {
	r := tunnelprobe.Result{Target: tunnelprobe.Target{Cluster: "west", Node: "w1"}, Reachable: true, Since: time.Now(), RTT: 2 * time.Millisecond, Loss: 0.25, PathMTU: 1400}
	ObserveRTT(r.Target, r.RTT)
	f.world.measure(r)
	f.eventuallyWorld(t, "no more is sent than the path takes", strings.ReplaceAll(serving, "cluster west [192.0.2.20]", "cluster west [192.0.2.20] mtu 1400"))
	own := &spokev1alpha1.InterconnectGateway{}
	clustertest.Eventually(t, "the tunnel in the own copy", func(ctx context.Context) error {
		if err := f.Client.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: "east"}, own); err != nil {
			return err
		}
		if len(own.Status.Tunnels) != 1 {
			return errors.New("no tunnel")
		}
		own.Status.Tunnels[0].LastTransitionTime = metav1.Time{}
		if diff := cmp.Diff(spokev1alpha1.Tunnel{Cluster: "west", Node: "e1", Reachable: true, Answering: 1, RTTMicroseconds: 2000, LossPermille: 250, PathMTU: 1400}, own.Status.Tunnels[0]); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	for name, want := range map[string]float64{"tombolo_tunnel_reachable": 1, "tombolo_tunnel_loss_ratio": 0.25, "tombolo_tunnel_path_mtu_bytes": 1400, "tombolo_tunnel_rtt_seconds": 0.002} {
		if got := metric(t, name); got != fmt.Sprintf("west w1 %v", want) {
			t.Errorf("%s is %q, want %v", name, got, want)
		}
	}
	version := own.ResourceVersion
	r.PathMTU = 1500
	f.world.measure(r)
	f.eventuallyWorld(t, "what is known acts at once", serving)
	if err := f.Client.Get(t.Context(), client.ObjectKeyFromObject(own), own); err != nil {
		t.Fatal(err)
	}
	if own.ResourceVersion != version {
		t.Error("the copy was written again within the half minute")
	}
	f.world.measure()
	f.eventuallyWorld(t, "what was told is used until it is measured again", strings.ReplaceAll(serving, "cluster west [192.0.2.20]", "cluster west [192.0.2.20] mtu 1400"))
	f.world.measure(r)
	f.eventuallyWorld(t, "as before", serving)
}

// metric is the labels' and the sample's or histogram's value of the only metric of that name.
func metric(t *testing.T, name string) string {
	t.Helper()
	families, err := ctrlmetrics.Registry.(prometheus.Gatherer).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name || len(family.GetMetric()) != 1 {
			continue
		}
		m := family.GetMetric()[0]
		labels := []string{}
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetValue())
		}
		value := m.GetGauge().GetValue()
		if family.GetType() == dto.MetricType_HISTOGRAM {
			value = m.GetHistogram().GetSampleSum()
		}
		return fmt.Sprintf("%s %v", strings.Join(labels, " "), value)
	}
	return "missing"
}
