// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/frames"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/gate"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/load"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/measure"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/report"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/topology"
)

// suite is everything that is measured, built.
type suite struct {
	options options
	tasks   []measure.Task
	open    []io.Closer
	// realTime is false when some load had to share its core.
	realTime bool
}

// build makes all topologies, and a task for each that options asks for.
func build(ctx context.Context, o options) (*suite, error) {
	s := &suite{options: o, realTime: true}
	for _, add := range []func(context.Context) error{s.pairs, s.chains, s.stations, s.scale} {
		if err := add(ctx); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func (s *suite) close() error {
	var errs []error
	for _, c := range slices.Backward(s.open) {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// add leaves out the variants that options does not ask for.
func (s *suite) add(t measure.Task) {
	if !s.options.variant.MatchString(t.Variant) {
		return
	}
	if !report.Decides(t.Measure, t.Variant) {
		t.Every = s.options.sparse
	}
	s.tasks = append(s.tasks, t)
}

// again runs more rounds of what is below its floor, or above its ceiling, until nothing is or options has enough of it.
func (s *suite) again(ctx context.Context, r *report.Report) error {
	begin := time.Now()
	for range s.options.attempts - 1 {
		keys := r.Doubtful()
		if len(keys) == 0 || time.Since(begin) > s.options.patience {
			return nil
		}
		progress("again: %s", strings.Join(keys, ", "))
		if err := calm(ctx); err != nil {
			return err
		}
		tasks := slices.DeleteFunc(slices.Clone(s.tasks), func(t measure.Task) bool {
			return !slices.ContainsFunc(keys, func(key string) bool { return report.Needs(key, t.Measure, t.Variant) })
		})
		table, err := measure.Rounds(ctx, s.options.rounds, tasks, s.thread, func(int) {})
		if err != nil {
			return err
		}
		r.Again(keys, table)
	}
	return nil
}

// thread makes the calling thread the one that gives turns: as urgent as those that take them.
func (s *suite) thread() error {
	_, err := load.Pin(s.options.cpu)
	return err
}

func (s *suite) wants(measures ...string) bool {
	return slices.ContainsFunc(measures, s.options.only.MatchString)
}

func (s *suite) pairs(ctx context.Context) error {
	for _, v := range topology.Pairs() {
		if !s.options.variant.MatchString(v.Name) || !s.wants("rr", "udp", "tcp", "tcp_wire") {
			continue
		}
		p, err := v.Build(ctx, v.Name)
		if err != nil {
			return err
		}
		s.open = append(s.open, p)
		s.load("rr", v.Name, load.RR, p)
		if !p.UserSpace() { // which the sender would drown
			s.load("udp", v.Name, load.UDP, p)
		}
		s.load("tcp", v.Name, load.TCP, p)
		if v.Name != "veth" {
			s.wire(v.Name, p)
		}
	}
	return nil
}

func (s *suite) chains(ctx context.Context) error {
	for _, v := range topology.Chains() {
		if !s.options.variant.MatchString(v.Name) || !s.wants("hops4_rr", "hops4_udp") {
			continue
		}
		p, err := v.Build(ctx, "hops-"+v.Name)
		if err != nil {
			return err
		}
		s.open = append(s.open, p)
		s.load("hops4_rr", v.Name, load.RR, p)
		s.load("hops4_udp", v.Name, load.UDP, p)
	}
	return nil
}

// load adds what pods of p send to each other.
func (s *suite) load(name, variant string, kind load.Kind, p *topology.Path) {
	if s.wants(name) {
		s.add(s.task(name, variant, kind, p, func(bool) error { return nil }))
	}
}

// wire adds a stream over an underlay that carries frames of its MTU only.
func (s *suite) wire(variant string, p *topology.Path) {
	if name := "tcp_wire"; s.wants(name) {
		s.add(s.task(name, variant, load.TCP, p, p.Wire))
	}
}

func (s *suite) task(name, variant string, kind load.Kind, p *topology.Path, prepare func(bool) error) measure.Task {
	t := measure.Task{Measure: name, Variant: variant, Turns: int(s.options.duration / shortTurn)}
	turn := shortTurn
	switch kind {
	case load.RR:
		t.Unit = "us CPU/txn"
	case load.UDP:
		t.Unit = "ns CPU/packet"
	case load.TCP:
		t.Unit = "us CPU/MB"
		turn = longTurn // and as many: copies and caches make it the noisiest of all
	}
	if p.UserSpace() {
		t.Group, t.Turns, turn = name+"/user space", 2, s.options.duration
	}
	t.Start = func(ctx context.Context) (measure.Run, error) {
		if err := prepare(true); err != nil {
			return nil, err
		}
		session, err := load.Start(ctx, load.Request{
			Kind: kind, From: p.Client.Namespace, To: p.Server.Namespace, Address: p.Server.Address, Port: 7000, CPU: s.options.cpu,
		})
		if err != nil {
			return nil, errors.Join(err, prepare(false))
		}
		r := &sending{Session: session, suite: s, name: name, kind: kind, turn: turn, path: p, restore: func() error { return prepare(false) }}
		if r.carried, err = p.CPU(); err != nil {
			_, _, endErr := r.End()
			return nil, errors.Join(err, endErr)
		}
		return r, nil
	}
	return t
}

// stations adds what a gateway costs per packet, by what it does.
func (s *suite) stations(ctx context.Context) error {
	if s.wants(string(topology.Base)) {
		if err := errors.Join(
			s.station(string(topology.Base), "tcx", one(topology.BaseStation(ctx, false))),
			s.station(string(topology.Base), "xdp", one(topology.BaseStation(ctx, true))),
		); err != nil {
			return err
		}
	}
	for _, role := range []topology.Role{topology.Encap, topology.Decap, topology.Transit} {
		name := string(role)
		if !s.wants(name) {
			continue
		}
		err := errors.Join(
			s.station(name, "vxlan", one(topology.KernelStation(ctx, role, false))),
			s.station(name, "vxlan-ct", one(topology.KernelStation(ctx, role, true))),
			s.station(name, "tombolo", one(topology.ProductStation(ctx, role, []netip.Prefix{topology.Remote}, false))),
		)
		if err != nil {
			return err
		}
	}
	if name := string(topology.Transit); s.wants(name) {
		return s.station(name, "tombolo-xdp", one(topology.ProductStation(ctx, topology.Transit, []netip.Prefix{topology.Remote}, true)))
	}
	return nil
}

// built is a station or why there is none.
type built struct {
	station *topology.Station
	err     error
}

func one(station *topology.Station, err error) built { return built{station, err} }

func (s *suite) station(name, variant string, b built) error {
	if b.err != nil {
		return b.err
	}
	to := topology.Far
	if b.station.Role != topology.Decap {
		to = topology.Remote.Addr().Next()
	}
	bench, err := s.bench(b.station)
	if err != nil {
		return err
	}
	return s.frames(name, variant, bench, []netip.Addr{to})
}

func (s *suite) bench(station *topology.Station) (*frames.Bench, error) {
	b, err := frames.New(station)
	if err == nil {
		s.open = append(s.open, b)
	}
	return b, err
}

// scale adds what the product's maps cost with few and with many prefixes: encapsulation in tcx, transit in XDP.
func (s *suite) scale(ctx context.Context) error {
	for _, v := range []struct {
		variant string
		role    topology.Role
		xdp     bool
	}{{"tombolo", topology.Encap, false}, {"tombolo-xdp", topology.Transit, true}} {
		for _, n := range []int{10, 1_000, 100_000} {
			uniform, zipf := fmt.Sprintf("lpm_%s_uniform", brief(n)), fmt.Sprintf("lpm_%s_zipf", brief(n))
			if !s.wants(uniform, zipf) {
				continue
			}
			prefixes := frames.Prefixes(n)
			station, err := topology.ProductStation(ctx, v.role, prefixes, v.xdp)
			if err != nil {
				return err
			}
			bench, err := s.bench(station)
			if err != nil {
				return err
			}
			err = errors.Join(
				s.frames(uniform, v.variant, bench, frames.Draw(prefixes, false)),
				s.frames(zipf, v.variant, bench, frames.Draw(prefixes, true)),
			)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func brief(n int) string {
	if n >= 1000 {
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprint(n)
}

func (s *suite) frames(name, variant string, bench *frames.Bench, to []netip.Addr) error {
	if !s.wants(name) {
		return nil
	}
	traffic, err := bench.To(to)
	if err != nil {
		return err
	}
	s.open = append(s.open, traffic)
	turn := longTurn
	t := measure.Task{Measure: name, Variant: variant, Unit: "ns CPU/packet"}
	if strings.HasPrefix(name, "lpm") {
		t.Group = "lpm/" + variant // compared by the number of prefixes, of which caches hold most after a while
		turn *= 2
	}
	t.Turns = max(int(s.options.duration/turn), 5)
	t.Start = func(context.Context) (measure.Run, error) {
		run, err := traffic.Start(s.options.cpu, s.options.frames)
		return passing{run, s.options.frames, turn}, err
	}
	s.add(t)
	return nil
}

// gates tries what may not be given up, on paths of its own.
func (s *suite) gates(ctx context.Context) ([]gate.Result, error) {
	if !s.wants("gates") {
		return nil, nil
	}
	var out []gate.Result
	for _, v := range topology.Gated() {
		p, err := v.Build(ctx, "gate-"+v.Name)
		if err != nil {
			return nil, err
		}
		out = append(out, gate.All(v.Name, p, s.options.swaps)...)
		if err := p.Close(); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return out, nil
}

// options of a run.
type options struct {
	// says is the command, for documents.
	says                       string
	rounds, cpu, frames, swaps int
	duration                   time.Duration
	// sparse is how many rounds there are from one measurement to the next of what no floor needs.
	sparse int
	// busy asks only that no floor is certainly missed.
	busy bool
	// attempts at a ratio that is below its floor, and when the last one begins.
	attempts int
	patience time.Duration
	// only has the names of measures, or gates; variant those of variants.
	only, variant *regexp.Regexp
}
