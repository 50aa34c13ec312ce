// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package hubidentity

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// proxied makes the test binary be a client of the hub: a process reads its proxy once.
const proxied = "TOMBOLO_TEST_PROXIED_KUBECONFIG"

// TestProxy: with what the chart sets for hub.proxy, the way to the hub is a tunnel through the proxy, and there is none around it.
func TestProxy(t *testing.T) {
	if file := os.Getenv(proxied); file != "" {
		config, err := clientcmd.BuildConfigFromFlags("", file)
		if err != nil {
			t.Fatal(err)
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Discovery().ServerVersion(); err != nil {
			t.Fatal(err)
		}
		return
	}
	h := newHub(t)
	proxy := startProxy(t, strings.TrimPrefix(h.Config.Host, "https://"))
	// The hub has a name that only the proxy can resolve.
	kubeconfig := h.Kubeconfig(t)
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, cluster := range config.Clusters {
		cluster.Server, cluster.TLSServerName = "https://hub.invalid:6443", "127.0.0.1"
	}
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		t.Fatal(err)
	}
	ask := func(env ...string) (string, error) {
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxy$", "-test.count=1")
		command.Env = append(os.Environ(), append(env, proxied+"="+kubeconfig)...)
		out, err := command.CombinedOutput()
		return string(out), err
	}
	if out, err := ask("HTTPS_PROXY=", "NO_PROXY="); err == nil {
		t.Fatalf("the hub can be reached without the proxy: the test proves nothing\n%s", out)
	}
	if out, err := ask("HTTPS_PROXY="+proxy.URL, "NO_PROXY=10.96.0.1"); err != nil {
		t.Errorf("through the proxy: %v\n%s", err, out)
	}
	if out, err := ask("HTTPS_PROXY="+proxy.URL, "NO_PROXY=hub.invalid,10.96.0.1"); err == nil {
		t.Errorf("noProxy does not hold:\n%s", out)
	}
	if asked := proxy.tunnels(); !slices.Equal(slices.Compact(asked), []string{"hub.invalid:6443"}) {
		t.Errorf("the proxy was asked for %v", asked)
	}
}

// connectProxy tunnels to one address, whatever it is asked for.
type connectProxy struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func (p *connectProxy) tunnels() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

func startProxy(t *testing.T, to string) *connectProxy {
	t.Helper()
	p := &connectProxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "this proxy makes tunnels only", http.StatusMethodNotAllowed)
			return
		}
		p.mu.Lock()
		p.asked = append(p.asked, r.Host)
		p.mu.Unlock()
		tunnel(r.Context(), w, to)
	}))
	t.Cleanup(p.Close)
	return p
}

func tunnel(ctx context.Context, w http.ResponseWriter, to string) {
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer server.Close()
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(server, client) // the end of one direction is the end of both
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
}
