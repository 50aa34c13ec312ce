// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/e2e/lab/kube"
)

// etcd is one store.
type etcd struct {
	process *Process
	url     string
	dir     string
}

func newEtcd(dir, name, binaries string) (*etcd, error) {
	clients, err := freePort()
	if err != nil {
		return nil, err
	}
	peers, err := freePort()
	if err != nil {
		return nil, err
	}
	url, peer := "http://127.0.0.1:"+strconv.Itoa(clients), "http://127.0.0.1:"+strconv.Itoa(peers)
	data := filepath.Join(dir, name+".data")
	return &etcd{url: url, dir: data, process: newProcess(dir, name, filepath.Join(binaries, "etcd"),
		"--name="+name, "--data-dir="+data, "--listen-client-urls="+url, "--advertise-client-urls="+url,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster="+name+"="+peer,
		"--unsafe-no-fsync", "--log-level=error")}, nil
}

func (e *etcd) start(ctx context.Context) error {
	if err := e.process.Start(); err != nil {
		return err
	}
	return until(ctx, "wait for etcd", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url+"/health", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("etcd answers %s", answer.Status)
		}
		return nil
	})
}

// backup copies the data directory while etcd stands still, as a snapshot of the disk does.
func (e *etcd) backup(ctx context.Context, to string) error {
	e.process.Signal(syscall.SIGSTOP)
	defer e.process.Signal(syscall.SIGCONT)
	return copyDir(ctx, e.dir, to)
}

// restore puts a copy in the place of the data. etcd must not run.
func (e *etcd) restore(ctx context.Context, from string) error {
	if err := os.RemoveAll(e.dir); err != nil {
		return fmt.Errorf("remove data of etcd: %w", err)
	}
	return copyDir(ctx, from, e.dir)
}

func copyDir(ctx context.Context, from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return fmt.Errorf("remove %s: %w", to, err)
	}
	if out, err := exec.CommandContext(ctx, "cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return nil
}

// Server is a kube-apiserver.
type Server struct {
	// Name of its cluster.
	Name string
	// Admin bypasses all faults.
	Admin client.WithWatch
	// Config is Admin's.
	Config *rest.Config

	process *Process
	store   *etcd
	ca      *kube.Authority
	url     string
}

func newServer(dir, name, binaries string, store *etcd) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	pki := filepath.Join(dir, name+".pki")
	ca, err := kube.OpenAuthority(pki, name+"-ca")
	if err != nil {
		return nil, err
	}
	if err := ca.WriteServer(pki, "server", "127.0.0.1", "localhost", "kubernetes.default.svc"); err != nil {
		return nil, err
	}
	file := func(name string) string { return filepath.Join(pki, name) }
	s := &Server{Name: name, store: store, ca: ca, url: "https://127.0.0.1:" + strconv.Itoa(port)}
	s.process = newProcess(dir, name+"-apiserver", filepath.Join(binaries, "kube-apiserver"),
		"--etcd-servers="+store.url, "--etcd-prefix=/"+name, "--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(port),
		"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
		"--tls-cert-file="+file("server.crt"), "--tls-private-key-file="+file("server.key"), "--client-ca-file="+file("ca.crt"),
		"--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/24",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+file("server.crt"), "--service-account-signing-key-file="+file("server.key"))
	s.Config, err = s.user("admin", "system:masters")
	return s, err
}

// user is a client's identity.
func (s *Server) user(name string, groups ...string) (*rest.Config, error) {
	pair, err := s.ca.Client(name, groups)
	if err != nil {
		return nil, err
	}
	return &rest.Config{Host: s.url, QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: s.ca.PEM(), CertData: pair.Cert, KeyData: pair.Key}}, nil
}

func (s *Server) start(ctx context.Context) error {
	if err := s.process.Start(); err != nil {
		return err
	}
	if s.Admin == nil { // it asks for the kinds when it needs them
		var err error
		if s.Admin, err = client.NewWithWatch(s.Config, client.Options{Scheme: scheme()}); err != nil {
			return fmt.Errorf("make client: %w", err)
		}
	}
	transport, err := rest.HTTPClientFor(s.Config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	return until(ctx, "wait for the apiserver of "+s.Name, func(ctx context.Context) error {
		if !s.process.Alive() {
			cancel(fmt.Errorf("it has ended: %s", s.process.Tail(1000)))
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/readyz", nil)
		if err != nil {
			return err
		}
		answer, err := transport.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("apiserver answers %s", answer.Status)
		}
		return nil
	})
}

// writeKubeconfig makes a file by which a process reaches a server.
func writeKubeconfig(path, server string, ca []byte, identity *rest.Config) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: identity.CertData, ClientKeyData: identity.KeyData}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}
