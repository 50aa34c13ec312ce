// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command podtool is the only program of a test pod.
//
//	podtool serve                                  echo of TCP and UDP on :8080, for ever
//	podtool ping [-c N] [-i 50ms] [-W 1s] ADDR     ICMP echo; exit 1 when nothing came back
//	podtool tcp [-bytes 1M] ADDR:8080              random bytes there and back, compared
//	podtool rate [-udp] [-window 1] ADDR:8080      small messages there and back, as many as get through
//	podtool addr                                   the IPv4 address of eth0
//
// ping, tcp and rate take -json and then print a probe.PingReport, probe.TCPReport or probe.RateReport.
// Flags may stand before or after the address.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// errQuiet ends the program with 1 after it has said all there is to say.
var errQuiet = errors.New("no success")

var commands = map[string]func(ctx context.Context, args []string) error{
	"serve": serve,
	"ping":  ping,
	"tcp":   tcp,
	"rate":  rate,
	"addr":  addr,
}

func main() {
	name := ""
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	run := commands[name]
	if run == nil {
		fmt.Fprintf(os.Stderr, "podtool: command %q: want serve, ping, tcp, rate or addr\n", name)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[2:]); err != nil {
		if !errors.Is(err, errQuiet) {
			fmt.Fprintln(os.Stderr, "podtool:", err)
		}
		os.Exit(1)
	}
}

// parseOne parses flags around exactly one argument, which package flag alone
// would take for the end of the flags.
func parseOne(fs *flag.FlagSet, args []string, what string) (string, error) {
	var rest []string
	for {
		if err := fs.Parse(args); err != nil {
			return "", err
		}
		if fs.NArg() == 0 {
			break
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
	if len(rest) != 1 {
		return "", fmt.Errorf("%s: want one %s, have %d arguments", fs.Name(), what, len(rest))
	}
	return rest[0], nil
}
