// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/probe"
)

func TestInside(t *testing.T) {
	in, vpc := thirdNode(), "demo/vpc-1"
	in.Node, in.Labelled = "e1", true
	pods := func(count int) (all []Hosted) {
		for i := range count {
			all = append(all, Hosted{NodeName: fmt.Sprintf("n%02d", count-i), Vpc: vpc, Address: addr(fmt.Sprintf("10.1.1.%d", count-i))})
		}
		return all
	}
	for name, tc := range map[string]struct {
		reason string
		hosted []Hosted
		want   string
	}{
		"Nobody":  {"without pods there is nothing to be known", nil, ""},
		"Own":     {"pods of this node are not behind the way that is in doubt", []Hosted{{NodeName: in.Node, Vpc: vpc, Address: addr("10.1.1.1")}}, ""},
		"Foreign": {"a Vpc without a port here", []Hosted{{NodeName: "n01", Vpc: "shop/none", Address: addr("10.1.1.1")}}, ""},
		"First":   {"one of each node, the same for whoever asks", append(pods(2), Hosted{NodeName: "n02", Vpc: vpc, Address: addr("10.1.1.1")}), "n01 10.1.1.1, n02 10.1.1.1"},
		"Many": {"not more than eight", pods(20),
			"n01 10.1.1.1, n02 10.1.1.2, n03 10.1.1.3, n04 10.1.1.4, n05 10.1.1.5, n06 10.1.1.6, n07 10.1.1.7, n08 10.1.1.8"},
	} {
		t.Run(name, func(t *testing.T) {
			in := in
			in.Hosted = tc.hosted
			p := Make(in)
			var got []string
			for _, i := range p.Inside {
				if i.Interface == "" || i.Src.Compare(i.Dst) == 0 || i.DstMAC == "" {
					t.Errorf("%+v can't be sent", i.Target)
				}
				got = append(got, i.Node+" "+i.Dst.String())
			}
			if strings.Join(got, ", ") != tc.want {
				t.Errorf("%s: %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

func TestLookInside(t *testing.T) {
	now := time.Now()
	asked := []Inside{{Node: "n3", Target: probe.Target{Key: "3"}}, {Node: "n4", Target: probe.Target{Key: "4"}}}
	result := func(key string, reachable bool, ago time.Duration) probe.Result {
		return probe.Result{Key: key, Reachable: reachable, Since: now.Add(-ago)}
	}
	silent := []probe.Result{result("3", false, time.Minute), result("4", false, time.Minute)}
	cutOff := []metav1.Condition{{Type: spokev1alpha1.ConditionPodsReachable, Status: metav1.ConditionFalse, Reason: spokev1alpha1.ReasonNoWayToPods, Message: "as said before"}}
	answers := map[Peer]bool{{"east", "e2"}: true}
	for name, tc := range map[string]struct {
		reason  string
		asked   []Inside
		results []probe.Result
		own     spokev1alpha1.GatewayNode
		other   []string // nodes whose pods answer e2
		echoed  map[Peer]bool
		want    string
	}{
		"Nothing":       {"no pods", nil, silent, spokev1alpha1.GatewayNode{}, []string{"n3"}, answers, "false [] false "},
		"Fine":          {"as it should be", asked, []probe.Result{result("3", true, 0), result("4", true, 0)}, spokev1alpha1.GatewayNode{}, []string{"n3", "n4"}, answers, "true [n3 n4] false "},
		"One":           {"one node is dead, or its pod does not answer anybody", asked, []probe.Result{result("3", true, 0), silent[1]}, spokev1alpha1.GatewayNode{}, []string{"n3", "n4"}, answers, "true [n3] false "},
		"CutOff":        {"all are silent, and another gateway hears one", asked, silent, spokev1alpha1.GatewayNode{}, []string{"n4"}, answers, "true [] false of node n4 one answers gateway node e2"},
		"Silence":       {"no pod answers pings: nobody hears them", asked, silent, spokev1alpha1.GatewayNode{}, nil, answers, "true [] false "},
		"Other":         {"another gateway hears others only", asked, silent, spokev1alpha1.GatewayNode{}, []string{"e1"}, answers, "true [] false "},
		"Last":          {"the other gateway is not there: this is the last one", asked, silent, spokev1alpha1.GatewayNode{}, []string{"n3"}, map[Peer]bool{{"east", "e2"}: false}, "true [] false "},
		"NotKnown":      {"of the other gateway nothing is known", asked, silent, spokev1alpha1.GatewayNode{}, []string{"n3"}, nil, "true [] false "},
		"TooEarly":      {"a pod that starts is silent for a moment", asked, []probe.Result{result("3", false, time.Second), result("4", false, time.Second)}, spokev1alpha1.GatewayNode{}, []string{"n3"}, answers, "true [] true "},
		"Restart":       {"what the agent before has heard", asked, nil, spokev1alpha1.GatewayNode{PodNodes: []string{"n3"}}, []string{"n3"}, answers, "true [n3] true "},
		"RestartCutOff": {"and has not heard", asked, nil, spokev1alpha1.GatewayNode{Conditions: cutOff}, []string{"n3"}, answers, "true [] true as said before"},
		"Back":          {"one answers again", asked, []probe.Result{result("3", true, 0)}, spokev1alpha1.GatewayNode{Conditions: cutOff}, []string{"n3"}, answers, "true [n3] true "},
		"BothGone":      {"the other one hears nothing any more either: all gateways are as good as each other", asked, silent, spokev1alpha1.GatewayNode{Conditions: cutOff}, nil, answers, "true [] false "},
	} {
		t.Run(name, func(t *testing.T) {
			own := &spokev1alpha1.InterconnectGateway{Spec: spokev1alpha1.InterconnectGatewaySpec{Cluster: "east"}}
			tc.own.Node = "e1"
			own.Status.Gateways = []spokev1alpha1.GatewayNode{tc.own, {Node: "e2", PodNodes: tc.other}}
			got := LookInside(own, "e1", tc.asked, tc.results, tc.echoed, now)
			text := fmt.Sprintf("%t %v %t ", got.Asked, got.Answering, got.Doubtful)
			if !strings.HasPrefix(tc.want, text) || (got.CutOff == "") != (tc.want == text) || !strings.Contains(got.CutOff, strings.TrimPrefix(tc.want, text)) {
				t.Errorf("%s: %s%q, want %q", tc.reason, text, got.CutOff, tc.want)
			}
		})
	}
}
