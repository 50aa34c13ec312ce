// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package local_test

import (
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

func TestWrites(t *testing.T) {
	router := func(uid types.UID, version string) spokev1alpha1.LocalRouter {
		return spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{UID: uid, ResourceVersion: version}}
	}
	for name, test := range map[string]struct {
		reason string
		after  time.Duration
		shown  []spokev1alpha1.LocalRouter
		want   bool
	}{
		"Nothing":  {"a cache that shows no object is behind nothing", 0, nil, false},
		"Other":    {"what this process has not written is as new as it is", 0, []spokev1alpha1.LocalRouter{router("b", "5")}, false},
		"Older":    {"the cache has not shown the write yet", 0, []spokev1alpha1.LocalRouter{router("b", "5"), router("a", "99")}, true},
		"Same":     {"the cache shows the write", 0, []spokev1alpha1.LocalRouter{router("a", "100")}, false},
		"Newer":    {"somebody else has written since", 0, []spokev1alpha1.LocalRouter{router("a", "101")}, false},
		"Restored": {"an API server that was restored from a backup has forgotten the write", 11 * time.Second, []spokev1alpha1.LocalRouter{router("a", "99")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var writes local.Writes
				written := router("a", "100")
				writes.Wrote(&written)
				time.Sleep(test.after)
				if got := local.Unseen(&writes, test.shown); got != test.want {
					t.Errorf("%s: unseen is %v", test.reason, got)
				}
			})
		})
	}
}
