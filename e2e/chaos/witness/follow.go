// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/e2e/chaos/world"
)

// again is how soon to look again at a server that is away.
const again = 50 * time.Millisecond

// follower sees every change of one kind in one server.
type follower struct {
	server *world.Server
	list   func() client.ObjectList
	// namespace to look at; empty: all.
	namespace string
	// saw is told of every object that is there, and of each that goes. lost is true when it went unseen: the server
	// came back without it.
	saw func(object client.Object, gone, lost bool)

	known   map[string]client.Object
	version string
}

// run follows until ctx ends. ready is called when everything has been seen once.
func (f *follower) run(ctx context.Context, ready func()) {
	f.known = map[string]client.Object{}
	for ctx.Err() == nil {
		if f.version == "" {
			if err := f.relist(ctx); err != nil {
				pause(ctx)
				continue
			}
			ready()
			ready = func() {}
		}
		f.watch(ctx)
	}
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(again):
	}
}

func (f *follower) relist(ctx context.Context) error {
	list := f.list()
	if err := f.server.Admin.List(ctx, list, client.InNamespace(f.namespace)); err != nil {
		return fmt.Errorf("list %T: %w", list, err)
	}
	there := map[string]bool{}
	items, err := meta.ExtractList(list)
	if err != nil {
		return err
	}
	for _, item := range items {
		object := item.(client.Object)
		there[keyOf(object)] = true
		f.known[keyOf(object)] = object
		f.saw(object, false, false)
	}
	for key, object := range f.known {
		if !there[key] {
			delete(f.known, key)
			f.saw(object, true, true)
		}
	}
	f.version = list.GetResourceVersion()
	return nil
}

// watch goes on from the version that was seen last.
func (f *follower) watch(ctx context.Context) {
	events, err := f.server.Admin.Watch(ctx, f.list(), &client.ListOptions{Namespace: f.namespace, Raw: &metav1.ListOptions{ResourceVersion: f.version, AllowWatchBookmarks: true}})
	if err != nil {
		f.version = ""
		pause(ctx)
		return
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		if event.Type == watch.Error {
			f.version = ""
			return
		}
		object, ok := event.Object.(client.Object)
		if !ok {
			continue
		}
		f.version = object.GetResourceVersion()
		switch event.Type {
		case watch.Added, watch.Modified:
			f.known[keyOf(object)] = object
			f.saw(object, false, false)
		case watch.Deleted:
			delete(f.known, keyOf(object))
			f.saw(object, true, false)
		}
	}
	// A server that was restored may count from an older version: what was seen last means nothing there.
	f.version = ""
}

func keyOf(object client.Object) string { return object.GetNamespace() + "/" + object.GetName() }
