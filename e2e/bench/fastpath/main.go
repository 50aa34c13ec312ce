// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command fastpath measures packets between clusters: the product beside kernel
// routing, kernel VXLAN and others, on the same machine, in the same minutes, each
// in network namespaces of its own.
//
//	topology  pods, gateways, and what carries packets between them
//	load      what pods send to each other, and what CPU time it takes
//	frames    what a gateway costs per packet
//	tunnel    wireguard-go, which carries packets in user space
//	measure   rounds, and ratios of what the same round has given
//	gate      what may not be given up for speed
//	report    JSON, text, a drawing, floors
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/load"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/measure"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/report"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/topology"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/tunnel"
)

// full and short are the two lengths of a run.
var (
	full  = options{rounds: 9, sparse: 1, attempts: 1, frames: 20_000, swaps: 40, duration: 400 * time.Millisecond, patience: time.Hour}
	short = options{rounds: 5, sparse: 5, attempts: 1, frames: 20_000, swaps: 40, duration: 100 * time.Millisecond, patience: 3 * time.Minute}
)

func main() {
	if served, err := serve(os.Args[1:]); served {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	jsonFile := flag.String("json", "", "file to write the whole report to")
	svgFile := flag.String("svg", "", "file to draw the medians into")
	docs := flag.String("docs", "", "document to write the ratios into; the drawing goes beside it")
	from := flag.String("from", "", "file that -json wrote: nothing is measured")
	floors := flag.Bool("floors", false, "exit with 1 when a ratio is below its floor, or a gate is not passed, and say which")
	isShort := flag.Bool("short", false, "fewer and shorter rounds: less than two minutes")
	rounds := flag.Int("rounds", 0, "number of rounds; 0 is 9, or 5 with -short")
	cpu := flag.Int("cpu", runtime.NumCPU()-1, "the core that all loads run on")
	only := flag.String("run", "", "regular expressions: only measures (and gates) whose names begin so, /, only variants whose names begin so")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	o := full
	if *isShort {
		o = short
	}
	o.cpu, o.says = *cpu, "make bench-fastpath"
	if *floors {
		o.attempts = 4
	}
	if *rounds > 0 {
		o.rounds = *rounds
	}
	if *isShort {
		o.says += fmt.Sprintf(" BENCHFLAGS='-short -rounds %d'", o.rounds)
	}
	var r *report.Report
	var err error
	if *from != "" {
		r, err = report.Read(*from)
	} else {
		r, err = run(ctx, o, *only)
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("interrupted: %w", err)
	}
	if err == nil {
		err = write(r, *jsonFile, *svgFile)
	}
	if err == nil && *docs != "" {
		err = r.WriteDocs(*docs)
	}
	if err == nil && *floors {
		if below := r.Below(); len(below) > 0 {
			err = errors.New("below the floors:\n" + strings.Join(below, "\n"))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fastpath:", err)
		os.Exit(1)
	}
}

// serve does the work of a process that this one has started, if args say that this is one.
func serve(args []string) (served bool, err error) {
	switch {
	case load.Asked(args):
		return true, load.Serve(os.Stdin, os.Stdout)
	case tunnel.Asked(args):
		return true, tunnel.Serve(os.Stdin, os.Stdout)
	}
	return false, nil
}

func run(ctx context.Context, o options, only string) (r *report.Report, err error) {
	r = report.New(o.rounds)
	r.Busy, r.Command = o.busy, o.says
	only, variant, _ := strings.Cut(only, "/")
	if o.only, err = regexp.Compile("^(?:" + only + ")"); err != nil {
		return r, fmt.Errorf("flag -run: %w", err)
	}
	if o.variant, err = regexp.Compile("^(?:" + variant + ")"); err != nil {
		return r, fmt.Errorf("flag -run: %w", err)
	}
	progress("building")
	ground, err := topology.Break(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, ground.Remove()) }()
	s, err := build(ctx, o)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	table, err := measure.Rounds(ctx, o.rounds, s.tasks, s.thread, func(round int) { progress("round %d of %d", round+1, o.rounds) })
	if err != nil {
		return r, err
	}
	progress("gates")
	gates, err := s.gates(ctx)
	if err != nil {
		return r, err
	}
	r.Fill(table, gates, s.realTime)
	err = s.again(ctx, r)
	r.End()
	return r, err
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "fastpath: "+format+"\n", args...) }

func write(r *report.Report, jsonFile, svgFile string) error {
	fmt.Print(r)
	var errs []error
	if jsonFile != "" {
		errs = append(errs, r.WriteJSON(jsonFile))
	}
	if svgFile != "" {
		errs = append(errs, r.WriteSVG(svgFile))
	}
	return errors.Join(errs...)
}
