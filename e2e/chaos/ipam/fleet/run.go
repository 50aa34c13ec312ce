// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/check"
	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/record"
)

// Config of a run.
type Config struct {
	// Program is an allocator that was built; Dir has all files.
	Program, Dir string
	// Operations and Limit: the run ends when so many are done, or so much time is over.
	Operations int
	Limit      time.Duration
	// Allocators are the processes, and Args what they are told besides.
	Allocators int
	Args       []string
	// Seed of what is chosen at random.
	Seed uint64
	// KillEvery is how often one of the allocators is killed.
	KillEvery time.Duration
	// Search ends the run as soon as two owners had one thing, and lets the allocators not come to an end: without a guard they may never.
	Search bool
	// Logf tells of progress.
	Logf func(format string, args ...any)
}

// Result of a run.
type Result struct {
	Seed       uint64 `json:"seed"`
	Operations int    `json:"operations"`
	// Allocations that were made, and Refusals by pools that had none left.
	Allocations          int     `json:"allocations"`
	Refusals             int     `json:"refusals"`
	Seconds              float64 `json:"seconds"`
	AllocationsPerSecond float64 `json:"allocations_per_second"`
	P50                  float64 `json:"p50_ms"`
	P99                  float64 `json:"p99_ms"`
	Kills                int     `json:"kills"`
	// Resumed are the operations that a killed process had begun and the next one has ended.
	Resumed  int `json:"resumed"`
	Overlaps int `json:"overlaps"`
	Leaks    int `json:"leaks"`
	// Lost is how much the API server does not have that somebody relies on.
	Lost int `json:"lost"`
	// Quarantined is what is still kept for a cluster in the end.
	Quarantined  int  `json:"quarantined"`
	Linearizable bool `json:"linearizable"`
	// Problems in words, the first ones.
	Problems []string `json:"problems,omitempty"`
}

// progress is how often a run tells how far it is.
const progress = 5 * time.Second

// maxProblems of each kind are told.
const maxProblems = 5

// run is one run.
type run struct {
	Config
	server     *server
	spokes     []*spoke
	allocators []*allocator
	kills      int
	begin, end int64
}

// Run plays one history and checks it.
func Run(ctx context.Context, c Config) (*Result, error) {
	log.SetLogger(logr.Discard())
	r := &run{Config: c}
	begin := time.Now()
	var err error
	if r.server, err = startServer(ctx, c.Dir, c.Logf); err != nil {
		return nil, err
	}
	c.Logf("kube-apiserver is up after %s", time.Since(begin).Round(time.Second))
	lines, held, err := r.play(ctx)
	if err != nil {
		return nil, errors.Join(err, r.server.env.Stop())
	}
	lives, f := check.Lives(lines), &final{}
	if !c.Search {
		f, err = r.server.final(ctx, lives, held)
	}
	if err := errors.Join(err, r.server.env.Stop()); err != nil {
		return nil, err
	}
	c.Logf("checking %d owners", len(lives))
	return r.judge(ctx, lives, lines, f), nil
}

// play runs everything, and returns the histories and the UIDs of what clusters hold in the end.
func (r *run) play(ctx context.Context) ([]record.Line, map[string]bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() {
		for _, a := range r.allocators {
			a.abort()
		}
	}()
	path := filepath.Join(r.Dir, "spokes.history")
	history, err := record.Open(path)
	if err != nil {
		return nil, nil, err
	}
	var answering sync.WaitGroup
	for _, cluster := range Clusters {
		s, err := newSpoke(ctx, r.server, cluster, history, r.Seed)
		if err != nil {
			return nil, nil, err
		}
		r.spokes = append(r.spokes, s)
		answering.Go(func() { s.run(ctx) })
	}
	paths, err := r.allocate(ctx)
	if err != nil {
		return nil, nil, err
	}
	cancel()
	answering.Wait()
	held := map[string]bool{}
	for _, s := range r.spokes {
		for _, c := range s.copies {
			held[c.hold.VpcUID] = true
		}
	}
	for _, a := range r.allocators { // they write no more
		a.abort()
	}
	lines, err := read(append(paths, path))
	return lines, held, err
}

func read(paths []string) ([]record.Line, error) {
	var lines []record.Line
	for _, path := range paths {
		some, err := record.Read(path)
		if err != nil {
			return nil, err
		}
		lines = append(lines, some...)
	}
	return lines, nil
}

// found looks whether two owners have had one thing.
func (r *run) found() (bool, error) {
	paths, err := filepath.Glob(filepath.Join(r.Dir, "*.history"))
	if err != nil {
		return false, fmt.Errorf("look for histories: %w", err)
	}
	lines, err := read(paths)
	return len(check.Overlaps(check.Lives(lines))) > 0, err
}

// allocate runs the allocators and kills one after the other, until it is enough.
func (r *run) allocate(ctx context.Context) (paths []string, err error) {
	settler := newAllocator(r.Dir, r.Program, r.server.kubeconfig, r.Allocators, r.Seed, "-settle")
	if err := r.settle(settler); err != nil { // the pools are accepted
		return nil, err
	}
	for i := range r.Allocators {
		a := newAllocator(r.Dir, r.Program, r.server.kubeconfig, i, r.Seed, r.Args...)
		if err := r.server.admin.Create(ctx, namespace(a.name)); err != nil {
			return nil, fmt.Errorf("create namespace: %w", err)
		}
		r.allocators, paths = append(r.allocators, a), append(paths, a.history)
		if err := a.start(); err != nil {
			return nil, err
		}
	}
	r.begin = record.Now()
	if err := r.disturb(ctx); err != nil {
		return nil, err
	}
	r.end = record.Now()
	if r.Search {
		return paths, nil
	}
	r.Logf("the allocators end what they have begun")
	var ends sync.WaitGroup
	errs := make([]error, len(r.allocators))
	for i, a := range r.allocators {
		ends.Go(func() { errs[i] = a.end() })
	}
	ends.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return paths, r.settle(settler)
}

// settle lets one allocator plan until nothing is left to be done.
func (r *run) settle(a *allocator) error {
	if err := a.start(); err != nil {
		return err
	}
	defer a.abort()
	return a.wait()
}

// disturb kills until enough is done.
func (r *run) disturb(ctx context.Context) error {
	random := rand.New(rand.NewPCG(r.Seed, 0))
	start, told, killed := time.Now(), time.Now(), time.Now()
	counters := make([]counter, len(r.allocators))
	last := 0
	for time.Since(start) < r.Limit {
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		done := 0
		for i, a := range r.allocators {
			if err := a.failed(); err != nil {
				return err
			}
			done += counters[i].count(a.history)
		}
		if since := time.Since(told); since >= progress {
			r.Logf("%8d operations of %d after %s, %d in each second, %d kills", done, r.Operations, time.Since(start).Round(time.Second), int(float64(done-last)/since.Seconds()), r.kills)
			told, last = time.Now(), done
			if r.Search {
				if found, err := r.found(); found || err != nil {
					return err
				}
			}
		}
		if done >= r.Operations {
			return nil
		}
		if time.Since(killed) >= r.KillEvery {
			killed = time.Now()
			if err := r.allocators[random.IntN(len(r.allocators))].kill(); err != nil {
				return err
			}
			r.kills++
		}
	}
	return nil
}

// counter counts what is done in a history that grows.
type counter struct {
	read int64
	done int
}

func (c *counter) count(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return c.done // it has not begun
	}
	defer f.Close()
	text := make([]byte, 1<<20)
	for {
		n, _ := f.ReadAt(text, c.read)
		whole := text[:bytes.LastIndexByte(text[:n], '\n')+1]
		if len(whole) == 0 {
			return c.done
		}
		c.read += int64(len(whole))
		for _, what := range []string{record.Allocated, record.Refused, record.Released} {
			c.done += bytes.Count(whole, []byte("\t"+what+"\t"))
		}
	}
}

// judge checks a history.
func (r *run) judge(ctx context.Context, lives []*check.Life, lines []record.Line, f *final) *Result {
	overlaps, not := check.Overlaps(lives), check.NotLinearizable(ctx, lives)
	f.leaks = append(f.leaks, check.Doubles(lives)...)
	result := &Result{
		Seed: r.Seed, Seconds: time.Duration(r.end - r.begin).Seconds(), Kills: r.kills, Overlaps: len(overlaps), Leaks: len(f.leaks), Lost: len(f.lost),
		Quarantined: f.quarantined, Linearizable: len(not) == 0, Resumed: check.Resumed(lines),
	}
	var took []int64
	for _, l := range lives {
		switch {
		case l.Got != check.Forever && l.Refused:
			result.Refusals++
			result.Operations++
		case l.Got != check.Forever:
			result.Allocations++
			result.Operations++
			took = append(took, l.Got-l.Asked)
		}
		if l.Freed != check.Forever && !l.Refused {
			result.Operations++
		}
	}
	slices.Sort(took)
	result.AllocationsPerSecond = float64(result.Allocations) / result.Seconds
	if len(took) > 0 {
		result.P50, result.P99 = float64(took[len(took)/2])/1e6, float64(took[len(took)*99/100])/1e6
	}
	for _, all := range [][]string{overlaps, f.leaks, f.lost, not} {
		result.Problems = append(result.Problems, all[:min(len(all), maxProblems)]...)
	}
	return result
}

// Failed is true when a promise was broken.
func (r *Result) Failed() bool {
	return r.Overlaps > 0 || r.Leaks > 0 || r.Lost > 0 || !r.Linearizable
}
