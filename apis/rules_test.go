// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package apis_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// kindRules are the rules of one kind, each told by two changes to one object.
type kindRules struct {
	// object that the apiserver accepts as it is.
	object string
	rules  map[string]rule
}

// rule has one object that the apiserver takes and one that it refuses. Both are
// JSON merge patches (RFC 7386) on the kind's object, as YAML.
type rule struct {
	reason string
	accept string
	refuse string
	// update makes both changes to an object that exists, instead of creating them.
	// A change of status always does.
	update bool
	// says is what the refusal must tell: the field, the value and the cure.
	says []string
}

// TestRules tries every rule, then that no constraint of the CRDs was left untried.
func TestRules(t *testing.T) {
	untried := constraints(t)
	for _, kind := range []kindRules{ipPoolRules, vpcRules, subnetRules, peeringRules, fleetRules, gatewayRules, routerRules, ipAddressRules, elasticIPRules} {
		base := parse(t, kind.object)
		for _, name := range slices.Sorted(maps.Keys(kind.rules)) {
			r := kind.rules[name]
			t.Run(base.GetKind()+"/"+name, func(t *testing.T) {
				if err := try(t, base, r.accept, r.update); err != nil {
					t.Errorf("%s\naccept: %s\nrefused: %v", r.reason, r.accept, err)
				}
				causes := checkRefusal(t, r, try(t, base, r.refuse, r.update))
				untried = slices.DeleteFunc(untried, func(c constraint) bool {
					return slices.ContainsFunc(causes, func(cause metav1.StatusCause) bool { return c.broken(base.GetKind(), cause) })
				})
			})
		}
	}
	t.Run("no constraint is untried", func(t *testing.T) {
		for _, c := range untried {
			t.Errorf("%v\nno object is refused for it: add one to this package's rules", c)
		}
	})
}

// checkRefusal demands that the object was refused, in the words that help the
// person who wrote it, and returns the causes.
func checkRefusal(t *testing.T, r rule, err error) []metav1.StatusCause {
	t.Helper()
	if err == nil {
		t.Fatalf("%s\nrefuse: %s\nwas accepted", r.reason, r.refuse)
	}
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || status.ErrStatus.Reason != metav1.StatusReasonInvalid {
		t.Fatalf("%s\nrefuse: %s\nrefused, but not by validation: %v", r.reason, r.refuse, err)
	}
	for _, want := range r.says {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nthe refusal does not say %q: %v", r.reason, want, err)
		}
	}
	return status.ErrStatus.Details.Causes
}

// try makes the change to an object and sends it: at creation, or to an object
// that exists when it is an update or a change of status.
func try(t *testing.T, base *unstructured.Unstructured, change string, update bool) error {
	t.Helper()
	changed := patch(t, base, change)
	_, status := changed.Object["status"]
	if !update && !status {
		return create(t, changed)
	}
	before := base.DeepCopy()
	before.SetName(changed.GetName())
	err := create(t, before)
	if apierrors.IsAlreadyExists(err) { // a kind of which there is one: the change before made it
		err = hub.client.Get(t.Context(), client.ObjectKeyFromObject(before), before)
	}
	if err != nil {
		t.Fatalf("create %s before its update: %v", base.GetKind(), err)
	}
	changed.SetResourceVersion(before.GetResourceVersion())
	if status {
		return hub.client.Status().Update(t.Context(), changed)
	}
	return hub.client.Update(t.Context(), changed)
}

func create(t *testing.T, object *unstructured.Unstructured) error {
	t.Helper()
	err := hub.client.Create(t.Context(), object)
	if err == nil {
		t.Cleanup(func() {
			// The test's own context is cancelled before its cleanups.
			if err := hub.client.Delete(context.WithoutCancel(t.Context()), object); client.IgnoreNotFound(err) != nil {
				t.Errorf("delete %s: %v", object.GetName(), err)
			}
		})
	}
	return err
}

var serial atomic.Int64

// patch returns the object with the change, under a name that no other object has
// unless the change names it.
func patch(t *testing.T, base *unstructured.Unstructured, change string) *unstructured.Unstructured {
	t.Helper()
	var diff map[string]any
	if err := yaml.UnmarshalStrict([]byte(change), &diff); err != nil {
		t.Fatalf("parse %s: %v", change, err)
	}
	object := base.DeepCopy()
	merge(object.Object, diff)
	if object.GetName() == "" {
		object.SetName(fmt.Sprintf("test-%d", serial.Add(1)))
	}
	return object
}

// merge applies a JSON merge patch (RFC 7386): null removes a field.
func merge(object, change map[string]any) {
	for name, value := range change {
		below, isMap := object[name].(map[string]any)
		changeBelow, isChange := value.(map[string]any)
		switch {
		case value == nil:
			delete(object, name)
		case isMap && isChange:
			merge(below, changeBelow)
		default:
			object[name] = value
		}
	}
}

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict([]byte(text), &object.Object); err != nil {
		t.Fatalf("parse %s: %v", text, err)
	}
	return object
}

// long is a DNS label of n characters.
func long(n int) string { return strings.Repeat("a", n) }
