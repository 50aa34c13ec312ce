// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package parallel runs independent writes side by side: one that fails does not keep another from being done.
package parallel

import (
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Limit is how many writes are under way at once: most of a write's time is the API server's wait for its disk.
const Limit = 32

// Do calls act for every item, at most Limit at once, and returns all errors joined.
func Do[T any](items []T, act func(T) error) error {
	if len(items) == 0 {
		return nil
	}
	var (
		mu   sync.Mutex
		errs []error
	)
	var group errgroup.Group
	group.SetLimit(Limit)
	for _, item := range items {
		group.Go(func() error {
			if err := act(item); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
			return nil
		})
	}
	_ = group.Wait() // never an error: act's are collected above
	return errors.Join(errs...)
}
