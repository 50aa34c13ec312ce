// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package settled_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/settled"
)

func TestSettled(t *testing.T) {
	const key federation.Key = "shop/front"
	object := func(version string) *networkv1alpha1.Vpc {
		return &networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{ResourceVersion: version}}
	}
	for name, test := range map[string]struct {
		reason string
		do     func(*settled.Kinds)
		want   bool
	}{
		"Unknown":   {"nothing is settled that was not compared", func(*settled.Kinds) {}, false},
		"NoVersion": {"not even an object without a version", func(k *settled.Kinds) { k.Vpcs.Add("other", object("")) }, false},
		"Same":      {"what was compared needs no second look", func(k *settled.Kinds) { k.Vpcs.Add(key, object("7")) }, true},
		"Written":   {"somebody has written the object since", func(k *settled.Kinds) { k.Vpcs.Add(key, object("6")) }, false},
		"Decided": {"the decision is another one now", func(k *settled.Kinds) {
			k.Vpcs.Add(key, object("7"))
			k.Unsettle(federation.Changes{Vpcs: []federation.Key{key}})
		}, false},
		"OtherKind": {"a Subnet of that name is something else", func(k *settled.Kinds) {
			k.Vpcs.Add(key, object("7"))
			k.Unsettle(federation.Changes{Subnets: []federation.Key{key}})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var kinds settled.Kinds
			test.do(&kinds)
			if got := kinds.Vpcs.Has(key, object("7")); got != test.want {
				t.Errorf("Has = %v, want %v: %s", got, test.want, test.reason)
			}
		})
	}
}
