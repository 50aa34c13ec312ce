// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// tracker tells when the last agent concerned has what is expected.
type tracker struct {
	mu       sync.Mutex
	expected map[string][]*expectation
}

// expectation is what certain routers should become.
type expectation struct {
	left  map[string]bool
	check func(cluster string, router *spokev1alpha1.LocalRouter) bool
	done  chan time.Time
}

func routerKey(cluster, vpc string) string { return cluster + "/" + vpc }

// expect tells when each of the routers has met the check at least once.
func (t *tracker) expect(keys []string, check func(string, *spokev1alpha1.LocalRouter) bool) *expectation {
	e := &expectation{left: map[string]bool{}, check: check, done: make(chan time.Time, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		e.left[key] = true
		t.expected[key] = append(t.expected[key], e)
	}
	return e
}

// saw is told of every router that comes to an agent.
func (t *tracker) saw(cluster string, router *spokev1alpha1.LocalRouter) {
	key := routerKey(cluster, router.Spec.Vpc.Name)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expected[key] = slices.DeleteFunc(t.expected[key], func(e *expectation) bool {
		if !e.check(cluster, router) {
			return false
		}
		delete(e.left, key)
		if len(e.left) == 0 {
			e.done <- time.Now()
		}
		return true
	})
}

func (t *tracker) await(ctx context.Context, e *expectation, within time.Duration) (time.Time, error) {
	begin, ticker := time.Now(), time.NewTicker(10*time.Second)
	defer ticker.Stop()
	for {
		select {
		case at := <-e.done:
			return at, nil
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case <-ticker.C:
		}
		t.mu.Lock()
		left := len(e.left)
		example := ""
		for key := range e.left {
			example = key
			break
		}
		t.mu.Unlock()
		if left > 100 { // one of many changes is not worth a line
			progress("%d routers are awaited, %s among them", left, example)
		}
		if time.Since(begin) > within {
			return time.Time{}, fmt.Errorf("%d routers are not as expected after %v, %s among them", left, within, example)
		}
	}
}

// observer counts what the hub writes, by watching all of its kinds.
type observer struct {
	mu          sync.Mutex
	generations map[string]int64
	kinds       map[string]int
	bytes       int
	last        time.Time
}

// written is what the hub has written since a moment.
type written struct {
	kinds map[string]int
	bytes int
}

func (w written) objects() int {
	n := 0
	for _, count := range w.kinds {
		n += count
	}
	return n
}

// kindsOf says which resources are watched, and whether the hub writes their spec; of the others it writes all but the spec.
var kindsOf = map[string]bool{
	"spoke.tombolo.io/v1alpha1/localrouters": true, "spoke.tombolo.io/v1alpha1/interconnectgateways": true,
	"network.tombolo.io/v1alpha1/vpcs": false, "network.tombolo.io/v1alpha1/subnets": false,
	"network.tombolo.io/v1alpha1/vpcpeerings": false, "network.tombolo.io/v1alpha1/ippools": false,
}

func (o *observer) run(ctx context.Context, s *servers) {
	o.generations, o.kinds, o.last = map[string]int64{}, map[string]int{}, time.Now()
	for resource, spec := range kindsOf {
		c, err := rest.HTTPClientFor(s.config)
		if err != nil {
			progress("observe %s: %v", resource, err)
			continue
		}
		w := &agent{cluster: "observer", client: c, server: s.config.Host, watches: 1}
		go w.watch(ctx, "/apis/"+resource, func(kind string, object json.RawMessage) error { return o.observe(resource, spec, kind, object) })
	}
}

func (o *observer) observe(resource string, spec bool, kind string, object json.RawMessage) error {
	var meta metav1.PartialObjectMetadata
	if err := json.Unmarshal(object, &meta); err != nil {
		return err
	}
	key := resource + "/" + meta.Namespace + "/" + meta.Name
	o.mu.Lock()
	defer o.mu.Unlock()
	old, known := o.generations[key]
	o.generations[key] = meta.Generation
	changed := !known || old != meta.Generation || kind == "DELETED"
	if changed != spec {
		return nil
	}
	o.kinds[resource[strings.LastIndexByte(resource, '/')+1:]]++
	o.bytes += len(object)
	o.last = time.Now()
	return nil
}

// since gives what was written since the last call.
func (o *observer) since() written {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := written{o.kinds, o.bytes}
	o.kinds, o.bytes = map[string]int{}, 0
	return w
}

// quiet waits until the hub has written nothing for a while.
func (o *observer) quiet(ctx context.Context) error {
	return retry(ctx, setupTimeout, func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if time.Since(o.last) < 3*time.Second {
			return fmt.Errorf("the hub still writes")
		}
		return nil
	})
}
