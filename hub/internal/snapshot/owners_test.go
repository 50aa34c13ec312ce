// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
)

// TestOwners: an owner that a ledger names is gone only when the API server says so, or the cache that had it.
func TestOwners(t *testing.T) {
	vpc := func(uid types.UID) *networkv1alpha1.Vpc {
		return &networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "front", UID: uid}}
	}
	for name, test := range map[string]struct {
		reason string
		// server is what the API server has, cached what the cache shows in one look after the other; nil is none.
		server *networkv1alpha1.Vpc
		cached []*networkv1alpha1.Vpc
		// want is the UID of the Vpc that the last look has, asked how often the API server was.
		want  types.UID
		asked int
	}{
		"Shown":      {"what the cache shows is there", nil, []*networkv1alpha1.Vpc{vpc("1")}, "1", 0},
		"NotYet":     {"another leader has handed out to a Vpc that this cache does not show yet", vpc("1"), []*networkv1alpha1.Vpc{nil}, "1", 1},
		"StillNot":   {"and the next look does not show it either: that is no end", vpc("1"), []*networkv1alpha1.Vpc{nil, nil}, "1", 2},
		"Former":     {"the cache shows the one before, of the same name", vpc("1"), []*networkv1alpha1.Vpc{vpc("0")}, "1", 1},
		"Gone":       {"a UID that is gone stays so", nil, []*networkv1alpha1.Vpc{nil, nil, nil}, "", 1},
		"Other":      {"one of the same name is another", vpc("2"), []*networkv1alpha1.Vpc{vpc("2")}, "2", 1},
		"ShownAfter": {"the cache showed it, and shows its end", nil, []*networkv1alpha1.Vpc{vpc("1"), nil}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			if err := networkv1alpha1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			builder := fake.NewClientBuilder().WithScheme(scheme)
			if test.server != nil {
				builder = builder.WithObjects(test.server)
			}
			asked := 0
			r := &Reader{Live: builder.WithInterceptorFuncs(interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
					asked++
					return c.Get(ctx, key, o, opts...)
				},
			}).Build()}
			var state *State
			for _, cached := range test.cached {
				state = &State{Vpcs: map[federation.Key]*networkv1alpha1.Vpc{}}
				state.Snapshot.Pools = []*networkv1alpha1.IPPool{{Status: networkv1alpha1.IPPoolStatus{Allocations: []networkv1alpha1.Allocation{
					{Value: "10.0.0.0/24", Owner: "Vpc/shop/front", UID: "1"}, {Value: "10.0.1.0/24", Owner: "Import/firewall"},
				}}}}
				if cached != nil {
					state.Snapshot.Vpcs = []*networkv1alpha1.Vpc{cached}
					state.Vpcs["shop/front"] = cached
				}
				if err := r.readOwners(t.Context(), state); err != nil {
					t.Fatal(err)
				}
			}
			var got types.UID
			for _, v := range state.Snapshot.Vpcs {
				got += v.UID
			}
			if got != test.want || asked != test.asked {
				t.Errorf("%s: got Vpc %q after %d questions, want %q after %d", test.reason, got, asked, test.want, test.asked)
			}
		})
	}
}
