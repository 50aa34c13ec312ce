// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package delta_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/delta"
)

func TestOperations(t *testing.T) {
	for name, test := range map[string]struct {
		reason        string
		before, after string
		want          string
	}{
		"Same":         {"nothing is written for nothing", `{"a":[1,{"b":2}]}`, `{"a":[1,{"b":2}]}`, `null`},
		"Value":        {"a value is written alone", `{"a":{"b":1,"c":2}}`, `{"a":{"b":1,"c":3}}`, `[{"op":"add","path":"/a/c","value":3}]`},
		"Zero":         {"so is one that is nothing", `{"a":{"b":1}}`, `{"a":{"b":null}}`, `[{"op":"add","path":"/a/b","value":null}]`},
		"Field":        {"one that goes is named", `{"a":{"b":1,"c":2}}`, `{"a":{"c":2}}`, `[{"op":"remove","path":"/a/b"}]`},
		"EmptyParent":  {"what is empty may not be there at all", `{"status":{}}`, `{"status":{"a":1}}`, `[{"op":"add","path":"/status","value":{"a":1}}]`},
		"EmptyList":    {"nor a list", `{"a":[]}`, `{"a":[1]}`, `[{"op":"add","path":"/a","value":[1]}]`},
		"Names":        {"names are escaped", `{"a/b":{"c~d":1}}`, `{"a/b":{"c~d":2}}`, `[{"op":"add","path":"/a~1b/c~0d","value":2}]`},
		"Inserted":     {"an item more is written alone, wherever it is", `{"a":[1,2,3]}`, `{"a":[1,9,2,3]}`, `[{"op":"add","path":"/a/1","value":9}]`},
		"Appended":     {"also at the end", `{"a":[1]}`, `{"a":[1,2]}`, `[{"op":"add","path":"/a/1","value":2}]`},
		"Removed":      {"an item less is named alone", `{"a":[1,2,2,3]}`, `{"a":[1,3]}`, `[{"op":"remove","path":"/a/2"},{"op":"remove","path":"/a/1"}]`},
		"Emptied":      {"the last one, too", `{"a":[1]}`, `{"a":[]}`, `[{"op":"remove","path":"/a/0"}]`},
		"Changed":      {"of an item what differs", `{"a":[{"b":1,"c":1},{"b":2}]}`, `{"a":[{"b":1,"c":5},{"b":2}]}`, `[{"op":"add","path":"/a/0/c","value":5}]`},
		"Another":      {"nothing of an item stays in one that has its place", `{"a":[{"name":"x","b":1},{"b":2}]}`, `{"a":[{"name":"y","b":1},{"b":2}]}`, `[{"op":"replace","path":"/a/0","value":{"b":1,"name":"y"}}]`},
		"Replaced":     {"a simple item is replaced: to add would be to insert", `{"a":[1,2,3]}`, `{"a":[1,7,3]}`, `[{"op":"replace","path":"/a/1","value":7}]`},
		"OtherKind":    {"what becomes something else is written whole", `{"a":{"b":1}}`, `{"a":[1]}`, `[{"op":"add","path":"/a","value":[1]}]`},
		"LargeNumbers": {"numbers keep all their digits", `{"a":9007199254740993}`, `{"a":9007199254740992}`, `[{"op":"add","path":"/a","value":9007199254740992}]`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(delta.Operations(decode(t, test.before), decode(t, test.after)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	decoder, fields := json.NewDecoder(strings.NewReader(text)), map[string]any{}
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

// TestWrite makes one random router of another, again and again: what the server has afterwards is what was to be written, spec and status.
func TestWrite(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	api := newAPI(t, interceptor.Funcs{})
	for i := range 100 {
		old := read(t, api)
		updated := old.DeepCopy()
		updated.Labels = map[string]string{"a/b~c": fmt.Sprint(random.IntN(3))}
		updated.Spec = randomSpec(random)
		want := updated.Spec.DeepCopy()
		if err := delta.Write(t.Context(), api, old, updated); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if diff := cmp.Diff(*want, read(t, api).Spec); diff != "" {
			t.Fatalf("step %d (-want +got):\n%s", i, diff)
		}
		old = read(t, api)
		updated = old.DeepCopy()
		updated.Status = randomStatus(random)
		wanted := updated.Status.DeepCopy()
		if err := delta.WriteStatus(t.Context(), api, old, updated); err != nil {
			t.Fatalf("status, step %d: %v", i, err)
		}
		if diff := cmp.Diff(*wanted, read(t, api).Status); diff != "" {
			t.Fatalf("status, step %d (-want +got):\n%s", i, diff)
		}
	}
}

// TestRefused: a write that was decided from an older object is refused as such, and one that the server calls invalid is sent whole.
func TestRefused(t *testing.T) {
	invalid := apierrors.NewInvalid(schema.GroupKind{}, "front", nil)
	for name, test := range map[string]struct {
		reason string
		patch  error
		moved  bool
		want   func(error) bool
	}{
		"Older":        {reason: "another one has written", moved: true, want: apierrors.IsConflict},
		"OlderInvalid": {reason: "so much that the patch makes no sense", moved: true, patch: invalid, want: apierrors.IsConflict},
		"Whole":        {reason: "the server can't take the patch, and can take the object", patch: invalid, want: func(err error) bool { return err == nil }},
	} {
		t.Run(name, func(t *testing.T) {
			funcs := interceptor.Funcs{}
			if test.patch != nil {
				funcs.Patch = func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
					return test.patch
				}
			}
			api := newAPI(t, funcs)
			old := read(t, api)
			if test.moved {
				other := read(t, api)
				other.Spec.LinkCIDR = "100.64.0.8/29"
				if err := api.Update(t.Context(), other); err != nil {
					t.Fatal(err)
				}
			}
			updated := old.DeepCopy()
			updated.Spec.Routes = []string{"10.0.0.0/8"}
			if err := delta.Write(t.Context(), api, old, updated); !test.want(err) {
				t.Errorf("%v: %s", err, test.reason)
			}
		})
	}
}

func newAPI(t *testing.T, funcs interceptor.Funcs) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := spokev1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	router := &spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "front"}}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(router).WithStatusSubresource(router).WithInterceptorFuncs(funcs).Build()
}

func read(t *testing.T, c client.Client) *spokev1alpha1.LocalRouter {
	t.Helper()
	router := &spokev1alpha1.LocalRouter{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: "front"}, router); err != nil {
		t.Fatal(err)
	}
	return router
}

func randomSpec(random *rand.Rand) spokev1alpha1.LocalRouterSpec {
	spec := spokev1alpha1.LocalRouterSpec{LinkCIDR: fmt.Sprintf("100.64.0.%d/29", random.IntN(3)*8)}
	for i := range random.IntN(6) {
		if random.IntN(3) > 0 {
			spec.Remotes = append(spec.Remotes, spokev1alpha1.Remote{
				Cluster: fmt.Sprintf("c%d", i), Vpc: spokev1alpha1.VpcIdentity{Name: "front", VNI: int32(random.IntN(2))}, Prefixes: prefixes(random), //nolint:gosec // small
			})
		}
	}
	return spec
}

func prefixes(random *rand.Rand) []string {
	all := []string{}
	for i := range random.IntN(4) {
		all = append(all, fmt.Sprintf("10.%d.%d.0/24", i, random.IntN(2)))
	}
	return all
}

func randomStatus(random *rand.Rand) spokev1alpha1.LocalRouterStatus {
	status := spokev1alpha1.LocalRouterStatus{ObservedGeneration: int64(random.IntN(3))}
	for i := range random.IntN(4) {
		status.Gateways = append(status.Gateways, spokev1alpha1.RouterGateway{Node: fmt.Sprint(i), ObservedGeneration: int64(random.IntN(2))})
	}
	return status
}
