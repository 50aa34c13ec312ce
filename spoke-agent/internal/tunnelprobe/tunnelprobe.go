// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tunnelprobe measures the way to other gateways, those of other clusters and of this one, with the very packets that carry the Vpcs': round trip, loss
// and path MTU. It asks from an ordinary UDP socket, and the eBPF of the other gateway (package fastpath, bpf/echo.h) answers,
// through WireGuard where the clusters encrypt.
//
//	UDP socket ─▶ VXLAN with VNI 0 ─▶ underlay or tunnel ─▶ tombolo_in of the other gateway ─▶ the same packet back
package tunnelprobe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"
)

// Config is all that is measured, and from where.
type Config struct {
	// Address of this node's endpoint.
	Address netip.Addr
	// Port is the UDP port of the encapsulation.
	Port uint16
	// Interval of echoes to each target; 0 is Interval.
	Interval time.Duration
	// Targets are gateways of other clusters and of this one.
	Targets []Target
}

// Target is a gateway.
type Target struct {
	// Cluster and Node name it.
	Cluster, Node string
	// Address of its endpoint.
	Address netip.Addr
	// MTU of the interface that leads there, in bytes: no larger packet is tried. 0: the path MTU is not looked for.
	MTU int
}

// Result of a target.
type Result struct {
	Target
	// Reachable is true while echoes are answered, false after three in a row were not, and true again after they have been
	// for three seconds. Since is when it last changed.
	Reachable bool
	Since     time.Time
	// RTT is the median round trip of the last minute; 0 when nothing was answered yet.
	RTT time.Duration
	// Loss is the part of the last minute's echoes that were lost, from 0 to 1.
	Loss float64
	// PathMTU is the largest IPv4 packet that passed both ways, in bytes; 0 while it is not known.
	PathMTU int
}

// Prober measures until it is closed.
type Prober struct {
	logger  logr.Logger
	observe func(Target, time.Duration)
	cookie  uint64
	changed chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	config  Config
	conn    *net.UDPConn
	nextID  uint32
	targets map[uint32]*target
	closed  bool
}

type target struct {
	Target
	id    uint32
	state *state // under Prober.mu
	kick  chan struct{}
	stop  context.CancelFunc
}

// New returns a Prober without targets. observe, if any, is told of every round trip of a small echo.
func New(logger logr.Logger, observe func(Target, time.Duration)) *Prober {
	if observe == nil {
		observe = func(Target, time.Duration) {}
	}
	return &Prober{
		logger: logger, observe: observe, cookie: rand.Uint64(), nextID: rand.Uint32(),
		changed: make(chan struct{}, 1), targets: map[uint32]*target{},
	}
}

// Set replaces what is measured, from the network namespace of the caller. A target that stays as it is keeps its result. The
// zero Config measures nothing.
func (p *Prober) Set(c Config) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errors.New("set targets of echoes: the prober is closed")
	}
	if err := p.open(c); err != nil {
		return fmt.Errorf("set targets of echoes: %w", err)
	}
	have := map[Target]bool{}
	for id, t := range p.targets {
		if slices.Contains(c.Targets, t.Target) {
			have[t.Target] = true
			t.state.interval = p.interval()
			continue
		}
		t.stop()
		delete(p.targets, id)
	}
	for _, t := range c.Targets {
		if !have[t] {
			have[t] = true
			p.start(t)
		}
	}
	return nil
}

// interval of echoes. Call with mu held.
func (p *Prober) interval() time.Duration { return cmp.Or(p.config.Interval, Interval) }

// open makes the socket that the echoes leave by. Call with mu held.
func (p *Prober) open(c Config) error {
	if p.conn != nil && p.config.Address == c.Address && len(c.Targets) > 0 {
		p.config = c
		return nil
	}
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
	p.config = c
	if len(c.Targets) == 0 {
		return nil
	}
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.Address, 0)))
	if err != nil {
		return err
	}
	if err := neverFragment(conn); err != nil {
		conn.Close()
		return fmt.Errorf("set DF: %w", err)
	}
	p.conn = conn
	p.running.Go(func() { p.receive(conn) })
	return nil
}

// neverFragment sets DF, and lets packets leave that are larger than what the kernel knows of the path: what it has learnt
// from ICMP may be old, or forged.
func neverFragment(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
	}); err != nil {
		return err
	}
	return failed
}

// Port is the UDP port that echoes are sent from, and their answers come to; 0 while there is none.
func (p *Prober) Port() uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		return 0
	}
	return p.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// start measures t from now on. Call with mu held.
func (p *Prober) start(t Target) {
	p.nextID++
	ctx, cancel := context.WithCancel(context.Background())
	n := &target{Target: t, id: p.nextID, state: newState(t.MTU, p.interval(), time.Now()), kick: make(chan struct{}, 1), stop: cancel}
	p.targets[n.id] = n
	p.running.Go(func() { p.run(ctx, n) })
}

func (p *Prober) run(ctx context.Context, t *target) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-t.kick:
		}
		timer.Reset(p.step(ctx, t))
	}
}

// step sends what is due, and returns how long to wait for the next.
func (p *Prober) step(ctx context.Context, t *target) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil || p.conn == nil {
		return p.interval()
	}
	requests, changed := t.state.poll(time.Now())
	for _, r := range requests {
		packet := echo{p.cookie, t.id, r.seq}.request(r.size)
		// Not sent is not answered: the state will tell.
		if _, err := p.conn.WriteToUDPAddrPort(packet, netip.AddrPortFrom(t.Address, p.config.Port)); err != nil {
			p.logger.V(1).Info("Echo not sent", "cluster", t.Cluster, "node", t.Node, "size", r.size, "reason", err.Error())
		}
	}
	if changed {
		p.tell(t)
	}
	return time.Until(t.state.next())
}

// tell tells of a change. Call with mu held.
func (p *Prober) tell(t *target) {
	p.logger.Info("Tunnel changed", "cluster", t.Cluster, "node", t.Node, "reachable", t.state.reachable, "pathMTU", t.state.search.best)
	select {
	case p.changed <- struct{}{}:
	default: // one is waiting already, and whoever takes it reads all results
	}
}

// receive ends when the socket is closed.
func (p *Prober) receive(conn *net.UDPConn) {
	b := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		now := time.Now()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			p.logger.V(1).Info("Answer not read", "reason", err.Error())
			continue
		}
		if e, err := parseAnswer(b[:n]); err == nil {
			p.answer(now, from, e)
		}
	}
}

func (p *Prober) answer(now time.Time, from netip.AddrPort, e echo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.targets[e.id]
	if t == nil || e.cookie != p.cookie || from != netip.AddrPortFrom(t.Address, p.config.Port) {
		return
	}
	large := t.state.pending[e.seq].large
	rtt, ok, changed := t.state.answer(now, e.seq)
	if ok && !large {
		p.observe(t.Target, rtt)
	}
	if changed {
		p.tell(t)
	}
	if ok && (large || changed) { // the next size need not wait
		select {
		case t.kick <- struct{}{}:
		default:
		}
	}
}

// Results returns the result of every target that has one, sorted by cluster and node. A new target has one after its first
// answer, or when that has not come for seconds.
func (p *Prober) Results() []Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	var results []Result
	for _, t := range p.targets {
		if s := t.state; s.known {
			results = append(results, Result{Target: t.Target, Reachable: s.reachable, Since: s.since, RTT: s.rtt(), Loss: s.loss(), PathMTU: s.search.best})
		}
	}
	slices.SortFunc(results, func(a, b Result) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Node, b.Node), a.Address.Compare(b.Address))
	})
	return results
}

// Changed receives after reachability or path MTU of a target has changed, once for all changes since it was last received
// from.
func (p *Prober) Changed() <-chan struct{} { return p.changed }

// Close stops measuring, and returns when all of it has stopped.
func (p *Prober) Close() error {
	p.mu.Lock()
	p.closed = true
	for id, t := range p.targets {
		t.stop()
		delete(p.targets, id)
	}
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
	p.mu.Unlock()
	p.running.Wait()
	return nil
}
