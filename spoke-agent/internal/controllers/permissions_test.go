// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// TestPermissions asks a real apiserver what the chart's accounts may do: what one role is for, the others must not.
func TestPermissions(t *testing.T) {
	spoke := clustertest.Start(t, local.Namespace, "demo")
	spoke.Install(t)
	for name, test := range map[string]struct {
		reason string
		// what as "verb group/resource[/subresource] [namespace/]name"; the group of the core is empty.
		what    string
		allowed []string
	}{
		"Copies":         {"only the controller makes copies", "create spoke.tombolo.io/localrouters tombolo-system/", []string{"controller"}},
		"CopySpec":       {"what a copy says, no node may change wholly", "update spoke.tombolo.io/localrouters tombolo-system/a", []string{"controller"}},
		"Gateways":       {"nodes hold no InterconnectGateway", "update spoke.tombolo.io/interconnectgateways tombolo-system/a", []string{"controller"}},
		"CopyStatus":     {"both say what they have done", "patch spoke.tombolo.io/localrouters/status tombolo-system/a", []string{"controller", "node"}},
		"OtherNamespace": {"copies are in one namespace", "get spoke.tombolo.io/localrouters demo/a", nil},
		"Announce":       {"only nodes say where they are", "patch /nodes e1", []string{"node"}},
		"NodeStatus":     {"nobody touches what kubelets say", "patch /nodes/status e1", nil},
		"Lease":          {"the leader's", "update coordination.k8s.io/leases tombolo-system/tombolo-agent-controller", []string{"controller"}},
		"ForeignLease":   {"no other", "update coordination.k8s.io/leases tombolo-system/other", nil},
		"Identity":       {"the identity on the hub is the controller's, and the Job looks whose it is", "get /secrets tombolo-system/tombolo-hub-kubeconfig", []string{"controller", "leave"}},
		"ForgetIdentity": {"and deletes it in the end", "delete /secrets tombolo-system/tombolo-hub-kubeconfig", []string{"leave"}},
		"ForeignSecret":  {"no other Secret", "get /secrets tombolo-system/other", nil},
		"SecretsAtAll":   {"nor all of them", "list /secrets tombolo-system/", nil},
		"SecretsThere":   {"nor in another namespace", "get /secrets demo/tombolo-hub-kubeconfig", nil},
		"Pods":           {"both write annotations", "patch /pods demo/p", []string{"controller", "node"}},
		"PodUpdate":      {"and do no more to pods", "update /pods demo/p", nil},
		"PodDelete":      {"nor remove them", "delete /pods demo/p", nil},
		"Exec":           {"nor go into them", "create /pods/exec demo/p", nil},
		"EventsOfPods":   {"the controller says why a pod can't join", "create events.k8s.io/events demo/", []string{"controller"}},
		"EventsOfNodes":  {"nodes say why their CNI plugin is not installed", "create events.k8s.io/events default/", []string{"controller", "node"}},
		"EventsHere":     {"nodes say why they can't serve", "create events.k8s.io/events tombolo-system/", []string{"controller", "node"}},
		"Leaving":        {"who is done says so", "patch /configmaps tombolo-system/tombolo-leaving", []string{"controller", "node", "leave"}},
		"Leave":          {"the Job asks to leave, or the hub by the controller", "create /configmaps tombolo-system/", []string{"controller", "leave"}},
		"Stay":           {"no node calls it off", "delete /configmaps tombolo-system/tombolo-leaving", []string{"controller", "leave"}},
		"Nodes":          {"the Job reads them", "list /nodes x", []string{"controller", "node", "leave"}},
		"ForeignConfig":  {"no other ConfigMap", "patch /configmaps tombolo-system/other", nil},
		"Tokens":         {"nobody makes tokens", "create /serviceaccounts/token tombolo-system/tombolo-agent-controller", nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, role := range []string{"controller", "node", "leave"} {
				want := strings.Contains(strings.Join(test.allowed, " "), role)
				if got := may(t, spoke, role, test.what); got != want {
					t.Errorf("%s may %s: %v, want %v: %s", role, test.what, got, want, test.reason)
				}
			}
		})
	}
	t.Run("Annotations", func(t *testing.T) { testAnnotations(t, spoke) })
}

func may(t *testing.T, c *clustertest.Cluster, role, what string) bool {
	t.Helper()
	words := strings.Fields(what)
	group, resource, _ := strings.Cut(words[1], "/")
	resource, subresource, _ := strings.Cut(resource, "/")
	namespace, name, namespaced := strings.Cut(words[2], "/")
	if !namespaced {
		namespace, name = "", words[2]
	}
	user := c.Account(role).Impersonate
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.UserName, Groups: user.Groups,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: words[0], Group: group, Resource: resource, Subresource: subresource, Namespace: namespace, Name: name,
		},
	}}
	if err := c.Client.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

// testAnnotations: each of the two accounts that may patch pods writes its own annotation and not the other's.
func testAnnotations(t *testing.T, spoke *clustertest.Cluster) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "p"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	if err := spoke.Client.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	tries := 0
	try := func(role, annotation string) error {
		tries++ // what changes nothing is not refused
		c, err := client.New(spoke.Account(role), client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"%s-%d"}}}`, annotation, role, tries)
		return c.Patch(t.Context(), pod.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(patch)))
	}
	forbidden := "only Tombolo's agent changes the annotation "
	// A policy is in force some moments after it was made: wait for one refusal.
	clustertest.Eventually(t, "the policy", func(context.Context) error {
		if err := try("node", networkv1alpha1.AnnotationNetwork); err == nil || !strings.Contains(err.Error(), forbidden+networkv1alpha1.AnnotationNetwork) {
			return fmt.Errorf("answer is %w", err)
		}
		return nil
	})
	if err := try("controller", local.AnnotationDirectPath); err == nil || !strings.Contains(err.Error(), forbidden+local.AnnotationDirectPath) {
		t.Errorf("answer to the controller's %s is %v", local.AnnotationDirectPath, err)
	}
	if err := errors.Join(try("controller", networkv1alpha1.AnnotationNetwork), try("node", local.AnnotationDirectPath)); err != nil {
		t.Errorf("an account can't write its own annotation: %v", err)
	}
}
