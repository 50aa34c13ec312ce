// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command ipam lets eight allocators hand out of the same pools, kills one every few seconds, and says whether anything was given twice or lost.
//
//	go run ./e2e/chaos/ipam -n 1000000 -json FILE
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tombolo-io/tombolo/e2e/bench/result"
	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/fleet"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "ipam:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	c := fleet.Config{Logf: logf}
	flag.IntVar(&c.Operations, "n", 1_000_000, "how many operations")
	flag.DurationVar(&c.Limit, "limit", 24*time.Hour, "end after this time, whatever is done")
	flag.IntVar(&c.Allocators, "allocators", 8, "how many processes hand out")
	flag.Uint64Var(&c.Seed, "seed", uint64(time.Now().Unix()), "what is chosen at random")
	flag.DurationVar(&c.KillEvery, "kill-every", 5*time.Second, "how often a process is killed")
	file := flag.String("json", "", "write the result to this file (default: standard output)")
	keep := flag.String("keep", "", "keep the histories in this directory")
	flag.Parse()
	c.Args = flag.Args()
	c.Dir = *keep
	if c.Dir == "" {
		dir, err := os.MkdirTemp("", "ipam")
		if err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		defer os.RemoveAll(dir)
		c.Dir = dir
	}
	var err error
	if c.Program, err = fleet.Build(ctx, c.Dir, ""); err != nil {
		return err
	}
	r, err := fleet.Run(ctx, c)
	if err != nil {
		return err
	}
	if err := result.Write(r, *file); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	if r.Failed() {
		return fmt.Errorf("a promise was broken; again: go run ./e2e/chaos/ipam -seed %d", r.Seed)
	}
	return nil
}

func logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
}
