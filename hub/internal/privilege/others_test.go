// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package privilege

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/hub/internal/invitation"
)

// TestToken: what a token of `kubectl tombolo join` can do is to ask for a certificate and to read the answer.
func TestToken(t *testing.T) {
	token, err := account(t.Context(), invitation.Namespace, "join-east-abcde")
	if err != nil {
		t.Fatal(err)
	}
	attempt(t, token, thin(cells(kindsInOrder()))).hold(t, "a token of kubectl tombolo join", func(c cell) bool {
		return c.kind.plural == "certificatesigningrequests" && (c.verb == "create" || c.verb == "get")
	})
}

// TestAccountsOfSpoke: what the accounts of the agent can do in its own cluster. The permissions that they need are the chart's to say; these
// are the things that they must never have.
func TestAccountsOfSpoke(t *testing.T) {
	never := map[string]struct {
		reason string
		of     func(cell) bool
	}{
		"tombolo-agent-node": {"who takes a node over gets no Secret, no other identity, no policy, and nothing of the hub's kinds", func(c cell) bool {
			return slices.Contains([]string{"secrets", "serviceaccounts", "roles", "rolebindings", "clusterroles", "clusterrolebindings",
				"validatingadmissionpolicies", "validatingadmissionpolicybindings", "customresourcedefinitions", "certificatesigningrequests"}, c.kind.plural) ||
				strings.HasPrefix(c.kind.apiVersion, "network.tombolo.io/") || c.kind.plural == "pods" && (c.verb == "create" || c.verb == "delete" || c.verb == "deletecollection")
		}},
		"tombolo-agent-controller": {"the controller reads the Secret of its own identity, and no other", func(c cell) bool {
			return c.kind.plural == "secrets" && (c.verb != "create" || c.place != charts.Namespace) || slices.Contains([]string{"roles", "rolebindings", "clusterroles", "clusterrolebindings",
				"validatingadmissionpolicies", "validatingadmissionpolicybindings", "certificatesigningrequests"}, c.kind.plural) ||
				strings.HasPrefix(c.kind.apiVersion, "network.tombolo.io/")
		}},
		"tombolo-agent-leave": {"the Job deletes the Secret of the agent's identity, and touches no other", func(c cell) bool {
			return !slices.Contains([]string{"configmaps", "nodes", "interconnectgateways"}, c.kind.plural) || c.kind.plural == "nodes" && !c.reads()
		}},
	}
	for name, test := range never {
		t.Run(name, func(t *testing.T) {
			who, err := account(t.Context(), charts.Namespace, name)
			if err != nil {
				t.Fatal(err)
			}
			all := slices.DeleteFunc(thin(cells(kindsInOrder())), func(c cell) bool { return !test.of(c) })
			attempt(t, who, all).hold(t, name+" ("+test.reason+")", func(cell) bool { return false })
		})
	}
}

// TestAnnotationsOfPods: who sends for whom is said by the controller, and which node knows a pod by that node's agent: neither writes the other's.
func TestAnnotationsOfPods(t *testing.T) {
	for name, test := range map[string]struct {
		reason, account, annotation string
		may                         bool
	}{
		"ControllerSaysNetwork": {"it has the address from OVN", "tombolo-agent-controller", "tombolo.io/network", true},
		"NodeSaysNetwork":       {"a node could give its pods any address", "tombolo-agent-node", "tombolo.io/network", false},
		"NodeSaysDirectPath":    {"it has the programs", "tombolo-agent-node", "tombolo.io/direct-path", true},
		"ControllerSaysPath":    {"it has no programs", "tombolo-agent-controller", "tombolo.io/direct-path", false},
	} {
		t.Run(name, func(t *testing.T) {
			who, err := account(t.Context(), charts.Namespace, test.account)
			if err != nil {
				t.Fatal(err)
			}
			as, err := who.connect()
			if err != nil {
				t.Fatal(err)
			}
			patch := []byte(`{"metadata":{"annotations":{"` + test.annotation + `":"forged"}}}`)
			_, err = as.Resource(kinds["pods"].resource()).Namespace("east").Patch(t.Context(), "one", "application/merge-patch+json", patch, metav1.PatchOptions{DryRun: dry})
			if (err == nil) != test.may || err != nil && !deniedBy(err, "tombolo-pods") {
				t.Errorf("error %v, want it to be allowed: %v, because %s", err, test.may, test.reason)
			}
		})
	}
}

// TestWays are requests that no table of kinds has: everything by which an identity could become another one or reach into a node.
func TestWays(t *testing.T) {
	token, err := account(t.Context(), invitation.Namespace, "join-east-abcde")
	if err != nil {
		t.Fatal(err)
	}
	ways := map[string]struct {
		method, path, body string
	}{
		"TokenOfHub":       {http.MethodPost, "/api/v1/namespaces/tombolo-system/serviceaccounts/tombolo-hub/token", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}`},
		"TokenInOwn":       {http.MethodPost, "/api/v1/namespaces/east/serviceaccounts/one/token", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}`},
		"Exec":             {http.MethodPost, "/api/v1/namespaces/east/pods/one/exec?command=id&container=c&stdout=true", ""},
		"Logs":             {http.MethodGet, "/api/v1/namespaces/east/pods/one/log", ""},
		"Evict":            {http.MethodPost, "/api/v1/namespaces/east/pods/one/eviction", `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"one","namespace":"east"}}`},
		"NodeProxy":        {http.MethodGet, "/api/v1/nodes/one/proxy/pods", ""},
		"ServiceProxy":     {http.MethodGet, "/api/v1/namespaces/east/services/one/proxy/", ""},
		"ApproveOwn":       {http.MethodPut, "/apis/certificates.k8s.io/v1/certificatesigningrequests/one/approval", `{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"one"},"status":{"conditions":[{"type":"Approved","status":"True","reason":"x"}]}}`},
		"IssueOwn":         {http.MethodPut, "/apis/certificates.k8s.io/v1/certificatesigningrequests/one/status", `{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"one"},"status":{"certificate":""}}`},
		"FinalizeOwn":      {http.MethodPut, "/api/v1/namespaces/east/finalize", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"east"}}`},
		"AskForOthers":     {http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"x","nonResourceAttributes":{"path":"/","verb":"get"}}}`},
		"ReviewTokens":     {http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"x"}}`},
		"Metrics":          {http.MethodGet, "/metrics", ""},
		"Profiles":         {http.MethodGet, "/debug/pprof/", ""},
		"StatusOfCluster":  {http.MethodPut, "/apis/cluster.open-cluster-management.io/v1/managedclusters/east/status", `{"apiVersion":"cluster.open-cluster-management.io/v1","kind":"ManagedCluster","metadata":{"name":"east"}}`},
		"LeaseOfTheLeader": {http.MethodPut, "/apis/coordination.k8s.io/v1/namespaces/tombolo-system/leases/tombolo-hub", `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"tombolo-hub","namespace":"tombolo-system"}}`},
	}
	for who, i := range map[string]identity{"Agent": agent("east"), "Token": token} {
		config, err := i.config()
		if err != nil {
			t.Fatal(err)
		}
		for name, way := range ways {
			t.Run(who+name, func(t *testing.T) {
				if err := raw(t, config, way.method, way.path, way.body); !apierrors.IsForbidden(err) {
					t.Errorf("%s %s: error %v, want it to be forbidden", way.method, way.path, err)
				}
			})
		}
		for name, as := range map[string]rest.ImpersonationConfig{
			"User": {UserName: agent("west").name}, "Group": {UserName: i.name, Groups: []string{"system:masters"}}, "Account": {UserName: "system:serviceaccount:tombolo-system:tombolo-hub"},
			"UID": {UserName: i.name, UID: "x"}, "Extra": {UserName: i.name, Extra: map[string][]string{"a": {"b"}}},
		} {
			t.Run(who+"Impersonates"+name, func(t *testing.T) {
				other := rest.CopyConfig(config)
				other.Impersonate = as
				if err := raw(t, other, http.MethodGet, "/api", ""); !apierrors.IsForbidden(err) {
					t.Errorf("error %v, want it to be forbidden", err)
				}
			})
		}
	}
}

// raw makes one request as it is.
func raw(t *testing.T, config *rest.Config, method, path, body string) error {
	t.Helper()
	c, err := rest.UnversionedRESTClientFor(withCodecs(config))
	if err != nil {
		t.Fatal(err)
	}
	r := c.Verb(method).RequestURI(path)
	if body != "" {
		r = r.SetHeader("Content-Type", "application/json").Body([]byte(body))
	}
	return r.Do(t.Context()).Error()
}

// TestFinalizer takes the agent's own finalizer off, for real: from what is being deleted, and from nothing else.
func TestFinalizer(t *testing.T) {
	as, err := agent("west").connect()
	if err != nil {
		t.Fatal(err)
	}
	leaving := kinds["localrouters"].object("west", "shop.leaving")
	leaving.SetFinalizers([]string{"tombolo.io/other", spokev1alpha1.Finalizer})
	if err := admin.Create(t.Context(), leaving); err != nil {
		t.Fatal(err)
	}
	on := as.Resource(kinds["localrouters"].resource()).Namespace("west")
	take := func(left ...string) error {
		o, err := on.Get(t.Context(), "shop.leaving", metav1.GetOptions{})
		if err != nil {
			return err
		}
		o.SetFinalizers(left)
		_, err = on.Update(t.Context(), o, metav1.UpdateOptions{})
		return err
	}
	if err := take("tombolo.io/other"); !deniedBy(err, "tombolo-spoke-agent") {
		t.Errorf("error %v, want it to be denied: the object is not being deleted", err)
	}
	if err := admin.Delete(t.Context(), leaving); err != nil {
		t.Fatal(err)
	}
	if err := take(spokev1alpha1.Finalizer); !deniedBy(err, "tombolo-spoke-agent") {
		t.Errorf("error %v, want it to be denied: the other finalizer is somebody else's", err)
	}
	if err := take(); !deniedBy(err, "tombolo-spoke-agent") {
		t.Errorf("error %v, want it to be denied: one of the two is somebody else's", err)
	}
	if err := take("tombolo.io/other"); err != nil {
		t.Errorf("take own finalizer off: %v", err)
	}
	o, err := on.Get(t.Context(), "shop.leaving", metav1.GetOptions{})
	if err != nil || !slices.Equal(o.GetFinalizers(), []string{"tombolo.io/other"}) {
		t.Errorf("finalizers are %v: %v", o.GetFinalizers(), err)
	}
}

// TestManagedCluster: OCM lets a cluster's own agent update its ManagedCluster. What Tombolo goes by there is not the cluster's to say.
func TestManagedCluster(t *testing.T) {
	klusterlet := identity{name: "system:open-cluster-management:east:klusterlet", groups: []string{"system:open-cluster-management:east", "system:open-cluster-management:managed-clusters"}}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "managedcluster-east"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"cluster.open-cluster-management.io"}, Resources: []string{"managedclusters"}, ResourceNames: []string{"east"}, Verbs: []string{"get", "update", "patch"},
	}}}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name}, Subjects: []rbacv1.Subject{{
		APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: klusterlet.groups[0],
	}}}
	for _, object := range []client.Object{role, binding} {
		if err := admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	cluster := &unstructured.Unstructured{}
	cluster.SetGroupVersionKind(kinds["managedclusters"].resource().GroupVersion().WithKind("ManagedCluster"))
	if err := admin.Get(t.Context(), client.ObjectKey{Name: "east"}, cluster); err != nil {
		t.Fatal(err)
	}
	cluster.SetLabels(with(cluster.GetLabels(), "tombolo.io/encryption", "WireGuard"))
	cluster.SetAnnotations(with(cluster.GetAnnotations(), "tombolo.io/endpoints", "192.0.2.0/28"))
	if err := admin.Update(t.Context(), cluster); err != nil {
		t.Fatalf("an administrator labels and annotates: %v", err)
	}
	as, err := klusterlet.connect()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		reason string
		change func(labels, annotations map[string]string)
		may    bool
	}{
		"OtherLabel":       {"labels of others are not ours to keep", func(l, _ map[string]string) { l["region"] = "sea" }, true},
		"Nothing":          {"a heartbeat", func(_, _ map[string]string) {}, true},
		"Encryption":       {"it would send in the clear", func(l, _ map[string]string) { l["tombolo.io/encryption"] = "None" }, false},
		"EncryptionGone":   {"it would send in the clear", func(l, _ map[string]string) { delete(l, "tombolo.io/encryption") }, false},
		"NodeToNode":       {"others' nodes would believe its nodes", func(l, _ map[string]string) { l["tombolo.io/node-to-node"] = "true" }, false},
		"Endpoints":        {"it would have other clusters' addresses", func(_, a map[string]string) { a["tombolo.io/endpoints"] = "0.0.0.0/0" }, false},
		"EndpointsGone":    {"it would have any address", func(_, a map[string]string) { delete(a, "tombolo.io/endpoints") }, false},
		"Gone":             {"its addresses would be handed out while it has them", func(_, a map[string]string) { a["tombolo.io/gone"] = "true" }, false},
		"JoinedBy":         {"Tombolo would approve its certificates", func(_, a map[string]string) { a[invitation.AnnotationJoinedBy] = invitation.JoinedByToken }, false},
		"OtherAnnotation":  {"annotations of others are not ours to keep", func(_, a map[string]string) { a["agent.open-cluster-management.io/x"] = "y" }, true},
		"LookalikeOfOther": {"another domain", func(l, _ map[string]string) { l["nottombolo.io/x"] = "y" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := cluster.DeepCopy()
			labels, annotations := maps.Clone(o.GetLabels()), maps.Clone(o.GetAnnotations())
			test.change(labels, annotations)
			o.SetLabels(labels)
			o.SetAnnotations(annotations)
			_, err := as.Resource(kinds["managedclusters"].resource()).Update(t.Context(), o, metav1.UpdateOptions{DryRun: dry})
			if (err == nil) != test.may || err != nil && !deniedBy(err, "tombolo-managed-clusters") {
				t.Errorf("error %v, want it to be allowed: %v, because %s", err, test.may, test.reason)
			}
		})
	}
}

// TestRequestedSigners: a token and an agent ask for the certificates of clients of the API server, and of nobody else.
func TestRequestedSigners(t *testing.T) {
	as, err := agent("east").connect()
	if err != nil {
		t.Fatal(err)
	}
	for _, signer := range []string{certificatesv1.KubeAPIServerClientKubeletSignerName, certificatesv1.KubeletServingSignerName, "example.com/other"} {
		o := kinds["certificatesigningrequests"].object("", "forged")
		if err := unstructured.SetNestedField(o.Object, signer, "spec", "signerName"); err != nil {
			t.Fatal(err)
		}
		_, err := as.Resource(kinds["certificatesigningrequests"].resource()).Create(t.Context(), o, metav1.CreateOptions{DryRun: dry})
		if !deniedBy(err, "tombolo-join") {
			t.Errorf("signer %s: error %v, want it to be denied", signer, err)
		}
	}
}
