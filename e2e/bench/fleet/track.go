// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

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
