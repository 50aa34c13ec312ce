// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package lazy opens a thing at its first use: the agent must start, and answer, while a database of
// the node is still on its way up.
package lazy

import (
	"context"
	"sync"
)

// Value is opened once. An attempt that ends in an error leaves it closed, and the next Get tries again.
type Value[T any] struct {
	open func(context.Context) (T, error)

	mu    sync.Mutex
	value T
	ready bool
}

// New returns a Value that open opens.
func New[T any](open func(context.Context) (T, error)) *Value[T] { return &Value[T]{open: open} }

// Get returns the value, and opens it before if it must.
func (v *Value[T]) Get(ctx context.Context) (T, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.ready {
		value, err := v.open(ctx)
		if err != nil {
			var none T
			return none, err
		}
		v.value, v.ready = value, true
	}
	return v.value, nil
}

// Peek returns the value if it is open.
func (v *Value[T]) Peek() (T, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.value, v.ready
}

// Reset forgets the value: the next Get opens anew.
func (v *Value[T]) Reset() {
	v.mu.Lock()
	defer v.mu.Unlock()
	var none T
	v.value, v.ready = none, false
}
