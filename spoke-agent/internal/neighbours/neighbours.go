// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package neighbours keeps what a node must know of the others of its cluster: where they are on the
// underlay and, on a gateway, which of them has which pod of a Vpc.
//
// It keeps only that. Of Nodes the apiserver sends the metadata; of pods, all but those that can be in no Vpc, and
// what has no annotation of ours is forgotten as it comes.
package neighbours

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/tombolo-io/tombolo/apis/informer"
	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/attachment"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
)

// Pod of a Vpc.
type Pod struct {
	// NodeName is the name of its node, and Node the node's address on the underlay; the zero Addr when the programs there do not know the pod.
	NodeName string
	Node     netip.Addr
	// Vpc as "namespace/name", and the pod's address there.
	Vpc     string
	Address netip.Addr
}

// Watch watches Nodes as long as it runs, and pods from the first question for them.
type Watch struct {
	nodes, pods *view
	wantPods    chan struct{}
	asked       sync.Once
}

// New makes a Watch of the cluster that config leads to. changed is called after each change.
func New(config *rest.Config, changed func()) (*Watch, error) {
	nodes, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make metadata client: %w", err)
	}
	pods, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return &Watch{
		nodes:    &view{source: nodeSource(nodes), kind: &metav1.PartialObjectMetadata{}, name: "nodes", keep: addressOf, changed: changed},
		pods:     &view{source: podSource(pods), kind: &corev1.Pod{}, name: "pods", keep: podOf, changed: changed},
		wantPods: make(chan struct{}),
	}, nil
}

// NeedLeaderElection is false: every node has its own.
func (w *Watch) NeedLeaderElection() bool { return false }

// Start watches until ctx ends.
func (w *Watch) Start(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { w.nodes.run(ctx) })
	running.Go(func() {
		select {
		case <-ctx.Done():
		case <-w.wantPods:
			w.pods.run(ctx)
		}
	})
	running.Wait()
	return nil
}

// Nodes are the addresses that the cluster's nodes have announced, by name; false while they are not known yet.
func (w *Watch) Nodes() (map[string]netip.Addr, bool) {
	all, known := w.nodes.list()
	nodes := map[string]netip.Addr{}
	for name, address := range all {
		nodes[name] = address.(netip.Addr)
	}
	return nodes, known
}

// Pods are those of Vpcs; false while they are not known yet. Who asks once is told of all changes.
func (w *Watch) Pods() ([]Pod, bool) {
	w.asked.Do(func() { close(w.wantPods) })
	all, known := w.pods.list()
	pods := make([]Pod, 0, len(all))
	for _, pod := range all {
		pods = append(pods, pod.(Pod))
	}
	return pods, known
}

func nodeSource(client metadata.Interface) cache.ListerWatcher {
	nodes := client.Resource(corev1.SchemeGroupVersion.WithResource("nodes"))
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return nodes.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return nodes.Watch(ctx, o)
		},
	}
}

// running leaves out pods that are on no node yet, on their node's own network, or finished.
var running = fields.AndSelectors(
	fields.OneTermNotEqualSelector("spec.nodeName", ""),
	fields.OneTermEqualSelector("spec.hostNetwork", "false"),
	fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
	fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
).String()

func podSource(client kubernetes.Interface) cache.ListerWatcher {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = running
			return client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = running
			return client.CoreV1().Pods(metav1.NamespaceAll).Watch(ctx, o)
		},
	}
}

// addressOf is a node's address on the underlay; nil when it has announced none.
func addressOf(object metav1.Object) any {
	address, err := netip.ParseAddr(object.GetAnnotations()[local.AnnotationNodeEndpoint])
	if err != nil || !address.Is4() {
		return nil
	}
	return address
}

// podOf is what a pod's annotations say; nil when it has none of its own.
func podOf(object metav1.Object) any {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return nil
	}
	a, err := attachment.Parse(pod.Annotations[networkv1alpha1.AnnotationNetwork])
	if err != nil || a.Port != naming.PodPort(pod.UID) || !a.Address.Addr().Is4() {
		return nil
	}
	node, _ := netip.ParseAddr(pod.Annotations[local.AnnotationDirectPath]) // the zero Addr is none
	return Pod{NodeName: pod.Spec.NodeName, Node: node, Vpc: a.Vpc, Address: a.Address.Addr()}
}

// view is what is kept of the objects of one kind: a store for a reflector.
type view struct {
	source cache.ListerWatcher
	kind   any
	name   string
	// keep is what is kept of an object, a comparable value; nil for nothing.
	keep    func(metav1.Object) any
	changed func()

	mu    sync.Mutex
	known bool
	kept  map[string]any
}

func (v *view) run(ctx context.Context) {
	reflector := cache.NewReflectorWithOptions(v.source, v.kind, v, cache.ReflectorOptions{Name: "neighbours/" + v.name, Backoff: informer.Backoff()})
	reflector.RunWithContext(ctx)
}

func (v *view) list() (map[string]any, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.kept), v.known
}

// Add implements cache.ReflectorStore.
func (v *view) Add(object any) error { return v.Update(object) }

// Update implements cache.ReflectorStore.
func (v *view) Update(object any) error {
	key, value, err := v.read(object)
	if err != nil {
		return err
	}
	v.set(func() bool {
		before, had := v.kept[key]
		if value == nil {
			delete(v.kept, key)
			return had
		}
		v.kept[key] = value
		return before != value
	})
	return nil
}

// Delete implements cache.ReflectorStore.
func (v *view) Delete(object any) error {
	key, _, err := v.read(object)
	if err != nil {
		return err
	}
	v.set(func() bool {
		_, had := v.kept[key]
		delete(v.kept, key)
		return had
	})
	return nil
}

// Replace implements cache.ReflectorStore.
func (v *view) Replace(objects []any, _ string) error {
	kept := map[string]any{}
	for _, object := range objects {
		key, value, err := v.read(object)
		if err != nil {
			return err
		}
		if value != nil {
			kept[key] = value
		}
	}
	v.set(func() bool {
		same := v.known && maps.Equal(v.kept, kept)
		v.kept, v.known = kept, true
		return !same
	})
	return nil
}

// Resync implements cache.ReflectorStore.
func (v *view) Resync() error { return nil }

func (v *view) read(object any) (key string, value any, err error) {
	o, ok := object.(metav1.Object)
	if !ok {
		return "", nil, fmt.Errorf("watch %s: got %T", v.name, object)
	}
	key = o.GetName()
	if o.GetNamespace() != "" {
		key = o.GetNamespace() + "/" + key
	}
	return key, v.keep(o), nil
}

// set changes what is kept, and tells of it.
func (v *view) set(change func() (changed bool)) {
	v.mu.Lock()
	if v.kept == nil {
		v.kept = map[string]any{}
	}
	changed := change()
	v.mu.Unlock()
	if changed {
		v.changed()
	}
}
