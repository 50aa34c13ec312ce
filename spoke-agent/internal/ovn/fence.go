// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/nbdb"
)

// Of several writers only the newest may write. A lease can't see to that: who was stopped while he held it, writes when he wakes what was right when he
// fell asleep. So the first that a writer does is to write his name and a higher number into the database itself (NB_Global, external_ids), and every
// transaction of his waits, for no time, that it is still there: the server commits both or none.

// keyWriter of NB_Global's external_ids is the newest writer: a number, and who it is.
const keyWriter = "tombolo-writer"

// ErrReplaced says that another writer has come: this one may not write any more.
var ErrReplaced = errors.New("another controller writes to the northbound database by now: this one does not any more")

// writer is who writes.
type writer struct {
	name string
	// mine is what was written into the database; empty before.
	mine string
}

func newWriter() writer { return writer{name: rand.Text()} }

// global is the one row of NB_Global as the cache has it.
type global struct {
	uuid, name, writer string
}

func lookGlobal(c client.Client) (global, error) {
	cache := c.Cache()
	if cache == nil {
		return global{}, errDisconnected
	}
	for _, m := range cache.Table(nbdb.NBGlobalTable).RowsShallow() {
		if g, is := m.(*nbdb.NBGlobal); is {
			return global{g.UUID, g.Name, g.ExternalIDs[keyWriter]}, nil
		}
	}
	return global{}, errDisconnected
}

// claim is what the writer has to do before it may write: nothing when it has done so already. A database that was made anew, or restored from a backup, has
// forgotten the writer, who claims it again.
func (w *writer) claim(g global) ([]ovsdb.Operation, string, error) {
	if _, name, _ := strings.Cut(g.writer, " "); name == w.name {
		return nil, g.writer, nil // also when nobody could tell whether the claim was committed
	}
	there, mine := number(g.writer), number(w.mine)
	if w.mine != "" && there >= mine {
		return nil, "", fmt.Errorf("%w (it is %q, this one %q)", ErrReplaced, g.writer, w.mine)
	}
	next := strconv.FormatInt(max(there, mine)+1, 10) + " " + w.name
	var ops []ovsdb.Operation
	var changes []ovsdb.Mutation
	if g.writer != "" {
		ops = append(ops, waitWriterOp(g, g.writer))
		changes = append(changes, *ovsdb.NewMutation("external_ids", ovsdb.MutateOperationDelete, ovsdb.OvsSet{GoSet: []any{keyWriter}}))
	}
	// An insertion leaves a key that is there as it is: of two writers at once, the second one's wait fails.
	changes = append(changes, *ovsdb.NewMutation("external_ids", ovsdb.MutateOperationInsert, valueOf(map[string]string{keyWriter: next})))
	return append(ops, mutateOp(nbdb.NBGlobalTable, g.uuid, changes...), waitWriterOp(g, next)), next, nil
}

// number of a writer; 0 for none, and for what nobody of us wrote.
func number(text string) int64 {
	first, _, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// waitWriterOp makes the transaction fail when the writer is not that one.
func waitWriterOp(g global, text string) ovsdb.Operation {
	return ovsdb.Operation{
		Op: ovsdb.OperationWait, Table: nbdb.NBGlobalTable, Timeout: new(0),
		Where:   []ovsdb.Condition{ovsdb.NewCondition("external_ids", ovsdb.ConditionIncludes, valueOf(map[string]string{keyWriter: text}))},
		Columns: []string{"name"}, Until: string(ovsdb.WaitConditionEqual), Rows: []ovsdb.Row{{"name": g.name}},
	}
}
