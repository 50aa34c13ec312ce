// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package leave

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

func name(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func TestLosses(t *testing.T) {
	vpc := func(n string, clusters ...networkv1alpha1.ClusterName) networkv1alpha1.Vpc {
		v := networkv1alpha1.Vpc{ObjectMeta: name("shop", n)}
		for _, c := range clusters {
			v.Status.Clusters = append(v.Status.Clusters, networkv1alpha1.VpcCluster{Name: c})
		}
		return v
	}
	f := &facts.Facts{
		Vpcs: []networkv1alpha1.Vpc{vpc("c", "west"), vpc("b", "east"), vpc("a", "east", "west")},
		Subnets: []networkv1alpha1.Subnet{{ObjectMeta: name("shop", "net"), Status: networkv1alpha1.SubnetStatus{Clusters: []networkv1alpha1.SubnetCluster{
			{Name: "east", CIDR: "10.0.0.0/24"}, {Name: "west", CIDR: "10.0.1.0/24"}}}}},
		Peerings: []networkv1alpha1.VpcPeering{
			{ObjectMeta: name("other", "to-shop"), Spec: networkv1alpha1.VpcPeeringSpec{Vpc: "x", PeerVpc: networkv1alpha1.VpcReference{Namespace: "shop", Name: "b"}}},
			{ObjectMeta: name("shop", "of-c"), Spec: networkv1alpha1.VpcPeeringSpec{Vpc: "c", PeerVpc: networkv1alpha1.VpcReference{Namespace: "other", Name: "a"}}},
		},
	}
	want := Loss{Vpcs: []string{"shop/a", "shop/b"}, Ending: []string{"shop/b"}, Subnets: []string{"shop/net (10.0.0.0/24)"}, Peerings: []string{"other/to-shop"}}
	if diff := cmp.Diff(want, Losses(f, "east")); diff != "" {
		t.Errorf("what is lost with east: -want +got:\n%s", diff)
	}
}

// TestFrozen: who waits is told that somebody has to do something.
func TestFrozen(t *testing.T) {
	for reason, want := range map[string]string{
		networkv1alpha1.ReasonMassRemoval: "waiting for the hub to begin; the hub holds back a large removal, which this may be part of, until somebody confirms it: look at kubectl tombolo confirm",
		networkv1alpha1.ReasonWentBack:    "waiting for the hub to begin; the hub is frozen (WentBack) and nothing goes on until somebody confirms that it is right: look at kubectl tombolo confirm",
	} {
		condition := metav1.Condition{Type: networkv1alpha1.ConditionFrozen, Status: metav1.ConditionTrue, Reason: reason}
		f := &facts.Facts{
			Hub: true, ManagedClusters: []clusterv1.ManagedCluster{{ObjectMeta: name("", "east")}},
			Fleets: []networkv1alpha1.Fleet{{Status: networkv1alpha1.FleetStatus{Conditions: []metav1.Condition{condition}}}},
		}
		if got := ProgressOf(f, "east", TargetCluster).String(); got != want {
			t.Errorf("%s: %q, want %q", reason, got, want)
		}
		f.ManagedClusters = nil
		if got := ProgressOf(f, "east", TargetCluster).String(); got != "it has left" {
			t.Errorf("%s: %q, and it has left", reason, got)
		}
	}
}

func TestProgress(t *testing.T) {
	router := func(cluster string, generation, observed int64, remotes ...string) spokev1alpha1.LocalRouter {
		r := spokev1alpha1.LocalRouter{ObjectMeta: name(cluster, "r")}
		r.Generation, r.Status.ObservedGeneration = generation, observed
		for _, remote := range remotes {
			r.Spec.Remotes = append(r.Spec.Remotes, spokev1alpha1.Remote{Cluster: remote})
		}
		return r
	}
	fleet := []clusterv1.ManagedCluster{{ObjectMeta: name("", "east")}}
	tests := map[string]struct {
		reason     string
		membership spokev1alpha1.Membership
		fleet      []clusterv1.ManagedCluster
		routers    []spokev1alpha1.LocalRouter
		want       string
	}{
		"asked":     {"the hub has not answered", "", fleet, nil, "waiting for the hub to begin"},
		"told":      {"west still has the route", "Draining", fleet, []spokev1alpha1.LocalRouter{router("west", 1, 1, "east"), router("east", 1, 1)}, "Draining: still to confirm that they have no route to it: [west]"},
		"unheard":   {"west was told and has not confirmed, north has", "Draining", fleet, []spokev1alpha1.LocalRouter{router("west", 2, 1), router("north", 2, 2)}, "Draining: still to confirm that they have no route to it: [west]"},
		"confirmed": {"its own routers go last", "Draining", fleet, []spokev1alpha1.LocalRouter{router("west", 2, 2), router("east", 1, 1)}, "Draining: every other cluster has confirmed, 1 of its own routers are still there"},
		"drained":   {"nothing is left", "Drained", fleet, nil, "Drained: no other cluster has a route to it; its agent cleans up"},
		"left":      {"the object is gone", "Drained", nil, nil, "it has left"},
	}
	for n, test := range tests {
		t.Run(n, func(t *testing.T) {
			f := &facts.Facts{Hub: true, ManagedClusters: test.fleet, Routers: test.routers,
				Gateways: []spokev1alpha1.InterconnectGateway{{ObjectMeta: name("east", "east"), Spec: spokev1alpha1.InterconnectGatewaySpec{Cluster: "east", Membership: test.membership}}}}
			if got := ProgressOf(f, "east", TargetCluster).String(); got != test.want {
				t.Errorf("%s: %q, want %q", test.reason, got, test.want)
			}
		})
	}
}

// TestNext: what is left to do depends on who joined the cluster, and on what its agent has said.
func TestNext(t *testing.T) {
	const helm = "helm uninstall tombolo-spoke-agent --namespace tombolo-system"
	said := func(status metav1.ConditionStatus, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: spokev1alpha1.ConditionLeaving, Status: status, Reason: reason}}
	}
	tests := map[string]struct {
		reason         string
		byToken, addOn bool
		wish           wish
		gateway        spokev1alpha1.InterconnectGateway
		target         Target
		want, no       string
	}{
		"token":        {"helm installed the agent", true, false, wish{}, spokev1alpha1.InterconnectGateway{}, TargetCluster, helm, "Open Cluster Management"},
		"leaves":       {"helm uninstall is at it, and can be called again", true, false, wish{}, spokev1alpha1.InterconnectGateway{Status: spokev1alpha1.InterconnectGatewayStatus{Conditions: said("True", "Uninstalling")}}, TargetCluster, helm, "nothing is left"},
		"left":         {"helm uninstall came first", true, false, wish{}, spokev1alpha1.InterconnectGateway{Status: spokev1alpha1.InterconnectGatewayStatus{Conditions: said("True", "Left")}}, TargetCluster, "has left before: nothing is left to do", "helm"},
		"back":         {"it was installed again", true, false, wish{}, spokev1alpha1.InterconnectGateway{Status: spokev1alpha1.InterconnectGatewayStatus{Conditions: said("False", "Installed")}}, TargetCluster, helm, "nothing is left"},
		"detached":     {"the agent has cleaned up by itself, the release is there", true, false, wish{}, spokev1alpha1.InterconnectGateway{Spec: spokev1alpha1.InterconnectGatewaySpec{Detached: true}, Status: spokev1alpha1.InterconnectGatewayStatus{Conditions: said("True", "Left")}}, TargetCluster, helm, "nothing is left"},
		"add-on":       {"OCM installed the agent", false, true, wish{}, spokev1alpha1.InterconnectGateway{}, TargetAddOn, "kubectl tombolo leave east --detach", "helm"},
		"detach":       {"OCM deletes the add-on itself", false, true, wish{detach: true}, spokev1alpha1.InterconnectGateway{}, TargetCluster, "deletes the add-on tombolo with the ManagedCluster", "helm"},
		"OCM and helm": {"a person installed the agent in a cluster of OCM's", false, false, wish{detach: true}, spokev1alpha1.InterconnectGateway{}, TargetCluster, helm, "add-on"},
		"gone":         {"nobody can uninstall anything there", true, false, wish{gone: true}, spokev1alpha1.InterconnectGateway{}, TargetCluster, "is given up", "helm"},
	}
	for n, test := range tests {
		t.Run(n, func(t *testing.T) {
			cluster := clusterv1.ManagedCluster{ObjectMeta: name("", "east")}
			if test.byToken {
				cluster.Annotations = map[string]string{facts.AnnotationJoinedBy: facts.JoinedByToken}
			}
			test.gateway.ObjectMeta, test.gateway.Spec.Cluster, test.wish.name = name("east", "east"), "east", "east"
			f := &facts.Facts{Hub: true, ManagedClusters: []clusterv1.ManagedCluster{cluster}, Gateways: []spokev1alpha1.InterconnectGateway{test.gateway}}
			if test.addOn {
				f.AddOns = []addonv1alpha1.ManagedClusterAddOn{{ObjectMeta: name("east", facts.AddOn)}}
			}
			if got := nextOf(f, test.wish, test.target); !strings.Contains(got, test.want) || strings.Contains(got, test.no) {
				t.Errorf("%s: want %q and no %q:\n%s", test.reason, test.want, test.no, got)
			}
		})
	}
}

// TestAnswers: what a person types at the question. Terminal.Answer is what is behind Ask when there is a person.
func TestAnswers(t *testing.T) {
	tests := map[string]struct {
		reason, typed string
		gone, want    bool
	}{
		"yes":              {"as asked", "y\n", false, true},
		"yes in full":      {"a habit", "Yes\n", false, true},
		"no":               {"the default", "\n", false, false},
		"end":              {"the input ends", "", false, false},
		"name":             {"typed by hand", "east\n", true, true},
		"yes is no name":   {"saying yes by habit does not give a cluster up", "y\n", true, false},
		"name is no yes":   {"a name is not what was asked for", "east\n", false, false},
		"another's name":   {"the wrong cluster", "west\n", true, false},
		"name with spaces": {"around it", "  east \n", true, true},
	}
	for n, test := range tests {
		t.Run(n, func(t *testing.T) {
			o := options{wish: wish{name: "east", gone: test.gone}}
			streams := genericiooptions.IOStreams{In: strings.NewReader(test.typed), Out: &bytes.Buffer{}, ErrOut: &bytes.Buffer{}}
			answer, err := terminal.Answer(streams, "?")
			if err != nil {
				t.Fatal(err)
			}
			if got := o.agreed(answer); got != test.want {
				t.Errorf("%s: %v", test.reason, got)
			}
		})
	}
}
