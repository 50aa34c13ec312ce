// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package informer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// feed is the store of a Reflector that tells what changes in it. It holds no object twice: the informer's are the same.
type feed struct {
	example   runtime.Object
	transform cache.TransformFunc
	done      <-chan struct{}
	// ready is closed when everything has been seen once; events come after that.
	ready  chan struct{}
	events chan watch.Event

	mu      sync.Mutex
	known   map[string]runtime.Object
	version string
}

// IsWatchListSemanticsUnSupported keeps the informer from asking the feed for a stream that begins with a list.
func (f *feed) IsWatchListSemanticsUnSupported() bool { return true }

// list waits for the first one.
func (f *feed) list(ctx context.Context) (runtime.Object, error) {
	select {
	case <-f.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	list := &metav1.List{ListMeta: metav1.ListMeta{ResourceVersion: f.version}}
	for _, object := range f.known {
		list.Items = append(list.Items, runtime.RawExtension{Object: object})
	}
	return list, nil
}

// Transformer implements cache.TransformingStore: lists are made small before they are complete.
func (f *feed) Transformer() cache.TransformFunc { return f.transform }

// Add implements cache.ReflectorStore.
func (f *feed) Add(object any) error { return f.put(watch.Added, object) }

// Update implements cache.ReflectorStore.
func (f *feed) Update(object any) error { return f.put(watch.Modified, object) }

// Delete implements cache.ReflectorStore.
func (f *feed) Delete(object any) error { return f.put(watch.Deleted, object) }

func (f *feed) put(kind watch.EventType, o any) error {
	key, object, err := f.read(o)
	if err != nil {
		return err
	}
	f.mu.Lock()
	if kind == watch.Deleted {
		delete(f.known, key)
	} else {
		f.known[key] = object
	}
	f.mu.Unlock()
	f.send(kind, object)
	return nil
}

// Replace implements cache.ReflectorStore: what is not in the list has gone, and so has what another one has the name of.
func (f *feed) Replace(objects []any, version string) error {
	now := make(map[string]runtime.Object, len(objects))
	for _, o := range objects {
		key, object, err := f.read(o)
		if err != nil {
			return err
		}
		now[key] = object
	}
	f.mu.Lock()
	before := f.known
	f.known, f.version = now, version
	f.mu.Unlock()
	if before == nil {
		close(f.ready)
		return nil
	}
	for key, object := range before {
		if uid(object) != uid(now[key]) {
			f.send(watch.Deleted, object)
		}
	}
	// In order of version: who has heard of a version may read all that is not newer, as in a watch.
	for _, key := range slices.SortedFunc(maps.Keys(now), func(a, b string) int { return compareVersions(now[a], now[b]) }) {
		object := now[key]
		switch {
		case uid(object) != uid(before[key]):
			f.send(watch.Added, object)
		case versionOf(object) != versionOf(before[key]):
			f.send(watch.Modified, object)
		}
	}
	return f.Bookmark(version)
}

func versionOf(object runtime.Object) string {
	o, err := meta.Accessor(object)
	if err != nil {
		return ""
	}
	return o.GetResourceVersion()
}

// compareVersions compares by resourceVersion; what has none that can be compared comes last, with what follows the whole list.
func compareVersions(a, b runtime.Object) int {
	order, err := resourceversion.CompareResourceVersion(versionOf(a), versionOf(b))
	if err != nil {
		return 0
	}
	return order
}

// Bookmark implements cache.ReflectorBookmarkStore.
func (f *feed) Bookmark(version string) error {
	mark := f.example.DeepCopyObject()
	o, err := meta.Accessor(mark)
	if err != nil {
		return err
	}
	o.SetResourceVersion(version)
	f.send(watch.Bookmark, mark)
	return nil
}

// Resync implements cache.ReflectorStore. Informers resync by themselves.
func (f *feed) Resync() error { return nil }

func (f *feed) send(kind watch.EventType, object runtime.Object) {
	select {
	case f.events <- watch.Event{Type: kind, Object: object}:
	case <-f.done:
	}
}

func (f *feed) read(o any) (string, runtime.Object, error) {
	if f.transform != nil {
		var err error
		if o, err = f.transform(o); err != nil {
			return "", nil, fmt.Errorf("transform: %w", err)
		}
	}
	key, err := cache.MetaNamespaceKeyFunc(o)
	if err != nil {
		return "", nil, err
	}
	object, ok := o.(runtime.Object)
	if !ok {
		return "", nil, fmt.Errorf("transform %s: %T is no object", key, o)
	}
	return key, object, nil
}

// uid tells an object from another one of its name; that of nothing is none that an API server gives.
func uid(object runtime.Object) types.UID {
	if object == nil {
		return "nothing"
	}
	o, err := meta.Accessor(object)
	if err != nil {
		return ""
	}
	return o.GetUID()
}
