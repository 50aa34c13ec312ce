// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// TestCapturedSpoke takes the identity of west's agent, in its place, and says with it what is another cluster's: the hub refuses that and says
// what and why, and no packet, map or row of anybody changes. What is not west's to write can't be written at all.
func TestCapturedSpoke(t *testing.T) {
	n := newTenant(t, "captured")
	pod1, pod2 := n.peered()
	n.annotateEndpoints("west", n.address("west", 0)+","+n.address("east", 0)) // so of the second one only the holder speaks
	t.Cleanup(func() { n.annotateEndpoints("west", "") })
	n.controllers("west", 0) // else they would say the truth again
	t.Cleanup(func() {
		n.controllers("west", 2)
		n.check(fleet.Lab.AgentsReady(context.WithoutCancel(n.ctx)))
	})
	thief := n.agentOf("west")
	written, world, believed := n.written(), n.world(), n.endpoints()

	end := n.pingOn(pod1, pod2)
	n.forbidden(thief)
	n.lie(thief)
	n.refused(map[string]string{
		"n1 " + spokev1alpha1.ReasonKeyTaken:                `the WireGuard key is that of gateway node n1 of cluster "east", which had it first: annotate Node n1 of cluster "west"`,
		"thief " + spokev1alpha1.ReasonAddressTaken:         n.address("east", 0) + ` is cluster "east"'s, which had it first: when it should be cluster "west"'s, annotate both ManagedClusters`,
		"stranger " + spokev1alpha1.ReasonAddressNotAllowed: `192.0.2.9: annotation tombolo.io/endpoints of ManagedCluster "west" allows`,
		"loopback " + spokev1alpha1.ReasonAddressInvalid:    "127.0.0.1 is in 127.0.0.0/8, which no other cluster can send to",
	})
	n.diagnosed(`reports node thief with address ` + n.address("east", 0) + `, and the hub refuses that: AddressTaken`)
	n.toldEast()
	time.Sleep(2 * time.Second) // for whatever agents would make of it
	if diff := cmp.Diff(believed, n.endpoints()); diff != "" {
		t.Errorf("what the fleet believes changed: %s", diff)
	}
	if after := n.world(); after != world {
		t.Errorf("OVN or eBPF changed by what a captured agent says: %s", cmp.Diff(world, after))
	}
	n.notChanged(written, "a captured agent")
	for _, flow := range end() {
		n.lossless(flow, "west's agent captured")
	}

	n.controllers("west", 2)
	n.refused(map[string]string{})
	n.reach(pod1, pod2, 62)
}

// pingOn sends echo requests until end is called, in flows that overlap.
func (n *tenant) pingOn(from, to *story.Pod) (end func() []pinging) {
	stop, all := make(chan struct{}), make(chan []pinging)
	go func() {
		for flows := []pinging{}; ; {
			flows = append(flows, n.ping(from, to, 4*time.Second))
			select {
			case <-stop:
				all <- flows
				return
			case <-time.After(3 * time.Second):
			}
		}
	}()
	return func() []pinging {
		close(stop)
		return <-all
	}
}

// address of a node on the network between clusters.
func (n *tenant) address(cluster string, node int) string {
	n.Helper()
	c, err := fleet.Lab.Cluster(cluster)
	n.must(err)
	return c.Nodes[node].WanIP.Addr().String()
}

// annotateEndpoints says where a cluster's gateways are; nothing for "".
func (n *tenant) annotateEndpoints(cluster, ranges string) {
	n.Helper()
	value := "null"
	if ranges != "" {
		value = strconv.Quote(ranges)
	}
	mc := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: cluster}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, networkv1alpha1.AnnotationEndpoints, value)
	n.check(fleet.Hub.Patch(context.WithoutCancel(n.ctx), mc, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// controllers sets how many pods of the role controller a cluster has, and waits until they are as many.
func (n *tenant) controllers(cluster string, replicas int32) {
	n.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(n.ctx), time.Minute)
	defer cancel()
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "tombolo-system", Name: "tombolo-agent-controller"}}
	n.check(fleet.Spokes[cluster].Patch(ctx, deployment, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))))
	n.check(story.Eventually(ctx, "controllers of "+cluster, func(ctx context.Context) error {
		var pods corev1.PodList
		err := fleet.Spokes[cluster].List(ctx, &pods, client.InNamespace("tombolo-system"), client.MatchingLabels{"app.kubernetes.io/component": "controller"})
		if err == nil && len(pods.Items) != int(replicas) {
			err = fmt.Errorf("%d of %d", len(pods.Items), replicas)
		}
		return err
	}))
}

// agentOf is the hub as a cluster's agent sees it, by the identity in that cluster's Secret and from a node of it.
func (n *tenant) agentOf(cluster string) client.Client {
	n.Helper()
	secret, dir := &corev1.Secret{}, n.TempDir()
	n.must(fleet.Spokes[cluster].Get(n.ctx, types.NamespacedName{Namespace: "tombolo-system", Name: "tombolo-hub-kubeconfig"}, secret))
	for name, content := range secret.Data { // the kubeconfig names the others
		n.must(os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, spokev1alpha1.IdentityKubeconfig))
	n.must(err)
	c, err := fleet.Lab.Cluster(cluster)
	n.must(err)
	config.Dial = netns.DialContext(c.Nodes[0].NetNS)
	agent, err := client.New(config, client.Options{Scheme: fleet.Hub.Scheme()})
	n.must(err)
	return agent
}

// gatewayOf is a cluster's InterconnectGateway on the hub.
func (n *tenant) gatewayOf(cluster string) *spokev1alpha1.InterconnectGateway {
	n.Helper()
	g := &spokev1alpha1.InterconnectGateway{}
	n.must(fleet.Hub.Get(n.ctx, types.NamespacedName{Namespace: cluster, Name: cluster}, g))
	return g
}

// endpoints are those that the fleet believes, of both clusters.
func (n *tenant) endpoints() map[string][]spokev1alpha1.GatewayEndpoint {
	n.Helper()
	return map[string][]spokev1alpha1.GatewayEndpoint{"east": n.gatewayOf("east").Spec.Endpoints, "west": n.gatewayOf("west").Spec.Endpoints}
}

// lie says as west that east's address and key are west's, and others that nobody has.
func (n *tenant) lie(thief client.Client) {
	n.Helper()
	before, theirs := n.gatewayOf("west"), n.address("east", 0)
	west, key := before.DeepCopy(), n.key("east", "n1")
	west.Status.Endpoints = []spokev1alpha1.ReportedEndpoint{
		{Node: "n1", Address: n.address("west", 0), PublicKey: key, WireGuardPort: wireGuardPort},
		{Node: "thief", Address: theirs, PublicKey: key, WireGuardPort: wireGuardPort},
		{Node: "stranger", Address: "192.0.2.9"},
		{Node: "loopback", Address: "127.0.0.1"},
	}
	west.Status.Nodes = []spokev1alpha1.ClusterNode{{Node: "n1", Address: theirs}}
	n.must(thief.Status().Patch(n.ctx, west, client.MergeFrom(before)))
}

// refused waits until the hub says of west what it has refused: the beginning of each message by node and reason, and nothing else.
func (n *tenant) refused(want map[string]string) {
	n.Helper()
	n.must(story.Eventually(n.ctx, "what the hub refuses of west", func(context.Context) error {
		all := n.gatewayOf("west").Spec.Refused
		for _, r := range all {
			if start, ok := want[r.Node+" "+r.Reason]; !ok || !strings.HasPrefix(r.Message, start) {
				return fmt.Errorf("it refuses %+v", r)
			}
		}
		if len(all) != len(want) {
			return fmt.Errorf("it refuses %+v", all)
		}
		return nil
	}))
}

// diagnosed fails unless an admin of the fleet sees it in `kubectl tombolo diagnose`, which ends with an error then.
func (n *tenant) diagnosed(want string) {
	n.Helper()
	out, err := exec.CommandContext(n.ctx, fleet.Lab.Binaries.Path("kubectl-tombolo"), "diagnose", "--kubeconfig", fleet.Hub.Kubeconfig).CombinedOutput()
	if err == nil || !strings.Contains(string(out), want) {
		n.Errorf("kubectl tombolo diagnose (error %v) does not say %q:\n%s", err, want, out)
	}
}

// toldEast waits until east's copy of west's InterconnectGateway is the hub's.
func (n *tenant) toldEast() {
	n.Helper()
	want := strconv.FormatInt(n.gatewayOf("west").Generation, 10)
	n.must(story.Eventually(n.ctx, "east to have the hub's word of west", func(ctx context.Context) error {
		g := &spokev1alpha1.InterconnectGateway{}
		err := fleet.Spokes["east"].Get(ctx, types.NamespacedName{Namespace: "tombolo-system", Name: "west"}, g)
		if have := g.Annotations[spokev1alpha1.AnnotationHubGeneration]; err == nil && have != want {
			err = fmt.Errorf("it has generation %s of %s", have, want)
		}
		return err
	}))
}

// forbidden tries, as west, to write what is not its own status: each attempt is refused.
func (n *tenant) forbidden(thief client.Client) {
	n.Helper()
	own, others := n.gatewayOf("west"), n.gatewayOf("east")
	merge := func(format string, args ...any) client.Patch {
		return client.RawPatch(types.MergePatchType, fmt.Appendf(nil, format, args...))
	}
	endpoint := fmt.Sprintf(`"endpoints":[{"node":"n1","address":%q,"index":0}]`, n.address("west", 0))
	forged := func(namespace, name string) *spokev1alpha1.InterconnectGateway {
		g := own.DeepCopy()
		g.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: name}
		return g
	}
	router := func(cluster string) *spokev1alpha1.LocalRouter {
		var all spokev1alpha1.LocalRouterList
		n.must(fleet.Hub.List(n.ctx, &all, client.InNamespace(cluster)))
		i := slices.IndexFunc(all.Items, func(r spokev1alpha1.LocalRouter) bool { return r.Spec.Vpc.Namespace == n.name })
		if i < 0 {
			n.Fatalf("%s has no LocalRouter of %s", cluster, n.name)
		}
		return &all.Items[i]
	}
	pool := &networkv1alpha1.IPPoolList{}
	n.must(fleet.Hub.List(n.ctx, pool))
	peering := &networkv1alpha1.VpcPeering{ObjectMeta: metav1.ObjectMeta{Namespace: n.name, Name: "one-two"}}
	for what, try := range map[string]func() error{
		"east's endpoints": func() error {
			return thief.Status().Patch(n.ctx, others.DeepCopy(), merge(`{"status":{%s}}`, endpoint))
		},
		"east's router's status": func() error {
			return thief.Status().Patch(n.ctx, router("east"), merge(`{"status":{"observedGeneration":99}}`))
		},
		"east's router":              func() error { return thief.Patch(n.ctx, router("east"), merge(`{"spec":{"remotes":null}}`)) },
		"the approval of its own":    func() error { return thief.Patch(n.ctx, own.DeepCopy(), merge(`{"spec":{%s}}`, endpoint)) },
		"its own router":             func() error { return thief.Patch(n.ctx, router("west"), merge(`{"spec":{"remotes":null}}`)) },
		"a label of its own":         func() error { return thief.Patch(n.ctx, own.DeepCopy(), merge(`{"metadata":{"labels":{"a":"b"}}}`)) },
		"another gateway of its own": func() error { return thief.Create(n.ctx, forged("west", "west-2")) },
		"a gateway in east":          func() error { return thief.Create(n.ctx, forged("east", "west")) },
		"a gateway of a tenant":      func() error { return thief.Create(n.ctx, forged(n.name, "west")) },
		"its own end":                func() error { return thief.Delete(n.ctx, own.DeepCopy()) },
		"the end of east's router":   func() error { return thief.Delete(n.ctx, router("east")) },
		"where its gateways may be": func() error {
			return thief.Patch(n.ctx, &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "west"}}, merge(`{"metadata":{"annotations":{%q:"0.0.0.0/0"}}}`, networkv1alpha1.AnnotationEndpoints))
		},
		"a pool's ledger": func() error {
			return thief.Status().Patch(n.ctx, pool.Items[0].DeepCopy(), merge(`{"status":{"allocations":null}}`))
		},
		"a tenant's peering": func() error { return thief.Patch(n.ctx, peering, merge(`{"spec":{"peerVpc":{"name":"vpc-9"}}}`)) },
		"a look at Secrets":  func() error { return thief.List(n.ctx, &corev1.SecretList{}, client.InNamespace("east")) },
	} {
		if err := try(); !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
			n.Errorf("west's agent tries %s and is not refused: %v", what, err)
		}
	}
}
