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
	a := parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := a.report(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("interrupted: %w", err)
	}
	if err == nil {
		err = a.write(r)
	}
	if err == nil && a.floors {
		if below := r.Below(); len(below) > 0 {
			err = errors.New("below the floors:\n" + strings.Join(below, "\n"))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fastpath:", err)
		os.Exit(1)
	}
}

// arguments of the command.
type arguments struct {
	options
	jsonFile, svgFile, docs, from, run string
	floors                             bool
}

func parse() arguments {
	a := arguments{}
	flag.StringVar(&a.jsonFile, "json", "", "file to write the whole report to")
	flag.StringVar(&a.svgFile, "svg", "", "file to draw the medians into")
	flag.StringVar(&a.docs, "docs", "", "document to write the ratios into; the drawing goes beside it")
	flag.StringVar(&a.from, "from", "", "file that -json wrote: nothing is measured")
	flag.BoolVar(&a.floors, "floors", false, "exit with 1 when a ratio is below its floor, or a gate is not passed, and say which")
	isShort := flag.Bool("short", false, "fewer and shorter rounds: less than two minutes")
	rounds := flag.Int("rounds", 0, "number of rounds; 0 is 9, or 5 with -short")
	cpu := flag.Int("cpu", runtime.NumCPU()-1, "the core that all loads run on")
	flag.StringVar(&a.run, "run", "", "regular expressions: only measures (and gates) whose names begin so, /, only variants whose names begin so")
	flag.Parse()
	a.options = full
	if *isShort {
		a.options = short
	}
	if *rounds > 0 {
		a.rounds = *rounds
	}
	a.says = fmt.Sprintf("make bench-fastpath BENCHFLAGS='-short=%t -rounds %d -floors=%t'", *isShort, a.rounds, a.floors)
	if a.floors {
		a.attempts = 4
	}
	a.cpu = *cpu
	return a
}

func (a arguments) report(ctx context.Context) (*report.Report, error) {
	if a.from != "" {
		return report.Read(a.from)
	}
	return run(ctx, a.options, a.run)
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

func (a arguments) write(r *report.Report) error {
	fmt.Print(r)
	var errs []error
	if a.jsonFile != "" {
		errs = append(errs, r.WriteJSON(a.jsonFile))
	}
	if a.svgFile != "" {
		errs = append(errs, r.WriteSVG(a.svgFile))
	}
	if a.docs != "" {
		errs = append(errs, r.WriteDocs(a.docs))
	}
	return errors.Join(errs...)
}
