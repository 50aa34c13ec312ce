// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command chaos plays hostile histories on the real hub and the real agents, and says whether they kept their promises.
//
//	go run ./e2e/chaos -n 1000 -json FILE     1,000 histories
//	go run ./e2e/chaos -seed 42               one again, with everything that it does
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tombolo-io/tombolo/e2e/bench/result"
	"github.com/tombolo-io/tombolo/e2e/chaos/fleet"
	"github.com/tombolo-io/tombolo/e2e/chaos/history"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	seed := flag.Uint64("seed", 0, "play this history alone")
	n := flag.Int("n", 100, "how many histories, from -first on")
	first := flag.Uint64("first", 1, "seed of the first one")
	profile := flag.String("profile", "", "only this profile (default: what the seed says)")
	file := flag.String("json", "", "write the results to this file")
	clusters := flag.Int("clusters", 2, "how many clusters: 2 or 3")
	programs := flag.String("programs", "", "directory of tombolo-hub and tombolo-agent (default: they are built)")
	keep := flag.Bool("keep", false, "keep the directory with the logs")
	flag.Parse()
	if *seed != 0 {
		*first, *n = *seed, 1
	}
	f, err := fleet.Start(ctx, fleet.Config{Programs: *programs, Clusters: *clusters, Keep: *keep, Logf: logf})
	if err != nil {
		return err
	}
	defer f.Stop()
	var results []*history.Result
	var failed int
	begin := time.Now()
	for i := range uint64(*n) {
		r, err := f.Play(ctx, *first+i, history.Profile(*profile))
		if err != nil {
			return err
		}
		logf("%s", r)
		if r.Failed() {
			failed++
			logf("again: go run ./e2e/chaos -seed %d -clusters %d", r.Seed, *clusters)
		}
		results = append(results, r)
	}
	summary := fleet.Summarize(results, time.Since(begin))
	logf("%s", summary)
	if *file != "" {
		if err := result.Write(map[string]any{"summary": summary, "results": results}, *file); err != nil {
			return fmt.Errorf("write results: %w", err)
		}
	}
	if failed > 0 {
		return errors.New(fmt.Sprint(failed, " histories broke a promise"))
	}
	return nil
}

func logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
}
