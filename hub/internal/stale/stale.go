// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package stale tells a write that failed from one that was decided from an outdated snapshot: the latter is no
// failure, its cure is another look.
package stale

import (
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// How soon to look again after a write that was decided from an outdated snapshot.
const (
	// RetrySoon is for what others wait for: about the time that a watch needs.
	RetrySoon = 20 * time.Millisecond
	// Retry is for everything else.
	Retry = 100 * time.Millisecond
)

// Error says that the hub has moved on since the snapshot that a write was decided from.
type Error struct{ Err error }

// Error implements error.
func (e *Error) Error() string { return "snapshot is behind the hub: " + e.Err.Error() }

// Unwrap gives the API server's answer.
func (e *Error) Unwrap() error { return e.Err }

// Wrap turns the API server's refusals of an outdated write into an Error, and leaves every other error as it is.
func Wrap(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		return &Error{err}
	}
	return err
}

// Only is true when nothing is wrong with err but that the snapshot was outdated.
func Only(err error) bool {
	switch e := err.(type) { //nolint:errorlint // the tree of wrapped errors is walked here, one node at a time
	case *Error:
		return true
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if !Only(err) {
				return false
			}
		}
		return true
	case interface{ Unwrap() error }:
		return Only(e.Unwrap())
	}
	return false
}
