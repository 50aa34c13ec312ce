// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clustertest gives tests a real kube-apiserver with a real etcd, the project's CRDs, and a
// switch that makes it unreachable. Only _test.go files import it.
package clustertest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/tombolo-io/tombolo/apis/crds"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// Cluster is a running apiserver.
type Cluster struct {
	// Config reaches the apiserver through the switch.
	Config *rest.Config
	// Client bypasses the switch: tests see what is there while the cluster is cut off.
	Client client.Client
	// ClientCAs is the file of the CAs whose clients the apiserver believes. It notices a change.
	ClientCAs string

	line *line
}

// Scheme knows every kind that the agent handles.
func Scheme(tb testing.TB) *runtime.Scheme {
	tb.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, spokev1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			tb.Fatal(err)
		}
	}
	return scheme
}

// Start starts an apiserver with the given namespaces, and stops it at the end of the test.
func Start(tb testing.TB, namespaces ...string) *Cluster {
	tb.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		tb.Fatal("KUBEBUILDER_ASSETS is not set: `make test` builds kube-apiserver and etcd and sets it to their directory")
	}
	env := &envtest.Environment{CRDs: readCRDs(tb)}
	config, err := env.Start()
	if err != nil {
		tb.Fatalf("start kube-apiserver: %v", err)
	}
	tb.Cleanup(func() {
		if err := env.Stop(); err != nil {
			tb.Errorf("stop kube-apiserver: %v", err)
		}
	})
	config.QPS = -1
	direct, err := client.New(config, client.Options{Scheme: Scheme(tb)})
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range namespaces {
		if err := direct.Create(tb.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			tb.Fatal(err)
		}
	}
	line := newLine(tb, config.Host)
	switched := rest.CopyConfig(config)
	switched.Host = "https://" + line.address
	clientCAs := env.ControlPlane.GetAPIServer().Configure().Get("client-ca-file").Get(nil)[0]
	return &Cluster{Config: switched, Client: direct, ClientCAs: clientCAs, line: line}
}

func readCRDs(tb testing.TB) []*apiextensionsv1.CustomResourceDefinition {
	tb.Helper()
	files, err := crds.Files.ReadDir(".")
	if err != nil {
		tb.Fatal(err)
	}
	var all []*apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		raw, err := crds.Files.ReadFile(file.Name())
		if err != nil {
			tb.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(raw, crd); err != nil {
			tb.Fatalf("parse %s: %v", file.Name(), err)
		}
		all = append(all, crd)
	}
	return all
}

// Cut makes the apiserver unreachable: open connections break, new ones are refused.
func (c *Cluster) Cut() { c.line.cut() }

// Mend undoes Cut.
func (c *Cluster) Mend(tb testing.TB) { c.line.mend(tb) }

// Kubeconfig writes a kubeconfig and returns its path.
func (c *Cluster) Kubeconfig(tb testing.TB) string {
	tb.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: c.Config.Host, CertificateAuthorityData: c.Config.CAData}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: c.Config.CertData, ClientKeyData: c.Config.KeyData}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	path := filepath.Join(tb.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		tb.Fatal(err)
	}
	return path
}

// Eventually waits up to 20 s until check has no error.
func Eventually(tb testing.TB, what string, check func(context.Context) error) {
	tb.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = check(tb.Context()); err == nil {
			return
		}
	}
	tb.Fatalf("%s: not within a minute: %v", what, err)
}

// line is a TCP forwarder that can be cut.
type line struct {
	address, target string

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]bool
}

func newLine(tb testing.TB, host string) *line {
	tb.Helper()
	target := host
	if u, err := url.Parse(host); err == nil && u.Host != "" {
		target = u.Host
	}
	l := &line{address: "127.0.0.1:0", target: target}
	l.mend(tb)
	tb.Cleanup(l.cut)
	return l
}

func (l *line) mend(tb testing.TB) {
	tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	listener, err := net.Listen("tcp", l.address)
	if err != nil {
		tb.Fatal(fmt.Errorf("listen for the apiserver's line: %w", err))
	}
	l.listener, l.address, l.open = listener, listener.Addr().String(), map[net.Conn]bool{}
	go l.accept(listener)
}

func (l *line) accept(listener net.Listener) {
	for {
		from, err := listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", l.target)
		if err != nil {
			from.Close()
			continue
		}
		l.mu.Lock()
		l.open[from], l.open[to] = true, true
		l.mu.Unlock()
		go pipe(from, to)
		go pipe(to, from)
	}
}

func pipe(a, b net.Conn) {
	defer a.Close()
	defer b.Close()
	_, _ = io.Copy(a, b) // either end closing ends both
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listener.Close()
	for c := range l.open {
		c.Close()
	}
}
