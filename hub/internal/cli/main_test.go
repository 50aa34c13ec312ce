// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
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
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/tombolo-io/tombolo/apis/crds"
	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
)

// apiServer is a real kube-apiserver with its etcd.
type apiServer struct {
	envtest.Environment
	client client.WithWatch
	// kubeconfig of an administrator, as a file.
	kubeconfig string
}

// One hub and one cluster for all tests.
var hub, spoke apiServer

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	dir, err := os.MkdirTemp("", "kubectl-tombolo-")
	if err == nil {
		err = startAll(context.Background(), dir)
	}
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, "start kube-apiserver and etcd:", err)
	}
	if err := errors.Join(hub.Stop(), spoke.Stop(), os.RemoveAll(dir)); err != nil {
		fmt.Fprintln(os.Stderr, "stop kube-apiserver and etcd:", err)
	}
	os.Exit(code)
}

func startAll(ctx context.Context, dir string) error {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return errors.New("KUBEBUILDER_ASSETS is not set: it is the directory of the binaries kube-apiserver and etcd, which `make test` builds and sets")
	}
	ocm, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "open-cluster-management.io/api").Output()
	if err != nil {
		return fmt.Errorf("find module of the OCM API: %w", err)
	}
	for _, part := range []string{"cluster/v1", "cluster/v1beta1", "addon/v1alpha1", "work/v1"} {
		hub.CRDDirectoryPaths = append(hub.CRDDirectoryPaths, filepath.Join(strings.TrimSpace(string(ocm)), part))
	}
	if err := hub.start(ctx, filepath.Join(dir, "hub"), "*.yaml"); err != nil {
		return err
	}
	return spoke.start(ctx, filepath.Join(dir, "spoke"), "spoke.*.yaml")
}

// start the server with Tombolo's CRDs that match.
func (s *apiServer) start(ctx context.Context, kubeconfig, match string) error {
	scheme := runtime.NewScheme()
	err := errors.Join(
		clientgoscheme.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme), clusterv1.Install(scheme), clusterv1beta1.Install(scheme),
		addonv1alpha1.Install(scheme), workv1.Install(scheme), networkv1alpha1.AddToScheme(scheme), spokev1alpha1.AddToScheme(scheme),
	)
	if err != nil {
		return err
	}
	s.Scheme, s.ErrorIfCRDPathMissing, s.ControlPlaneStartTimeout = scheme, true, 3*time.Minute
	if s.CRDs, err = definitions(match); err != nil {
		return err
	}
	config, err := s.Start()
	if err != nil {
		return err
	}
	if s.client, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	s.kubeconfig = kubeconfig
	if err := os.WriteFile(kubeconfig, s.KubeConfig, 0o600); err != nil {
		return err
	}
	return s.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: facts.Namespace}})
}

func definitions(match string) ([]*apiextensionsv1.CustomResourceDefinition, error) {
	files, err := fs.Glob(crds.Files, match)
	if err != nil {
		return nil, err
	}
	var found []*apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		data, err := crds.Files.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(data, &definition); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		found = append(found, &definition)
	}
	return found, nil
}

// user's kubeconfig, with nothing but the permissions of that user.
func (s *apiServer) user(t *testing.T, name string) string {
	t.Helper()
	user, err := s.AddUser(envtest.User{Name: name}, &rest.Config{})
	if err != nil {
		t.Fatalf("add user %s: %v", name, err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// create objects, with their statuses, and delete them with the test.
func (s *apiServer) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		wanted := object.DeepCopyObject().(client.Object)
		if err := s.client.Create(t.Context(), object); err != nil {
			t.Fatalf("create %T %s: %v", object, object.GetName(), err)
		}
		t.Cleanup(func() { s.remove(t, object) })
		wanted.SetResourceVersion(object.GetResourceVersion())
		wanted.SetUID(object.GetUID())
		if err := s.client.Status().Update(t.Context(), wanted); err != nil && !isNoStatus(err) {
			t.Fatalf("set status of %T %s: %v", object, object.GetName(), err)
		}
	}
}

// isNoStatus: kinds without a status have no such subresource.
func isNoStatus(err error) bool {
	return strings.Contains(err.Error(), "the server could not find the requested resource")
}

// remove at once: no kubelet is there to end a pod.
func (s *apiServer) remove(t *testing.T, object client.Object) {
	ctx := context.WithoutCancel(t.Context())
	if err := s.client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		return
	}
	if len(object.GetFinalizers()) > 0 {
		object.SetFinalizers(nil)
		if err := s.client.Update(ctx, object); err != nil {
			t.Errorf("release %T %s: %v", object, object.GetName(), err)
		}
	}
	if err := client.IgnoreNotFound(s.client.Delete(ctx, object, client.GracePeriodSeconds(0))); err != nil {
		t.Errorf("delete %T %s: %v", object, object.GetName(), err)
	}
}

// namespace that exists once for all tests: it can't be deleted without a controller.
func (s *apiServer) namespace(t *testing.T, name string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := s.client.Create(t.Context(), namespace); client.IgnoreAlreadyExists(err) != nil {
		t.Fatalf("create namespace %s: %v", name, err)
	}
}

// run a command line as a person at a pipe would.
func run(t *testing.T, kubeconfig string, args ...string) (out, complaints string, err error) {
	t.Helper()
	return runWith(t, "", kubeconfig, args...)
}

func runWith(t *testing.T, in, kubeconfig string, args ...string) (out, complaints string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command := Command(genericiooptions.IOStreams{In: strings.NewReader(in), Out: &stdout, ErrOut: &stderr})
	command.SetArgs(append([]string{"--kubeconfig=" + kubeconfig}, args...))
	err = command.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(time.Now().Add(-time.Hour))}
}
