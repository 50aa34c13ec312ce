// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package informer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

func TestBackoff(t *testing.T) {
	delay := Backoff().DelayFunc()
	for i := range 100 {
		if d := delay(); d > 6*time.Second {
			t.Fatalf("wait %d takes %s: a server that is back would not be seen for longer than promised", i, d)
		}
	}
}

// server is a list and a watch that break when they are told to.
type server struct {
	mu      sync.Mutex
	objects []corev1.ConfigMap
	version int
	failing int // that many requests fail
	watch   *watch.FakeWatcher
}

func (s *server) fails() error {
	if s.failing > 0 {
		s.failing--
		return apierrors.NewServiceUnavailable("away")
	}
	return nil
}

func (s *server) List(metav1.ListOptions) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fails(); err != nil {
		return nil, err
	}
	return &corev1.ConfigMapList{ListMeta: metav1.ListMeta{ResourceVersion: fmt.Sprint(s.version)}, Items: slices.Clone(s.objects)}, nil
}

func (s *server) Watch(o metav1.ListOptions) (watch.Interface, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fails(); err != nil {
		return nil, err
	}
	if o.ResourceVersion != fmt.Sprint(s.version) {
		return nil, apierrors.NewResourceExpired("too old")
	}
	s.watch = watch.NewFake()
	return s.watch, nil
}

// IsWatchListSemanticsUnSupported makes it list first.
func (s *server) IsWatchListSemanticsUnSupported() bool { return true }

// away is an outage in which the objects become others.
func (s *server) away(failing int, now ...corev1.ConfigMap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version += 10
	s.objects, s.failing = now, failing
	s.watch.Stop()
	s.watch = nil
}

// watching is the watch, when there is one.
func (s *server) watching(t *testing.T) (w *watch.FakeWatcher) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		w = s.watch
		return w != nil, nil
	})
	if err != nil {
		t.Fatal("nobody watches")
	}
	return w
}

func configMap(name, uid string, version int) corev1.ConfigMap {
	return corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, UID: types.UID(uid), ResourceVersion: fmt.Sprint(version), ManagedFields: []metav1.ManagedFieldsEntry{{}}}}
}

// told notes what an informer's handlers hear.
type told struct {
	mu   sync.Mutex
	news []string
}

func (n *told) note(what string, o any) {
	c := o.(*corev1.ConfigMap)
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(c.ManagedFields) > 0 {
		what += " as it came:"
	}
	n.news = append(n.news, fmt.Sprintf("%s %s %s %s", what, c.Name, c.UID, c.ResourceVersion))
}

// take waits for that many, and gives them in order of the alphabet: a list has none.
func (n *told) take(t *testing.T, many int) string {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		return len(n.news) >= many, nil
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	news := slices.Sorted(slices.Values(n.news))
	n.news = nil
	if err != nil {
		t.Fatalf("waited for %d changes, heard of %q", many, news)
	}
	return strings.Join(news, "\n")
}

// TestOrder: after an outage, who has heard of a version has heard of all before it, and of nothing twice.
func TestOrder(t *testing.T) {
	done := make(chan struct{})
	f := &feed{example: &corev1.ConfigMap{}, events: make(chan watch.Event, 100), done: done, ready: make(chan struct{})}
	list := func(objects ...corev1.ConfigMap) {
		t.Helper()
		var all []any
		for i := range objects {
			all = append(all, &objects[i])
		}
		if err := f.Replace(all, "200"); err != nil {
			t.Fatal(err)
		}
	}
	list(configMap("same", "1", 1), configMap("d", "2", 2), configMap("gone", "3", 3))
	list(configMap("same", "1", 1), configMap("a", "5", 103), configMap("b", "6", 99), configMap("c", "7", 101), configMap("d", "2", 100))
	close(f.events)
	var got []string
	for e := range f.events {
		o := e.Object.(*corev1.ConfigMap)
		got = append(got, strings.TrimSpace(fmt.Sprint(e.Type, " ", o.Name, " ", o.ResourceVersion)))
	}
	want := []string{"DELETED gone 3", "ADDED b 99", "MODIFIED d 100", "ADDED c 101", "ADDED a 103", "BOOKMARK  200"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestOutages: whatever happens while a server is away is told when it is back, soon and once.
func TestOutages(t *testing.T) {
	s := &server{version: 1, failing: 15, objects: []corev1.ConfigMap{configMap("kept", "1", 1), configMap("gone", "2", 1), configMap("another", "3", 1)}}
	quick := &wait.Backoff{Duration: time.Millisecond, Factor: 1}
	i := newWith(quick, s, &corev1.ConfigMap{}, 0, cache.Indexers{})
	if err := i.SetTransform(func(o any) (any, error) { o.(metav1.Object).SetManagedFields(nil); return o, nil }); err != nil {
		t.Fatal(err)
	}
	var refused atomic.Int32
	if err := i.SetWatchErrorHandler(func(*cache.Reflector, error) { refused.Add(1) }); err != nil {
		t.Fatal(err)
	}
	heard := &told{}
	if _, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { heard.note("add", o) },
		UpdateFunc: func(_, o any) { heard.note("update", o) },
		DeleteFunc: func(o any) { heard.note("delete", o) },
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { i.RunWithContext(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	check := func(reason string, many int, want string) {
		t.Helper()
		if diff := cmp.Diff(want, heard.take(t, many)); diff != "" {
			t.Fatalf("%s: -want, +got:\n%s", reason, diff)
		}
	}
	check("the first list, after 15 refusals: client-go's own would take minutes", 3, "add another 3 1\nadd gone 2 1\nadd kept 1 1")

	if n := refused.Load(); n != 15 {
		t.Errorf("the handler heard of %d of 15 refusals", n)
	}

	s.watching(t)
	s.away(15, configMap("kept", "1", 5), configMap("another", "4", 6), configMap("new", "5", 7))
	check("a changed one, one that has gone, one of the same name, a new one", 5,
		"add another 4 6\nadd new 5 7\ndelete another 3 1\ndelete gone 2 1\nupdate kept 1 5")

	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		return i.LastSyncResourceVersion() == "11", nil
	})
	if err != nil {
		t.Errorf("the version of the second list is not the informer's: %q", i.LastSyncResourceVersion())
	}
	changed := configMap("kept", "1", 12)
	s.watching(t).Modify(&changed)
	check("a change that is watched", 1, "update kept 1 12")
	s.watching(t).Delete(&changed)
	check("a deletion that is watched", 1, "delete kept 1 12")
	if keys := slices.Sorted(slices.Values(i.GetStore().ListKeys())); !slices.Equal(keys, []string{"n/another", "n/new"}) {
		t.Errorf("the store has %q", keys)
	}
}
