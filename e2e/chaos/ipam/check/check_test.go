// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"fmt"
	"testing"

	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/check"
	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/record"
)

// line of a test: at what time, what, who, and of what value.
func line(at int64, what, owner string, values ...string) record.Line {
	return record.Line{Time: at, What: what, Owner: owner, Values: values}
}

// TestHistories: what may happen passes, and what may not is found.
func TestHistories(t *testing.T) {
	const wide, half = "p|10.0.0.0/24", "p|10.0.0.128/25"
	for name, test := range map[string]struct {
		reason           string
		lines            []record.Line
		overlaps, linear int
	}{
		"OneAfterTheOther": {
			reason: "given back before it is given again",
			lines: []record.Line{
				line(1, record.Allocate, "a", "p"), line(2, record.Allocated, "a", wide), line(3, record.Release, "a"), line(4, record.Released, "a"),
				line(5, record.Allocate, "b", "p"), line(6, record.Allocated, "b", half),
			},
		},
		"AnswerLate": {
			reason: "a was free already when b was told, and a learned it later",
			lines: []record.Line{
				line(1, record.Allocate, "a", "p"), line(2, record.Allocated, "a", wide), line(3, record.Release, "a"),
				line(4, record.Allocate, "b", "p"), line(5, record.Allocated, "b", half), line(6, record.Released, "a"),
			},
		},
		"ReleaseUnknown": {
			reason: "a release without an answer may have been done",
			lines: []record.Line{
				line(1, record.Allocate, "a", "p"), line(2, record.Allocated, "a", wide), line(3, record.Release, "a"),
				line(4, record.Allocate, "b", "p"), line(5, record.Allocated, "b", wide),
			},
		},
		"Twice": {
			reason: "both have it",
			lines: []record.Line{
				line(1, record.Allocate, "a", "p"), line(2, record.Allocated, "a", wide),
				line(3, record.Allocate, "b", "p"), line(4, record.Allocated, "b", half), line(5, record.Release, "a"), line(6, record.Release, "b"),
			},
			overlaps: 1, linear: 1,
		},
		"OtherPool": {
			reason: "pools are apart",
			lines: []record.Line{
				line(1, record.Allocate, "a", "p"), line(2, record.Allocated, "a", "p|7"), line(3, record.Allocate, "b", "q"), line(4, record.Allocated, "b", "q|7"),
			},
		},
		"CopyIsLeft": {
			reason: "a cluster has a's while b gets it: quarantine ended too soon",
			lines: []record.Line{
				line(1, record.Allocate, "a", "p"), line(2, record.Allocated, "a", wide), line(3, record.Copied, "a"), line(4, record.Release, "a"), line(5, record.Released, "a"),
				line(6, record.Allocate, "b", "p"), line(7, record.Allocated, "b", wide), line(8, record.Dropped, "a"),
			},
			overlaps: 1, linear: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			lives := check.Lives(test.lines)
			if got := check.Overlaps(lives); len(got) != test.overlaps {
				t.Errorf("%s: overlaps %q", test.reason, got)
			}
			if got := check.NotLinearizable(t.Context(), lives); len(got) != test.linear {
				t.Errorf("%s: not linearizable %q", test.reason, got)
			}
		})
	}
}

// TestPieces: a fault far behind the first piece is found, and none where there is none.
func TestPieces(t *testing.T) {
	for _, faulty := range []int{0, 1} {
		var lines []record.Line
		at := int64(0)
		for i := range 2000 {
			owner := fmt.Sprint("o", i)
			lines = append(lines, line(at+1, record.Allocate, owner, "p"), line(at+2, record.Allocated, owner, "p|10.0.0.0/30"))
			if faulty == 0 || i != 1500 {
				lines = append(lines, line(at+3, record.Release, owner), line(at+4, record.Released, owner))
			}
			at += 5
		}
		if got := check.NotLinearizable(t.Context(), check.Lives(lines)); len(got) != faulty {
			t.Errorf("%d faults: %q", faulty, got)
		}
	}
}
