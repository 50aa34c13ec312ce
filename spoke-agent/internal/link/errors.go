// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import "errors"

// Kinds of what keeps the kernel's slow path and the tunnel from being there, for errors.Is. The error itself says more, and
// names the cure.
var (
	// ErrPortOccupied: something else on the node has the UDP port.
	ErrPortOccupied = errors.New("the UDP port is occupied")
	// ErrReversePathFilter: net.ipv4.conf.all.rp_filter is on.
	ErrReversePathFilter = errors.New("the reverse path filter is on")
	// ErrKernelLacks: the kernel was built without what is needed.
	ErrKernelLacks = errors.New("the kernel lacks something")
)

// Kind is err, with the same text, for which errors.Is(…, kind) is true too.
func Kind(err, kind error) error { return ofKind{err, kind} }

type ofKind struct {
	error
	kind error
}

// Unwrap implements errors.Is.
func (k ofKind) Unwrap() []error { return []error{k.error, k.kind} }
