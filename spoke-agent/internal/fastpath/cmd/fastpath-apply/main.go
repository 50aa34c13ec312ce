// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command fastpath-apply sets the fast path of the network namespace that it runs
// in to the fastpath.Config that it reads as JSON, prints OK, and leaves it pinned.
// It is for benchmarks and for looking at the data path alone: the agent does the
// same from its LocalRouters, and no image has this command.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/go-logr/logr"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
)

func main() {
	pins := flag.String("pins", "", "directory in a bpffs that is this network namespace's")
	times := flag.Int("times", 1, "how often to open, set and close, as an agent that restarts")
	flag.Parse()
	if err := run(os.Stdin, *pins, *times); err != nil {
		fmt.Fprintln(os.Stderr, "fastpath-apply:", err)
		os.Exit(1)
	}
	fmt.Println("OK")
}

func run(in io.Reader, pins string, times int) error {
	var cfg fastpath.Config
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&cfg); err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	for range times {
		if err := apply(pins, cfg); err != nil {
			return err
		}
	}
	return nil
}

func apply(pins string, cfg fastpath.Config) error {
	f, err := fastpath.Open(fastpath.Options{PinPath: pins, Logger: logr.Discard()})
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Set(cfg)
}
