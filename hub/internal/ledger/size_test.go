// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ledger_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/ledger"
	"github.com/tombolo-io/tombolo/hub/internal/settled"
)

// BenchmarkWrite hands out one link more of a pool that has many, on a real API server (KUBEBUILDER_ASSETS): what the size of a ledger costs.
func BenchmarkWrite(b *testing.B) {
	scheme := runtime.NewScheme()
	if err := networkv1alpha1.AddToScheme(scheme); err != nil {
		b.Fatal(err)
	}
	env := &envtest.Environment{
		CRDDirectoryPaths: []string{filepath.Join("..", "..", "..", "apis", "crds")}, ErrorIfCRDPathMissing: true, Scheme: scheme, ControlPlaneStartTimeout: 3 * time.Minute,
	}
	config, err := env.Start()
	if err != nil {
		b.Fatalf("start kube-apiserver: %v", err)
	}
	b.Cleanup(func() {
		if err := env.Stop(); err != nil {
			b.Errorf("stop kube-apiserver: %v", err)
		}
	})
	config.QPS = -1
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		b.Fatal(err)
	}
	for _, entries := range []int{100, 1000, 4096, 8192, 12000} {
		b.Run(fmt.Sprint(entries), func(b *testing.B) { benchmarkWrite(b, api, entries) })
	}
}

func benchmarkWrite(b *testing.B, api client.Client, entries int) {
	pool := &networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("links-%d-%d", entries, b.N)}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeLink, CIDRs: []networkv1alpha1.CIDR{"100.64.0.0/10"}}}
	if err := api.Create(b.Context(), pool); err != nil {
		b.Fatal(err)
	}
	full := make([]networkv1alpha1.Allocation, entries)
	for i := range full {
		full[i] = networkv1alpha1.Allocation{
			Value: fmt.Sprintf("100.%d.%d.%d/29", 64+i>>13, i>>5&0xff, i<<3&0xff), Owner: fmt.Sprintf("Vpc/tenant-%03d/vpc-%04d/cluster-%04d", i%300, i%1000, i%500),
			UID: fmt.Sprintf("88df7e02-abd2-45e2-ad28-4763%08x", i),
		}
	}
	store := ledger.New(api, api)
	write := func(list []networkv1alpha1.Allocation) {
		_, err := store.Write(b.Context(), &settled.Set{}, map[federation.Key]*networkv1alpha1.IPPool{"links": pool},
			map[federation.Key]networkv1alpha1.IPPoolStatus{"links": {Allocations: list}})
		if err != nil {
			b.Fatal(err)
		}
		newest, err := store.Newest(b.Context(), []*networkv1alpha1.IPPool{pool})
		if err != nil {
			b.Fatal(err)
		}
		pool = newest[0]
	}
	write(full)
	text, err := json.Marshal(pool)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(text)), "bytes")
	without := append(append([]networkv1alpha1.Allocation{}, full[:entries/2]...), full[entries/2+1:]...)
	b.ResetTimer()
	for i := range b.N {
		if i%2 == 0 {
			write(without)
		} else {
			write(full)
		}
	}
	b.ReportMetric(float64(len(text)), "bytes")
}
