// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package privilege

import (
	"fmt"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tombolo-io/tombolo/charts"
)

// TestCapturedNode has the token of the agent of node one, as its pod has it. RBAC lets it patch all pods and nodes; the policy leaves it what it needs.
func TestCapturedNode(t *testing.T) {
	who := onNode(t, "one")
	as, err := who.connect()
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"one", "two"} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "on-" + node}, Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
		if err := admin.Create(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		reason             string
		plural, place, of  string
		patch, subresource string
		may                bool
	}{
		"OwnPod":           {"what its programs know", "pods", "east", "on-one", `{"metadata":{"annotations":{"tombolo.io/direct-path":"192.0.2.1"}}}`, "", true},
		"OwnNode":          {"where it is", "nodes", "", "one", `{"metadata":{"annotations":{"tombolo.io/node-endpoint":"192.0.2.1"}}}`, "", true},
		"OtherPod":         {"it would draw the other node's packets to itself", "pods", "east", "on-two", `{"metadata":{"annotations":{"tombolo.io/direct-path":"192.0.2.1"}}}`, "", false},
		"OtherNode":        {"it would be the other gateway", "nodes", "", "two", `{"metadata":{"annotations":{"tombolo.io/gateway-endpoint":"192.0.2.66"}}}`, "", false},
		"OtherNodesKey":    {"it would have packets for the other gateway encrypted to itself", "nodes", "", "two", `{"metadata":{"annotations":{"tombolo.io/gateway-public-key":"x"}}}`, "", false},
		"Image":            {"it would run what it likes, on any node", "pods", "east", "on-two", `{"spec":{"containers":[{"name":"c","image":"forged"}]}}`, "", false},
		"ImageAtHome":      {"and with the pod's identity", "pods", "east", "on-one", `{"spec":{"containers":[{"name":"c","image":"forged"}]}}`, "", false},
		"GatewayLabel":     {"people say which nodes are gateways", "nodes", "", "one", `{"metadata":{"labels":{"tombolo.io/gateway":"true"}}}`, "", false},
		"PodLabel":         {"Services and policies select by labels", "pods", "east", "on-one", `{"metadata":{"labels":{"app":"forged"}}}`, "", false},
		"Taint":            {"it would drive pods to itself", "nodes", "", "two", `{"spec":{"unschedulable":true}}`, "", false},
		"Annotation":       {"annotations of others are instructions too", "nodes", "", "one", `{"metadata":{"annotations":{"example.com/x":"y"}}}`, "", false},
		"Finalizer":        {"the pod would stay for ever", "pods", "east", "on-one", `{"metadata":{"finalizers":["tombolo.io/forged"]}}`, "", false},
		"Owner":            {"the pod would be collected", "pods", "east", "on-one", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"y"}]}}`, "", false},
		"Status":           {"its kubelet says how a pod is", "pods", "east", "on-one", `{"status":{"phase":"Failed"}}`, "status", false},
		"SpecOfCopy":       {"the cluster would route as it likes", "localrouters", charts.Namespace, "shop.a", `{"spec":{"vpcUID":"forged"}}`, "", false},
		"GenerationOfCopy": {"the hub's newer word would seem older", "localrouters", charts.Namespace, "shop.a", `{"metadata":{"annotations":{"spoke.tombolo.io/hub-generation":"9999"}}}`, "", false},
		"StatusOfCopy":     {"what it carries", "localrouters", charts.Namespace, "shop.a", `{"status":{"observedGeneration":1}}`, "status", true},
		"FinalizerOfCopy":  {"while it carries it", "localrouters", charts.Namespace, "shop.a", `{"metadata":{"finalizers":["tombolo.io/other","spoke.tombolo.io/realized","tombolo.io/gateway-one"]}}`, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			on, subs := as.Resource(kinds[test.plural].resource()).Namespace(test.place), []string{}
			if test.subresource != "" {
				subs = append(subs, test.subresource)
			}
			_, err := on.Patch(t.Context(), test.of, types.MergePatchType, []byte(test.patch), metav1.PatchOptions{DryRun: dry}, subs...)
			if test.may != (err == nil) {
				t.Errorf("error %v, want it to be allowed: %v, because %s", err, test.may, test.reason)
			}
			if err != nil && test.subresource == "" && !deniedBy(err, "tombolo-agents") {
				t.Errorf("error %v, want it to be the policy's", err)
			}
		})
	}
}

// onNode is the node's agent as the kubelet gives it its token: bound to its pod, and so to the node.
func onNode(t *testing.T, node string) identity {
	t.Helper()
	name := "tombolo-agent-node"
	who, err := account(t.Context(), charts.Namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: charts.Namespace, Name: name + "-" + node},
		Spec:       corev1.PodSpec{NodeName: node, ServiceAccountName: name, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	if err := admin.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{
		Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID,
	}}}
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: charts.Namespace, Name: name}}
	if err := admin.SubResource("token").Create(t.Context(), a, request); err != nil {
		t.Fatal(fmt.Errorf("make token of %s: %w", who.name, err))
	}
	who.token = request.Status.Token
	return who
}
