// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPatiently(t *testing.T) {
	other := errors.New("other")
	for name, tc := range map[string]struct {
		reason string
		errs   []error // the last one again and again
		want   error
		calls  int
	}{
		"Fine":    {"nothing to wait for", []error{nil}, nil, 1},
		"Short":   {"the kernel has made more", []error{fmt.Errorf("update: %w", unix.ENOMEM), unix.ENOMEM, nil}, nil, 3},
		"Other":   {"waiting does not help", []error{other}, other, 1},
		"Without": {"there is no more: not for ever", []error{unix.ENOMEM}, unix.ENOMEM, 9},
	} {
		calls := 0
		err := patiently(func() error {
			calls++
			return tc.errs[min(calls, len(tc.errs))-1]
		})
		if !errors.Is(err, tc.want) || calls != tc.calls {
			t.Errorf("%s: %s: %v after %d calls, want %v after %d", name, tc.reason, err, calls, tc.want, tc.calls)
		}
	}
}
