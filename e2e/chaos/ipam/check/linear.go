// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	// segment is how long a history may become before it is cut where nothing is going on.
	segment = 256
	// patience with one segment.
	patience = time.Minute
)

// operation is what the model steps through: one owner takes a value, or lets it go.
type operation struct {
	release bool
	owner   string
	prefix  netip.Prefix
}

// model is one allocator that does one thing after the other. Its state is who has what, as text in order of address: "PREFIX OWNER;". To allocate is
// right when nobody has anything that overlaps; to release when the owner has it.
var model = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		has, op := state.(string), input.(operation)
		line := op.prefix.String() + " " + op.owner + ";"
		if op.release {
			if !strings.Contains(has, line) {
				return false, has
			}
			return true, strings.Replace(has, line, "", 1)
		}
		lines := []string{line}
		for other := range strings.SplitAfterSeq(has, ";") {
			if other == "" {
				continue
			}
			text, _, _ := strings.Cut(other, " ")
			if netip.MustParsePrefix(text).Overlaps(op.prefix) {
				return false, has
			}
			lines = append(lines, other)
		}
		slices.Sort(lines)
		return true, strings.Join(lines, "")
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}

// NotLinearizable lists the parts of a history that no single allocator can have done. A part is a block of a pool: the shortest prefix that the pool has
// handed out, which no other prefix of it crosses, so that the history is linearizable exactly when all parts are.
//
// A cluster's copy belongs to the allocation: a release takes effect after the last cluster has let go. An operation without an answer
// may take effect at any time until the end, or not at all.
func NotLinearizable(ctx context.Context, lives []*Life) []string {
	var found []string
	pools := byPool(lives)
	for _, pool := range slices.Sorted(maps.Keys(pools)) {
		blocks := map[netip.Prefix][]porcupine.Operation{}
		shortest := 32
		for _, h := range pools[pool] {
			shortest = min(shortest, h.prefix.Bits())
		}
		for _, h := range pools[pool] {
			block := netip.PrefixFrom(h.prefix.Addr(), shortest).Masked()
			blocks[block] = append(blocks[block], operations(h)...)
		}
		for block, history := range blocks {
			if ctx.Err() != nil {
				return append(found, "not all was checked: "+ctx.Err().Error())
			}
			if problem := checkBlock(history); problem != "" {
				found = append(found, fmt.Sprintf("pool %s, %s: %s", pool, block, problem))
			}
		}
	}
	slices.Sort(found)
	return found
}

func operations(h held) []porcupine.Operation {
	l := h.life
	ops := []porcupine.Operation{{Input: operation{owner: l.Owner, prefix: h.prefix}, Call: l.Asked, Return: l.from()}}
	if until := l.until(); until != Forever {
		ops = append(ops, porcupine.Operation{Input: operation{release: true, owner: l.Owner, prefix: h.prefix}, Call: until, Return: max(until, l.Freed)})
	}
	return ops
}

// checkBlock checks a history in pieces. Between two pieces nothing was going on, so who had what is certain there.
func checkBlock(history []porcupine.Operation) string {
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var has, piece []porcupine.Operation
	last := int64(0)
	for i, op := range history {
		if len(piece) >= segment && op.Call > last {
			if problem := checkPiece(has, piece); problem != "" {
				return problem
			}
			has, piece = left(has, piece), nil
		}
		last = max(last, op.Return)
		piece = append(piece, history[i])
	}
	return checkPiece(has, piece)
}

func checkPiece(has, piece []porcupine.Operation) string {
	switch porcupine.CheckOperationsTimeout(model, slices.Concat(has, piece), patience) {
	case porcupine.Illegal:
		return fmt.Sprintf("%d operations from %d on can't have been done one after the other", len(piece), piece[0].Call)
	case porcupine.Unknown:
		return fmt.Sprintf("%d operations were not checked within %s", len(piece), patience)
	}
	return ""
}

// left is who has what after a piece, as operations that were done before the next one.
func left(has, piece []porcupine.Operation) []porcupine.Operation {
	left := map[operation]bool{}
	for _, op := range slices.Concat(has, piece) {
		o := op.Input.(operation)
		if !o.release {
			left[o] = true
		}
	}
	for _, op := range piece {
		if o := op.Input.(operation); o.release {
			o.release = false
			delete(left, o)
		}
	}
	var after []porcupine.Operation
	for o := range left {
		after = append(after, porcupine.Operation{Input: o, Call: -2, Return: -1})
	}
	return after
}
