// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fleet plays histories one after the other on one world, and makes a new one after a failure.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tombolo-io/tombolo/e2e/chaos/faulty"
	"github.com/tombolo-io/tombolo/e2e/chaos/history"
	"github.com/tombolo-io/tombolo/e2e/chaos/witness"
	"github.com/tombolo-io/tombolo/e2e/chaos/world"
	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
)

// names of clusters: one is the beginning of another.
var names = []string{"east", "east-1", "west"}

// Config of a Fleet.
type Config struct {
	// Programs is where tombolo-hub and tombolo-agent are; empty: they are built from the tree.
	Programs string
	// Clusters is how many there are, up to three.
	Clusters int
	// Keep the logs.
	Keep bool
	// Logf tells of what takes long.
	Logf func(format string, args ...any)
}

// Programs is the directory of the programs that run.
func (f *Fleet) Programs() string { return f.world.Programs }

// Fleet is a world with a witness.
type Fleet struct {
	config  Config
	servers string
	dir     string
	world   *world.World
	seen    *witness.Witness
	// broken is true after a history that left something behind.
	broken bool
}

// Start makes programs and world.
func Start(ctx context.Context, config Config) (*Fleet, error) {
	log.SetLogger(logr.Discard())
	if config.Clusters < 2 || config.Clusters > len(names) {
		return nil, fmt.Errorf("%d clusters: choose 2 to %d", config.Clusters, len(names))
	}
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	f := &Fleet{config: config, dir: dir}
	if f.servers, err = binaries.Assets(ctx, config.Logf); err != nil {
		return nil, err
	}
	if config.Programs == "" {
		f.config.Programs = filepath.Join(dir, "bin")
		config.Logf("building hub and agent")
		if err := Build(ctx, f.config.Programs, "", Hub, Agent); err != nil {
			return nil, err
		}
	}
	if err := f.begin(ctx); err != nil {
		f.Stop()
		return nil, err
	}
	return f, nil
}

// Hub and Agent are the programs.
const (
	Hub   = "./hub/cmd/tombolo-hub"
	Agent = "./spoke-agent/cmd/tombolo-agent"
)

// Build compiles programs into a directory; overlay is a file for go build -overlay, or empty.
func Build(ctx context.Context, dir, overlay string, programs ...string) error {
	root, err := binaries.Root(ctx)
	if err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", dir + string(filepath.Separator)}
	if overlay != "" {
		args = append(args, "-overlay="+overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, programs...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build hub and agent: %w\n%s", err, out)
	}
	return nil
}

// begin makes the world.
func (f *Fleet) begin(ctx context.Context) error {
	begin := time.Now()
	var err error
	f.world, err = world.Start(ctx, world.Config{Dir: f.dir, Servers: f.servers, Programs: f.config.Programs, Clusters: names[:f.config.Clusters], Debug: f.config.Keep})
	if err != nil {
		return err
	}
	if f.seen, err = witness.Start(ctx, f.world); err != nil {
		return err
	}
	f.config.Logf("the world is up after %s (logs: %s)", time.Since(begin).Round(100*time.Millisecond), f.dir)
	return nil
}

// Use puts other programs in the place of those that run, and begins with an empty world.
func (f *Fleet) Use(ctx context.Context, programs string) error {
	if err := f.world.Reset(ctx, programs); err != nil {
		return fmt.Errorf("empty the world by force: %w", err)
	}
	if err := f.seen.Empty(ctx); err != nil {
		return err
	}
	f.broken = false
	return f.world.Run()
}

func (f *Fleet) end() {
	if f.seen != nil {
		f.seen.Stop()
	}
	if f.world != nil {
		_ = f.world.Stop() // processes die with this one at the latest
	}
}

// Stop ends everything, and removes all files unless they are to be kept.
func (f *Fleet) Stop() {
	f.end()
	if !f.config.Keep {
		_ = os.RemoveAll(f.dir) // it is below the temporary directory
	}
}

// Play plays the history of a seed. An empty profile is the seed's own.
func (f *Fleet) Play(ctx context.Context, seed uint64, profile history.Profile) (*history.Result, error) {
	if profile == "" {
		profile = history.ProfileOf(seed)
	}
	if !slices.Contains(history.Profiles(), profile) {
		return nil, fmt.Errorf("profile %q is unknown: choose one of %v", profile, history.Profiles())
	}
	if f.broken {
		if err := f.Use(ctx, f.world.Programs); err != nil {
			return nil, err
		}
	}
	r, err := history.Run(ctx, f.world, f.seen, seed, profile, history.Make(seed, profile, f.world.Clusters))
	f.broken = err != nil || r.Failed()
	if f.broken && f.config.Keep {
		if err := f.world.Dump(ctx, fmt.Sprint("seed-", seed)); err != nil {
			f.config.Logf("dump the world after seed %d: %v", seed, err)
		}
	}
	if ctx.Err() != nil {
		return r, errors.New("interrupted")
	}
	return r, err
}

// Summary of many histories.
type Summary struct {
	Histories int                     `json:"histories"`
	Failed    []uint64                `json:"failed,omitempty"`
	Took      time.Duration           `json:"took_ns"`
	Profiles  map[history.Profile]int `json:"profiles"`
	Hits      map[faulty.Kind]int     `json:"hits"`
	// P50, P99 and Max of the time from heal to convergence.
	P50 time.Duration `json:"converged_p50_ns"`
	P99 time.Duration `json:"converged_p99_ns"`
	Max time.Duration `json:"converged_max_ns"`
}

// Summarize counts.
func Summarize(results []*history.Result, took time.Duration) *Summary {
	s := &Summary{Histories: len(results), Took: took, Profiles: map[history.Profile]int{}, Hits: map[faulty.Kind]int{}}
	var times []time.Duration
	for _, r := range results {
		s.Profiles[r.Profile]++
		for kind, n := range r.Hits {
			s.Hits[kind] += n
		}
		if r.Failed() {
			s.Failed = append(s.Failed, r.Seed)
			continue
		}
		times = append(times, r.Converged)
	}
	slices.Sort(times)
	if n := len(times); n > 0 {
		s.P50, s.P99, s.Max = times[n/2], times[min(n-1, n*99/100)], times[n-1]
	}
	return s
}

func (s *Summary) String() string {
	return fmt.Sprintf("%d histories in %s, %d failed %v; heal to convergence p50 %s, p99 %s, max %s; profiles %v; faults %v", s.Histories, s.Took.Round(time.Second),
		len(s.Failed), s.Failed, s.P50.Round(time.Millisecond), s.P99.Round(time.Millisecond), s.Max.Round(time.Millisecond), s.Profiles, s.Hits)
}
