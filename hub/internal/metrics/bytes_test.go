// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import "testing"

func TestResource(t *testing.T) {
	for path, want := range map[string]string{
		"/api/v1/namespaces":                                                               "namespaces",
		"/api/v1/namespaces/east":                                                          "namespaces",
		"/api/v1/namespaces/east/serviceaccounts":                                          "serviceaccounts",
		"/apis/network.tombolo.io/v1alpha1/ippools/vnis/status":                            "ippools",
		"/apis/spoke.tombolo.io/v1alpha1/namespaces/east/localrouters/shop.front":          "localrouters",
		"/apis/spoke.tombolo.io/v1alpha1/namespaces/east/interconnectgateways/east/status": "interconnectgateways",
		"/version": "none",
		"/":        "none",
	} {
		if got := resource(path); got != want {
			t.Errorf("resource(%q) = %q, want %q", path, got, want)
		}
	}
}
