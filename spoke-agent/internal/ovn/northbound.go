// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/nbdb"
)

// Northbound is a connection to OVN_Northbound.
type Northbound struct {
	conn    *connection
	changed chan struct{}
	set     sync.Mutex // one Set at a time
	writer  writer
}

// DialNorthbound connects to endpoint: unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT, or several separated by commas (the
// members of a cluster). It returns when the database has been read once, and keeps the connection until Close.
func DialNorthbound(ctx context.Context, endpoint string, log logr.Logger, options ...Option) (*Northbound, error) {
	endpoints, err := splitEndpoints(endpoint)
	if err != nil {
		return nil, err
	}
	db, err := nbdb.FullDatabaseModel()
	if err != nil {
		return nil, fmt.Errorf("build model of OVN_Northbound: %w", err)
	}
	n := &Northbound{changed: make(chan struct{}, 1), writer: newWriter()}
	n.conn = &connection{
		log: log.WithName("northbound"), model: db, schema: nbdb.Schema(), endpoints: endpoints,
		event: n.event, rebuilt: n.wake,
	}
	for _, o := range options {
		o(n.conn)
	}
	if err := n.conn.start(ctx); err != nil {
		return nil, err
	}
	return n, nil
}

// Set makes the rows of the desired owners what desired says, in one transaction, or in none when they are so already.
// Rows of removed owners go; rows of owners that are neither stay and are reported. Set deletes nothing and makes
// nothing when desired contradicts itself or when the database was not read completely; of a router that wants a name
// which somebody else has, it leaves what is there and reports it (Report.Refused). After an error, call it again: it
// takes up whatever is there; but after ErrReplaced it never writes again.
func (n *Northbound) Set(ctx context.Context, desired Desired) (Report, error) {
	if err := desired.validate(); err != nil {
		return Report{}, fmt.Errorf("validate desired state: %w", err)
	}
	n.set.Lock()
	defer n.set.Unlock()
	cl, s, err := n.read(ctx)
	if err != nil {
		return Report{}, err
	}
	ops, report := plan(s, desired)
	if err := n.write(ctx, cl, append(sweeps(desired.Removed), ops...)); err != nil {
		return Report{}, err
	}
	return report, nil
}

// write sends a transaction that the server commits only while nobody else has begun to write.
func (n *Northbound) write(ctx context.Context, cl client.Client, ops []ovsdb.Operation) error {
	g, err := lookGlobal(cl)
	if err != nil {
		return fmt.Errorf("read OVN_Northbound: %w", err)
	}
	first, mine, err := n.writer.claim(g)
	if err != nil || len(first)+len(ops) == 0 {
		return err
	}
	if len(first) == 0 {
		first = []ovsdb.Operation{waitWriterOp(g, mine)}
	}
	err = n.conn.transact(ctx, cl, append(first, ops...))
	if err == nil {
		n.writer.mine = mine
		return nil
	}
	if now, lookErr := lookGlobal(cl); lookErr == nil {
		if _, _, claimErr := n.writer.claim(now); claimErr != nil {
			return errors.Join(claimErr, err)
		}
	}
	return err
}

// read waits for a client and reads its cache.
func (n *Northbound) read(ctx context.Context) (client.Client, seen, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	cl, err := n.conn.get(ctx)
	if err != nil {
		return nil, seen{}, err
	}
	s, err := look(cl)
	if err != nil {
		return nil, seen{}, fmt.Errorf("read OVN_Northbound: %w", err)
	}
	return cl, s, nil
}

// Changed receives when a row of ours changed (an address was given, a port came up, somebody deleted something) or
// the database was read again. Signals are merged, and those of our own writes are among them: call Set, which does
// nothing when nothing has to be done.
func (n *Northbound) Changed() <-chan struct{} { return n.changed }

// Close ends the connection.
func (n *Northbound) Close() { n.conn.close() }

func (n *Northbound) event(from, to model.Model) {
	for _, m := range []model.Model{from, to} {
		_, initialised := m.(*nbdb.NBGlobal)
		if _, external := rowOf(m); initialised || external[KeyOwner] != "" {
			n.wake()
		}
	}
}

func (n *Northbound) wake() {
	select {
	case n.changed <- struct{}{}:
	default: // One is waiting already.
	}
}
