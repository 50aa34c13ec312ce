// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/kubernetes"
)

// TestManyReportsAtOnce: a cluster of a hundred Vpcs reports them without waiting; client-go would let ten requests go at once and then five in a second.
func TestManyReportsAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	kubeconfig := `{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}],
"clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1"}}]}`
	if err := os.WriteFile(file, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := hubConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	limiter := c.CoreV1().RESTClient().GetRateLimiter()
	for i := range 100 {
		if !limiter.TryAccept() {
			t.Fatalf("request %d of 100 has to wait", i+1)
		}
	}
	if limiter.QPS() < 50 {
		t.Errorf("%v requests a second, want 50", limiter.QPS())
	}
}
