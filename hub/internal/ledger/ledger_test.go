// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ledger_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/ledger"
	"github.com/tombolo-io/tombolo/hub/internal/settled"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

var errLost = errors.New("connection reset by peer")

// TestAnswers writes one allocation and has the API server's answer come, be lost, or be a refusal. The cache never
// learns of the write.
func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		reason string
		update interceptor.Funcs
		// other is written by another hub before this one writes.
		other string
		// want is what this hub must go on from, failed and stale what Write must say.
		want          []string
		failed, stale bool
	}{
		"Stored": {
			reason: "the cache is behind the write: the next plan must know it nevertheless",
			want:   []string{"100"},
		},
		"AnswerLost": {
			reason: "the write was done though it seemed to fail: to give 100 away again would be a duplicate",
			update: interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				if err := c.SubResource(sub).Patch(ctx, o, p, opts...); err != nil {
					return err
				}
				return errLost
			}},
			want: []string{"100"}, failed: true,
		},
		"RequestLost": {
			reason: "the write was not done: 100 is free still",
			update: interceptor.Funcs{SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
				return errLost
			}},
			failed: true,
		},
		"OtherWriter": {
			reason: "another hub was first: its allocations stand, ours is not made",
			other:  "101",
			want:   []string{"101"}, failed: true, stale: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			api := newAPI(t, test.update)
			cached := read(t, api)
			store := ledger.New(api, api)
			newest(t, store, cached) // the first look is live; from here on the cache is asked
			if test.other != "" {
				pool := read(t, api)
				pool.Status.Allocations = allocations(test.other)
				if err := api.Status().Update(t.Context(), pool); err != nil {
					t.Fatal(err)
				}
			}

			_, err := store.Write(t.Context(), &settled.Set{},
				map[federation.Key]*networkv1alpha1.IPPool{"vnis": cached},
				map[federation.Key]networkv1alpha1.IPPoolStatus{"vnis": {Allocations: allocations("100")}})
			if (err != nil) != test.failed || err != nil && stale.Only(err) != test.stale {
				t.Errorf("Write: %v: %s", err, test.reason)
			}
			if diff := cmp.Diff(test.want, values(newest(t, store, cached))); diff != "" {
				t.Errorf("ledger (-want +got): %s\n%s", test.reason, diff)
			}
		})
	}
}

// TestNewLeader has a cache that is behind the leader before.
func TestNewLeader(t *testing.T) {
	api := newAPI(t, interceptor.Funcs{})
	cached := read(t, api)
	before := read(t, api)
	before.Status.Allocations = allocations("100")
	if err := api.Status().Update(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	got := newest(t, ledger.New(api, api), cached)
	if diff := cmp.Diff([]string{"100"}, values(got)); diff != "" {
		t.Errorf("a new leader must not trust its cache (-want +got):\n%s", diff)
	}
}

func newAPI(t *testing.T, funcs interceptor.Funcs) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := networkv1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	pool := &networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "vnis", UID: "1"}}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(pool).WithStatusSubresource(pool).WithInterceptorFuncs(funcs).Build()
}

func read(t *testing.T, c client.Client) *networkv1alpha1.IPPool {
	t.Helper()
	var pool networkv1alpha1.IPPool
	if err := c.Get(t.Context(), client.ObjectKey{Name: "vnis"}, &pool); err != nil {
		t.Fatal(err)
	}
	return &pool
}

func newest(t *testing.T, store *ledger.Store, cached *networkv1alpha1.IPPool) *networkv1alpha1.IPPool {
	t.Helper()
	pools, err := store.Newest(t.Context(), []*networkv1alpha1.IPPool{cached})
	if err != nil {
		t.Fatal(err)
	}
	return pools[0]
}

func allocations(value string) []networkv1alpha1.Allocation {
	return []networkv1alpha1.Allocation{{Value: value, Owner: "Vpc/shop/front", UID: "2"}}
}

func values(pool *networkv1alpha1.IPPool) []string {
	var values []string
	for _, allocation := range pool.Status.Allocations {
		values = append(values, allocation.Value)
	}
	return values
}
