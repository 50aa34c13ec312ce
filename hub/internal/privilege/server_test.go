// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package privilege holds what an identity may do against what it should be able to do, on a real kube-apiserver with the permissions and
// policies of the charts: every kind × verb × place × forgery is tried with a real certificate or token. It has nothing but tests.
package privilege

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/tombolo-io/tombolo/apis/crds"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/hub/internal/distribute"
	"github.com/tombolo-io/tombolo/hub/internal/invitation"
)

// One kube-apiserver for all tests. No test changes what another one looks at: what is tried is tried as a dry run, which passes the same
// authorization and admission.
var (
	server      *envtest.Environment
	adminConfig *rest.Config
	admin       client.Client
	definitions []*apiextensionsv1.CustomResourceDefinition
)

// The fleet: the names of the second and the third cluster begin or end like that of the first.
var clusters = []string{"east", "east-1", "north-east", "west"}

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	if err := start(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "start kube-apiserver and etcd:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop kube-apiserver and etcd:", err)
	}
	os.Exit(code)
}

func start(ctx context.Context) error {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return errors.New("KUBEBUILDER_ASSETS is not set: it is the directory of the binaries kube-apiserver and etcd, which `make test` builds and sets")
	}
	scheme := runtime.NewScheme()
	err := errors.Join(clientgoscheme.AddToScheme(scheme), clusterv1.Install(scheme), spokev1alpha1.AddToScheme(scheme))
	if err != nil {
		return err
	}
	if definitions, err = readDefinitions(); err != nil {
		return err
	}
	ocm, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "open-cluster-management.io/api").Output()
	if err != nil {
		return fmt.Errorf("find module of the OCM API: %w", err)
	}
	dir := strings.TrimSpace(string(ocm))
	server = &envtest.Environment{
		Scheme: scheme, CRDs: definitions, ErrorIfCRDPathMissing: true,
		CRDDirectoryPaths: []string{filepath.Join(dir, "cluster", "v1"), filepath.Join(dir, "work", "v1"), filepath.Join(dir, "addon", "v1alpha1")},
	}
	if adminConfig, err = server.Start(); err != nil {
		return err
	}
	adminConfig.QPS = -1
	if admin, err = client.New(adminConfig, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	return errors.Join(install(ctx), letIn(ctx), populate(ctx), bite(ctx))
}

func readDefinitions() ([]*apiextensionsv1.CustomResourceDefinition, error) {
	files, err := fs.Glob(crds.Files, "*.yaml")
	if err != nil {
		return nil, err
	}
	var all []*apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		data, err := fs.ReadFile(crds.Files, file)
		if err != nil {
			return nil, err
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(data, definition); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		all = append(all, definition)
	}
	return all, nil
}

// install applies what both charts say about permissions: this one server is hub and spoke.
func install(ctx context.Context) error {
	if err := admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: charts.Namespace}}); err != nil {
		return err
	}
	for _, chart := range []string{charts.Hub, charts.SpokeAgent} {
		values := map[string]any{"crds": map[string]any{"install": false}}
		if chart == charts.SpokeAgent {
			values["clusterName"] = "east"
		}
		objects, err := charts.Render(chart, values)
		if err != nil {
			return err
		}
		for _, object := range objects {
			switch object.GroupVersionKind().Group {
			case "", "rbac.authorization.k8s.io", "admissionregistration.k8s.io":
			default:
				continue
			}
			if err := client.IgnoreAlreadyExists(admin.Create(ctx, object)); err != nil {
				return fmt.Errorf("create %s %s: %w", object.GetKind(), object.GetName(), err)
			}
		}
	}
	return nil
}

// letIn makes the clusters, and lets their agents in as the hub does, with the hub's own permissions.
func letIn(ctx context.Context) error {
	hub, err := server.AddUser(envtest.User{Name: "system:serviceaccount:" + charts.Namespace + ":tombolo-hub"}, &rest.Config{QPS: -1})
	if err != nil {
		return err
	}
	account, err := client.New(hub.Config(), client.Options{Scheme: admin.Scheme()})
	if err != nil {
		return err
	}
	for _, name := range clusters {
		cluster := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: clusterv1.ManagedClusterSpec{HubAcceptsClient: true}}
		err := errors.Join(admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}), admin.Create(ctx, cluster))
		if err != nil {
			return err
		}
		if err := distribute.Grant(ctx, account, distribute.AccessOf(cluster)); err != nil {
			return err
		}
	}
	return nil
}

// bite waits until the policies are in force, which is a moment after they were written.
func bite(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	master := agent("east")
	master.groups = append(master.groups, "system:masters")
	for policy, try := range map[string]struct {
		who identity
		do  func(dynamic.Interface) error
	}{
		"tombolo-spoke-agent": {master, func(c dynamic.Interface) error {
			_, err := c.Resource(kinds["vpcs"].resource()).Namespace("west").Create(ctx, kinds["vpcs"].object("west", "bite"), metav1.CreateOptions{DryRun: dry})
			return err
		}},
		"tombolo-leases": {master, func(c dynamic.Interface) error {
			_, err := c.Resource(kinds["leases"].resource()).Namespace("west").Create(ctx, kinds["leases"].object("west", "bite"), metav1.CreateOptions{DryRun: dry})
			return err
		}},
		"tombolo-agents": {identity{name: "system:serviceaccount:" + charts.Namespace + ":tombolo-agent-node"}, patchNode(ctx, `{"metadata":{"labels":{"x":"y"}}}`)},
		"tombolo-pods": {identity{name: "admin", groups: []string{"system:masters"}}, func(c dynamic.Interface) error {
			patch := []byte(`{"metadata":{"annotations":{"tombolo.io/network":"x"}}}`)
			_, err := c.Resource(kinds["pods"].resource()).Namespace("east").Patch(ctx, "one", types.MergePatchType, patch, metav1.PatchOptions{DryRun: dry})
			return err
		}},
	} {
		c, err := try.who.connect()
		if err != nil {
			return err
		}
		for err = try.do(c); !deniedBy(err, policy); err = try.do(c) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("policy %s does not come into force: %w", policy, err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

func patchNode(ctx context.Context, patch string) func(dynamic.Interface) error {
	return func(c dynamic.Interface) error {
		_, err := c.Resource(kinds["nodes"].resource()).Patch(ctx, "one", types.MergePatchType, []byte(patch), metav1.PatchOptions{DryRun: dry})
		return err
	}
}

var dry = []string{metav1.DryRunAll}

// identity is somebody with a client certificate that the API server's CA has signed, or a token.
type identity struct {
	name   string
	groups []string
	token  string
}

func agent(cluster string) identity {
	return identity{name: spokev1alpha1.AgentUser(cluster), groups: []string{spokev1alpha1.AgentGroup(cluster), spokev1alpha1.AgentsGroup}}
}

// account is a ServiceAccount, which is made when it is not there, with a token of the API server.
func account(ctx context.Context, namespace, name string) (identity, error) {
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := client.IgnoreAlreadyExists(admin.Create(ctx, a)); err != nil {
		return identity{}, err
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(invitation.MinTTL.Seconds()))}}
	if err := admin.SubResource("token").Create(ctx, a, request); err != nil {
		return identity{}, err
	}
	return identity{name: "system:serviceaccount:" + namespace + ":" + name, token: request.Status.Token}, nil
}

func (i identity) config() (*rest.Config, error) {
	if i.token != "" {
		config := rest.AnonymousClientConfig(adminConfig)
		config.BearerToken, config.QPS = i.token, -1
		return config, nil
	}
	user, err := server.AddUser(envtest.User{Name: i.name, Groups: i.groups}, &rest.Config{QPS: -1})
	if err != nil {
		return nil, err
	}
	return user.Config(), nil
}

func (i identity) connect() (dynamic.Interface, error) {
	config, err := i.config()
	if err != nil {
		return nil, fmt.Errorf("make certificate of %s: %w", i.name, err)
	}
	return dynamic.NewForConfig(config)
}

// open binds cluster-admin to somebody, by mistake, and takes it back with the test.
func (i identity) open(t *testing.T) {
	t.Helper()
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "mistake-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: i.name}},
	}
	if err := admin.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := admin.Delete(context.Background(), binding); err != nil {
			t.Error(err)
		}
	})
	c, err := i.connect()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err = c.Resource(kinds["secrets"].resource()).List(t.Context(), metav1.ListOptions{}); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not become an administrator: %v", i.name, err)
		}
	}
}

// deniedBy is true when a policy refuses a request, as opposed to the API server itself.
func deniedBy(err error, policy string) bool {
	return err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"+policy)
}

func created(ctx context.Context, object *unstructured.Unstructured) error {
	if err := admin.Create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create %s %s/%s: %w", object.GetKind(), object.GetNamespace(), object.GetName(), err)
	}
	return nil
}

func withCodecs(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.NegotiatedSerializer = clientgoscheme.Codecs.WithoutConversion()
	return config
}
