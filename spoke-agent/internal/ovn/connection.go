// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Deadlines of every call to a server.
const (
	// connectTimeout is for one endpoint to answer, fillTimeout for reading the whole database once (100,000 rows: 7 s).
	connectTimeout, fillTimeout = 5 * time.Second, 60 * time.Second
	// callTimeout is for one transaction. ovsdb-server takes 6 s for 100,000 rows in one.
	callTimeout = 30 * time.Second
	// probeInterval between probes, and the time for an answer: a silent server is noticed after at most twice that.
	probeInterval = 5 * time.Second
	// redialMin doubles up to redialMax between attempts.
	redialMin, redialMax = 100 * time.Millisecond, 5 * time.Second
)

// errDisconnected is what a call gets while there is no server.
var errDisconnected = errors.New("not connected")

// connection keeps one libovsdb client alive. libovsdb can reconnect by itself, but then its cache lives through the
// gap: it is purged or not according to the monitor's kind and number, a backoff that gives up panics, and reads
// in the meantime hang. So here a client is never reconnected: when anything is wrong with it, it is thrown away, and a
// new one reads the whole database through its one monitor. What the cache says is thus either complete or not there.
//
// No leader is looked for in a clustered database: followers pass transactions on, and one that cannot lets them time
// out, upon which the next endpoint gets its turn.
type connection struct {
	log       logr.Logger
	model     model.ClientDBModel
	schema    ovsdb.DatabaseSchema
	endpoints []string
	tls       *TLS
	probe     time.Duration // probeInterval when 0
	// event is called for every row that changed (old is nil for a new one, new is nil for a deleted one) and must not
	// block; rebuilt is called when a new client has read everything.
	event   func(oldRow, newRow model.Model)
	rebuilt func()

	mu      sync.Mutex
	current client.Client // nil while disconnected
	reason  error         // why it is nil
	changed chan struct{} // closed and replaced when current changes

	suspects chan client.Client
	stop     context.CancelFunc
	stopped  chan struct{}
}

// start makes the first client and keeps one from then on, until close.
func (c *connection) start(ctx context.Context) error {
	c.changed, c.suspects, c.stopped = make(chan struct{}), make(chan client.Client, 1), make(chan struct{})
	first, err := c.dial(ctx)
	if err != nil {
		return err
	}
	c.replace(first, nil)
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	go c.keep(ctx, first)
	return nil
}

func (c *connection) close() {
	c.stop()
	<-c.stopped
}

// keep replaces a client that is no good.
func (c *connection) keep(ctx context.Context, cl client.Client) {
	defer close(c.stopped)
	for {
		err := c.watch(ctx, cl)
		c.replace(nil, err)
		go cl.Close() // As in dialOne.
		if ctx.Err() != nil {
			return
		}
		c.log.Info("Lost the database, dialling again", "endpoints", c.endpoints, "reason", err.Error())
		if cl = c.redial(ctx); cl == nil {
			return
		}
		c.log.Info("Read the database again", "endpoint", cl.CurrentEndpoint())
		c.replace(cl, nil)
		c.rebuilt()
	}
}

// watch returns when cl is no good, and why.
func (c *connection) watch(ctx context.Context, cl client.Client) error {
	interval := cmp.Or(c.probe, probeInterval)
	probe := time.NewTicker(interval)
	defer probe.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("connection closed: %w", errDisconnected)
		case <-cl.DisconnectNotify():
			return errDisconnected
		case suspect := <-c.suspects:
			if suspect == cl {
				return fmt.Errorf("transaction timed out: %w", errDisconnected)
			}
		case <-probe.C:
			if err := bounded(ctx, interval, cl.Echo); err != nil {
				return fmt.Errorf("probe server: %w", err)
			}
		}
	}
}

// redial tries until there is a client, or nil when ctx ends. Each attempt begins with the next endpoint.
func (c *connection) redial(ctx context.Context) client.Client {
	for pause := redialMin; ; pause = min(2*pause, redialMax) {
		c.endpoints = append(c.endpoints[1:], c.endpoints[0])
		cl, err := c.dial(ctx)
		if err == nil {
			return cl
		}
		c.replace(nil, err)
		c.log.V(1).Info("Dialled in vain", "reason", err.Error())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// dial makes a client whose cache is filled, with the first endpoint that answers.
func (c *connection) dial(ctx context.Context) (client.Client, error) {
	var errs []error
	for _, endpoint := range c.endpoints {
		cl, err := c.dialOne(ctx, endpoint)
		if err == nil {
			return cl, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("dial %s: %w: is its ovsdb-server running, and is this its address?", c.model.Name(), errors.Join(errs...))
}

// dialOne makes a client of one endpoint: given several, libovsdb would spend the whole deadline on a silent first one.
func (c *connection) dialOne(ctx context.Context, endpoint string) (client.Client, error) {
	log := c.log.WithName("libovsdb")
	options := []client.Option{client.WithLogger(&log), client.WithEndpoint(endpoint)}
	if c.tls != nil {
		config, err := c.tls.config()
		if err != nil {
			return nil, err
		}
		options = append(options, client.WithTLSConfig(config))
	}
	cl, err := client.NewOVSDBClient(c.model, options...)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	err = bounded(ctx, connectTimeout, cl.Connect)
	if err == nil {
		err = bounded(ctx, fillTimeout, func(ctx context.Context) error { return c.fill(ctx, cl) })
	}
	if err != nil {
		go cl.Close() // It may hang with the client: nobody waits for it.
		return nil, fmt.Errorf("%s: %w", endpoint, err)
	}
	return cl, nil
}

// fill starts the one monitor; when it returns, the cache has the whole database.
func (c *connection) fill(ctx context.Context, cl client.Client) error {
	rows := cl.Cache()
	if rows == nil {
		return errDisconnected
	}
	rows.AddEventHandler(&cache.EventHandlerFuncs{
		AddFunc:    func(_ string, m model.Model) { c.event(nil, m) },
		UpdateFunc: func(_ string, from, to model.Model) { c.event(from, to) },
		DeleteFunc: func(_ string, m model.Model) { c.event(m, nil) },
	})
	monitor := cl.NewMonitor()
	// Of monitor_cond_since, libovsdb does not report a failed update: the cache would be wrong and nobody would know.
	monitor.Method = ovsdb.ConditionalMonitorRPC
	for _, table := range slices.Sorted(maps.Keys(c.schema.Tables)) {
		monitor.Tables = append(monitor.Tables, client.TableMonitor{
			Table: table, Fields: slices.Sorted(maps.Keys(c.schema.Tables[table].Columns)),
		})
	}
	_, err := cl.Monitor(ctx, monitor)
	return err
}

// get returns the client, and waits for one as long as ctx allows.
func (c *connection) get(ctx context.Context) (client.Client, error) {
	for {
		c.mu.Lock()
		cl, reason, changed := c.current, c.reason, c.changed
		c.mu.Unlock()
		if cl != nil {
			return cl, nil
		}
		select {
		case <-changed:
		case <-c.stopped:
			return nil, fmt.Errorf("use %s: %w", c.model.Name(), errDisconnected)
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s: %w: %w", c.model.Name(), ctx.Err(), reason)
		}
	}
}

func (c *connection) replace(cl client.Client, reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.reason = cl, reason
	close(c.changed)
	c.changed = make(chan struct{})
}

// transact sends ops as one transaction. When it returns, the cache has what they did: ovsdb-server sends a client its
// updates before the reply, and libovsdb takes both in order.
func (c *connection) transact(ctx context.Context, cl client.Client, ops []ovsdb.Operation) error {
	var results []ovsdb.OperationResult
	start := time.Now()
	err := bounded(ctx, callTimeout, func(ctx context.Context) (err error) {
		results, err = cl.Transact(ctx, ops...)
		return err
	})
	if errors.Is(err, context.DeadlineExceeded) && time.Since(start) > cmp.Or(c.probe, probeInterval) {
		select {
		case c.suspects <- cl:
		default: // Another call said so already.
		}
	}
	if err != nil {
		return fmt.Errorf("send transaction to %s: %w", c.model.Name(), err)
	}
	if _, err := ovsdb.CheckOperationResults(results, ops); err != nil {
		return fmt.Errorf("commit transaction to %s: %w: %s", c.model.Name(), err, explain(results, ops))
	}
	return nil
}

// explain is what the server said of each operation that failed, or of the commit (RFC 7047, section 4.1.3).
func explain(results []ovsdb.OperationResult, ops []ovsdb.Operation) string {
	var words []string
	for i, r := range results {
		if r.Error == "" {
			continue
		}
		at := "commit"
		if i < len(ops) {
			at = ops[i].Op + " " + ops[i].Table
		}
		words = append(words, fmt.Sprintf("%s: %s: %s", at, r.Error, r.Details))
	}
	return strings.Join(words, "; ")
}

// bounded runs f with a deadline, and returns at it even when f does not.
func bounded(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
