// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/distribute"
	"github.com/tombolo-io/tombolo/hub/internal/settled"
	"github.com/tombolo-io/tombolo/hub/internal/snapshot"
)

// memberBudget is what one member more of a Vpc of twenty clusters may cost: the requests that tell the clusters.
const memberBudget = 24 << 10

// TestMember: a cluster that joins a Vpc of twenty is told to these and to it, each with what is new and no more.
func TestMember(t *testing.T) {
	objects, sent, stored := join(t, 20)
	t.Logf("%d objects, %d bytes sent, %d bytes stored", objects, sent, stored)
	if objects != 21 {
		t.Errorf("%d LocalRouters are written, want 21: those of the members", objects)
	}
	if sent > memberBudget {
		t.Errorf("%d bytes are sent, want at most %d", sent, memberBudget)
	}
}

// BenchmarkMember says what one member more costs in Vpcs of several sizes.
func BenchmarkMember(b *testing.B) {
	for _, n := range []int{20, 100, 300, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for range b.N {
				objects, sent, stored := join(b, n)
				b.ReportMetric(float64(objects), "objects")
				b.ReportMetric(float64(sent), "bytes-sent")
				b.ReportMetric(float64(stored), "bytes-stored")
			}
		})
	}
}

// join plans a Vpc of n clusters, adds one, and counts what is written to tell it: LocalRouters, bytes of requests, and bytes of these objects.
func join(t testing.TB, n int) (objects int, sent, stored int64) {
	t.Helper()
	state := newState(n + 1)
	planner, vpc := federation.NewPlanner(), &networkv1alpha1.Vpc{ObjectMeta: written("shop", "front")}
	for i := range n {
		vpc.Spec.Clusters.Names = append(vpc.Spec.Clusters.Names, networkv1alpha1.ClusterName(state.Snapshot.Clusters[i].Name))
	}
	state.Snapshot.Vpcs = []*networkv1alpha1.Vpc{vpc}
	for range 3 { // as often as allocations need until they are stored and told
		result, _ := planner.Plan(state.Snapshot)
		take(state, &result)
	}
	if len(state.Routers) != n {
		t.Fatalf("%d LocalRouters before the change, want %d", len(state.Routers), n)
	}
	wider := vpc.DeepCopy()
	wider.ResourceVersion, wider.Generation = "2", 2
	wider.Spec.Clusters.Names = append(wider.Spec.Clusters.Names, networkv1alpha1.ClusterName(state.Snapshot.Clusters[n].Name))
	state.Snapshot.Vpcs = []*networkv1alpha1.Vpc{wider}
	result, _ := planner.Plan(state.Snapshot)
	var writes []distribute.Write
	for _, w := range distribute.Diff(&settled.Kinds{}, state, &result) {
		if _, is := w.Object.(*spokev1alpha1.LocalRouter); is {
			writes, stored = append(writes, w), stored+size(t, w.Object)
		}
	}
	var bytes atomic.Int64
	if _, err := distribute.Apply(t.Context(), counting(t, &bytes), writes); err != nil {
		t.Fatal(err)
	}
	return len(writes), bytes.Load(), stored
}

func size(t testing.TB, object any) int64 {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return int64(len(text))
}

// counting is an API server that takes everything and counts it.
func counting(t testing.TB, bytes *atomic.Int64) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := spokev1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
			bytes.Add(size(t, o))
			return nil
		},
		Update: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.UpdateOption) error {
			bytes.Add(size(t, o))
			return nil
		},
		Patch: func(_ context.Context, _ client.WithWatch, o client.Object, p client.Patch, _ ...client.PatchOption) error {
			text, err := p.Data(o)
			bytes.Add(int64(len(text)))
			return err
		},
	}).Build()
}

func written(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID("88df7e02-abd2-45e2-ad28-" + name), ResourceVersion: "1", Generation: 1,
		CreationTimestamp: metav1.NewTime(time.Unix(1_700_000_000, 0)),
	}
}

// newState is a fleet of so many clusters, with the pools that it needs and a Subnet in each cluster.
func newState(clusters int) *snapshot.State {
	links := &networkv1alpha1.IPPool{ObjectMeta: written("", "links"), Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeLink, CIDRs: []networkv1alpha1.CIDR{"100.64.0.0/10"}}}
	vnis := &networkv1alpha1.IPPool{ObjectMeta: written("", "vnis"), Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVNI, VNIs: &networkv1alpha1.VNIRange{First: 1000, Last: 2000}}}
	subnets := &networkv1alpha1.IPPool{ObjectMeta: written("", "subnets"), Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVpc, CIDRs: []networkv1alpha1.CIDR{"172.16.0.0/12"}}}
	net1 := &networkv1alpha1.Subnet{ObjectMeta: written("shop", "net1"), Spec: networkv1alpha1.SubnetSpec{Vpc: "front", FromPool: &networkv1alpha1.PoolRequest{Name: "subnets", PrefixLength: 28}}}
	state := &snapshot.State{Namespaces: map[string]bool{}, Routers: map[federation.Key]*spokev1alpha1.LocalRouter{}, Gateways: map[federation.Key]*spokev1alpha1.InterconnectGateway{}}
	state.Snapshot.Pools, state.Snapshot.Subnets = []*networkv1alpha1.IPPool{links, vnis, subnets}, []*networkv1alpha1.Subnet{net1}
	for i := range clusters {
		name := fmt.Sprintf("cluster-%04d", i)
		state.Namespaces[name] = true
		state.Snapshot.Clusters = append(state.Snapshot.Clusters, federation.Cluster{Name: name, Accepted: true})
	}
	return state
}

// take stores what was decided, and has each cluster realize it.
func take(state *snapshot.State, result *federation.Result) {
	for i, pool := range state.Snapshot.Pools {
		stored := pool.DeepCopy()
		status := result.Pools[snapshot.KeyOf(pool)]
		stored.Status, stored.ResourceVersion = *status.DeepCopy(), pool.ResourceVersion+"0"
		state.Snapshot.Pools[i] = stored
	}
	state.Snapshot.Routers = nil
	for key, want := range result.Routers {
		have := want.DeepCopy()
		have.UID, have.ResourceVersion, have.Generation, have.Status.ObservedGeneration = "88df7e02-abd2-45e2-ad28-4763c68a411d", "1", 1, 1
		state.Routers[key] = have
		state.Snapshot.Routers = append(state.Snapshot.Routers, have)
	}
}
