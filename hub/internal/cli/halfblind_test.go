// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
)

// TestHalfBlind: who may read one half of a cluster gets all of that half, and is told of the other one.
func TestHalfBlind(t *testing.T) {
	fleet(t)
	system(t)
	spoke.create(t, reader()...)
	hub.create(t, reader()...)
	for name, test := range map[string]struct {
		reason string
		server *apiServer
		// files that must be in the archive, with a text in each.
		files map[string]string
		// unread is what must be told.
		unread []string
		// silent is what must not be told: it is not there.
		silent []string
	}{
		"Hub": {"no Secrets, no Leases, nothing of Open Cluster Management's", &hub,
			map[string]string{"resources/network.tombolo.io/vpcpeering.yaml": "no answer from west", "resources/spoke.tombolo.io/interconnectgateway.yaml": "east-1",
				"resources/core/pod.yaml": "tombolo-hub-1", "logs/tombolo-hub-1/hub.log": "msg=ready", "status.txt": "shop/one-two", "diagnose.json": `"kind": "Diagnosis"`},
			[]string{"secrets in " + facts.Namespace, "leases", "managedclusters", "placementdecisions", "managedclusteraddons"}, nil},
		"WithoutOCM": {"a cluster that has no kind of OCM's", &spoke,
			map[string]string{"status.json": `"kind": "Status"`, "diagnose.json": `"kind": "Diagnosis"`, "crds.json": "localrouters.spoke.tombolo.io"},
			[]string{"leases"}, []string{"managedclusters", "placements", "managedclusteraddons", "vpcs"}},
	} {
		t.Run(name, func(t *testing.T) {
			kubeconfig, file := test.server.user(t, "half"), filepath.Join(t.TempDir(), "bug.tar.gz")
			_, complaints, err := run(t, kubeconfig, "gather", "-o", file)
			if err != nil {
				t.Fatalf("%s: %v\n%s", test.reason, err, complaints)
			}
			files := unpack(t, file)
			for name, want := range test.files {
				if text, found := files[name]; !found || !strings.Contains(text, want) {
					t.Errorf("%s has no %q:\n%s", name, want, text)
				}
			}
			unread := readManifest(t, file).Clusters[0].Unread
			for _, what := range test.unread {
				if !slices.ContainsFunc(unread, func(u facts.Unread) bool {
					return strings.HasPrefix(u.What, what) && strings.Contains(u.Why, "forbidden")
				}) && !strings.Contains(complaints, what+" could not be read") {
					t.Errorf("nothing says that %s could not be read: %+v\n%s", what, unread, complaints)
				}
			}
			for _, what := range test.silent {
				if strings.Contains(complaints, what+" could not be read") {
					t.Errorf("%s is not there, and is told as unreadable:\n%s", what, complaints)
				}
			}

			out, complaints, err := run(t, kubeconfig, "diagnose")
			if !strings.Contains(out, "Installation") || strings.Contains(complaints, "panic") {
				t.Errorf("diagnose: %v\n%s%s", err, out, complaints)
			}
			if !strings.Contains(out, "could not be read") || !strings.Contains(out, "ask with a user who may read it") {
				t.Errorf("diagnose does not say what it could not read:\n%s", out)
			}
		})
	}
}

// reader may read Tombolo's objects, and what is in tombolo-system but Secrets and Leases.
func reader() []client.Object {
	read := []string{"get", "list"}
	return []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "half"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"network.tombolo.io", "spoke.tombolo.io", "apps", "apiextensions.k8s.io"}, Resources: []string{"*"}, Verbs: read},
			{APIGroups: []string{""}, Resources: []string{"pods", "pods/log", "nodes", "events", "namespaces"}, Verbs: read},
		}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "half"},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "half"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "half"}}},
	}
}
