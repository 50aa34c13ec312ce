// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package probe sends ICMP echo (RFC 792) through the whole path between two
// clusters and says whether answers come back.
//
//	gateway end ─▶ OVN router ─▶ tombolo_out ─▶ … ─▶ the other cluster's OVN router ─▶ and back
package probe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"
)

// Target is what is probed, and from where.
type Target struct {
	// Interface is the gateway end that the echo is sent on.
	Interface string
	// SrcMAC of the gateway end, DstMAC of the OVN router's port.
	SrcMAC, DstMAC string
	// Src is the gateway's link address, Dst the probed address.
	Src, Dst netip.Addr
	// Key names the target in Results.
	Key string
}

// Result of a target.
type Result struct {
	// Key of the target.
	Key string
	// Reachable is true while the newest probes are answered.
	Reachable bool
	// RTT is the newest answered probe's round trip.
	RTT time.Duration
	// Since is when Reachable last changed.
	Since time.Time
}

// Prober probes its targets until it is closed.
type Prober struct {
	logger  logr.Logger
	open    func(ifname string) (*socket, error)
	cookie  uint64
	changed chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	nextID  uint16
	targets map[string]*target // by key
	byID    map[uint16]*target // the same, by ICMP identifier
	sockets map[string]*socket // by interface
	closed  bool
}

// target is a Target that is being probed.
type target struct {
	Target
	echo  echo
	state state // under Prober.mu
	stop  context.CancelFunc
}

// New returns a Prober without targets. It sends from the network namespace of the process.
func New(logger logr.Logger) *Prober {
	return &Prober{
		logger:  logger,
		open:    openSocket,
		cookie:  rand.Uint64(),
		changed: make(chan struct{}, 1),
		nextID:  uint16(rand.Uint32()),
		targets: map[string]*target{},
		byID:    map[uint16]*target{},
		sockets: map[string]*socket{},
	}
}

// Set replaces all targets. A target that stays as it is keeps its result. Targets that contradict themselves are an
// error, and nothing changes. An interface need not exist yet.
func (p *Prober) Set(targets []Target) error {
	want := map[string]*target{}
	for _, t := range targets {
		e, err := newEcho(t)
		if err != nil {
			return fmt.Errorf("probe %s: %w", t.Key, err)
		}
		if _, ok := want[t.Key]; ok {
			return fmt.Errorf("probe %s: two targets have this key; give each its own", t.Key)
		}
		want[t.Key] = &target{Target: t, echo: e}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errors.New("set targets: the prober is closed")
	}
	for key, t := range p.targets {
		if w, ok := want[key]; !ok || w.Target != t.Target {
			p.end(t)
		}
	}
	for key, t := range want {
		if p.targets[key] == nil {
			p.start(t)
		}
	}
	p.closeUnused()
	return nil
}

func newEcho(t Target) (echo, error) {
	e := echo{src: t.Src, dst: t.Dst}
	if !t.Src.Is4() || !t.Dst.Is4() {
		return echo{}, fmt.Errorf("addresses %s, %s: use IPv4", t.Src, t.Dst)
	}
	for _, m := range []struct {
		text string
		mac  *[6]byte
	}{{t.SrcMAC, &e.srcMAC}, {t.DstMAC, &e.dstMAC}} {
		mac, err := net.ParseMAC(m.text)
		if err != nil || len(mac) != 6 {
			return echo{}, fmt.Errorf("MAC address %q: use 6 octets, as 0a:58:a9:fe:00:02", m.text)
		}
		*m.mac = [6]byte(mac)
	}
	return e, nil
}

// start probes t from now on. Call with mu held.
func (p *Prober) start(t *target) {
	for p.byID[p.nextID] != nil {
		p.nextID++
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.stop, t.echo.id, t.echo.cookie = cancel, p.nextID, p.cookie
	p.nextID++
	p.targets[t.Key], p.byID[t.echo.id] = t, t
	p.running.Go(func() { p.run(ctx, t) })
}

// end forgets t. Call with mu held.
func (p *Prober) end(t *target) {
	t.stop()
	delete(p.targets, t.Key)
	delete(p.byID, t.echo.id)
}

func (p *Prober) run(ctx context.Context, t *target) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(p.probe(ctx, t))
		}
	}
}

// probe sends one echo request and returns when the next one is due.
func (p *Prober) probe(ctx context.Context, t *target) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return steady
	}
	seq, next, changed := t.state.send(time.Now())
	if changed {
		p.logger.Info("Unreachable", "target", t.Key, "from", t.Src, "to", t.Dst, "interface", t.Interface)
		p.notify()
	}
	e := t.echo
	e.seq = seq
	if err := p.send(t.Interface, e.request()); err != nil {
		// Not sent is not answered: the state will tell. The interface may be about to come.
		p.logger.V(1).Info("Not sent", "target", t.Key, "reason", err.Error())
	}
	return next
}

// send opens the interface's socket if need be. One that fails is closed: the interface may be another one next time.
func (p *Prober) send(ifname string, frame []byte) error {
	s := p.sockets[ifname]
	if s == nil {
		var err error
		if s, err = p.open(ifname); err != nil {
			return err
		}
		p.sockets[ifname] = s
		p.running.Go(func() { p.receive(s) })
	}
	err := s.SetWriteDeadline(time.Now().Add(sendLimit))
	if err == nil {
		_, err = s.Write(frame)
	}
	if err != nil {
		p.discard(s)
	}
	return err
}

// sendLimit is how long the others wait for an interface that takes nothing.
const sendLimit = 10 * time.Millisecond

// discard closes s; the next probe opens another. Call with mu held.
func (p *Prober) discard(s *socket) {
	s.Close()
	if p.sockets[s.ifname] == s {
		delete(p.sockets, s.ifname)
	}
}

// receive ends when the socket is closed. That the interface goes down is told once, and it may come up again.
func (p *Prober) receive(s *socket) {
	frame := make([]byte, 2048)
	for {
		n, err := s.Read(frame)
		now := time.Now()
		if errors.Is(err, unix.ENETDOWN) {
			continue
		}
		if err != nil {
			p.mu.Lock()
			p.discard(s)
			p.mu.Unlock()
			return
		}
		if e, err := parseReply(frame[:n]); err == nil {
			p.answer(now, e)
		}
	}
}

func (p *Prober) answer(now time.Time, e echo) {
	if e.cookie != p.cookie {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.byID[e.id]
	if t == nil || t.Src != e.dst || t.Dst != e.src {
		return
	}
	if t.state.answer(now, e.seq) {
		p.logger.Info("Reachable", "target", t.Key, "from", t.Src, "to", t.Dst, "rtt", t.state.rtt)
		p.notify()
	}
}

func (p *Prober) notify() {
	select {
	case p.changed <- struct{}{}:
	default: // one is waiting already, and whoever takes it reads all results
	}
}

// closeUnused closes sockets that no target needs. Call with mu held.
func (p *Prober) closeUnused() {
	for ifname, s := range p.sockets {
		used := false
		for _, t := range p.targets {
			used = used || t.Interface == ifname
		}
		if !used {
			p.discard(s)
		}
	}
}

// Results returns the result of every target that has one, sorted by key. A new target has one after its first answer,
// or after three probes without.
func (p *Prober) Results() []Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	var results []Result
	for key, t := range p.targets {
		if s := &t.state; s.known {
			results = append(results, Result{Key: key, Reachable: s.reachable, RTT: s.rtt, Since: s.since})
		}
	}
	slices.SortFunc(results, func(a, b Result) int { return strings.Compare(a.Key, b.Key) })
	return results
}

// Changed receives after Reachable of a target has changed, once for all changes since it was last received from.
func (p *Prober) Changed() <-chan struct{} { return p.changed }

// Close stops probing, and returns when all of it has stopped.
func (p *Prober) Close() error {
	p.mu.Lock()
	p.closed = true
	for _, t := range p.targets {
		p.end(t)
	}
	p.closeUnused()
	p.mu.Unlock()
	p.running.Wait()
	return nil
}
