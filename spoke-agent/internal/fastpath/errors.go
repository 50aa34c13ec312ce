// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import "errors"

// Kinds of what keeps Open and Set from their work, for errors.Is. The error itself says more, and names the cure; whatever was
// attached before goes on as it was.
var (
	// ErrKernelTooOld: the kernel has no tcx.
	ErrKernelTooOld = errors.New("the kernel is too old")
	// ErrMissingCapability: the process lacks one of CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.
	ErrMissingCapability = errors.New("a capability is missing")
	// ErrNoBPFFS: the pin path is in no bpf file system.
	ErrNoBPFFS = errors.New("there is no bpf file system")
	// ErrForeignPins: below the pin path is what this build did not make and can't take over.
	ErrForeignPins = errors.New("pins are another build's, or somebody else's")
	// ErrForeignProgram: the hook takes one program only, and has somebody else's.
	ErrForeignProgram = errors.New("the hook has somebody else's program")
)

// kind is an error that errors.Is also takes for one of the above. Its text is the error's own.
type kind struct {
	error
	of error
}

// Unwrap implements errors.Is.
func (k kind) Unwrap() []error { return []error{k.error, k.of} }
