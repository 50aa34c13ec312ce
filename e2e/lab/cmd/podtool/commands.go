// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab/probe"
)

func ping(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("ping", flag.ContinueOnError)
	o := probe.PingOptions{}
	fs.IntVar(&o.Count, "c", 5, "number of requests; 0 until interrupted")
	fs.DurationVar(&o.Interval, "i", 50*time.Millisecond, "time between two requests")
	fs.DurationVar(&o.Wait, "W", time.Second, "how long to wait after the last request")
	fs.IntVar(&o.Size, "s", 56, "payload `bytes`")
	fs.BoolVar(&o.DF, "df", false, "forbid fragments")
	quiet := fs.Bool("q", false, "print the summary only")
	asJSON := fs.Bool("json", false, "print a probe.PingReport")
	target, err := parseOne(fs, args, "address")
	if err != nil {
		return err
	}
	if o.Address, err = netip.ParseAddr(target); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	if !*quiet && !*asJSON {
		o.OnReply = printReply
	}
	report, err := probe.Ping(ctx, o)
	if err != nil {
		return err
	}
	if *asJSON {
		if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
			return err
		}
	} else {
		printSummary(report)
	}
	if report.Received == 0 {
		return errQuiet
	}
	return nil
}

func printReply(r probe.Reply) {
	if r.Error != "" {
		fmt.Printf("seq=%d from=%s %s\n", r.Seq, r.From, r.Error)
		return
	}
	fmt.Printf("seq=%d from=%s ttl=%d time=%s\n", r.Seq, r.From, r.TTL, r.RTT.Round(time.Microsecond))
}

func printSummary(r probe.PingReport) {
	fmt.Printf("%s: sent=%d received=%d lost=%d ttl=%d avg=%.3fms\n", r.Address, r.Sent, r.Received, r.Lost, r.TTL, r.AvgMS)
	if r.SendError != "" {
		fmt.Printf("%s: send: %s\n", r.Address, r.SendError)
	}
}

func tcp(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("tcp", flag.ContinueOnError)
	size := int64(1 << 20)
	fs.Func("bytes", "how much to send: a number, with K, M or G (1024s); default 1M", func(v string) (err error) {
		size, err = parseSize(v)
		return err
	})
	timeout := fs.Duration("timeout", 30*time.Second, "give up after this time")
	asJSON := fs.Bool("json", false, "print a probe.TCPReport")
	target, err := parseOne(fs, args, "address:port")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	report, err := probe.TCP(ctx, target, size)
	if err != nil {
		return fmt.Errorf("tcp %s: %w", target, err)
	}
	if *asJSON {
		if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
			return err
		}
	} else {
		fmt.Printf("%s: sent=%d echoed=%d match=%t sha256=%s %.1f Mbit/s\n",
			target, report.Bytes, report.Echoed, report.Match, report.SHA256, report.MbitPerSecond())
	}
	if !report.Match {
		return errQuiet
	}
	return nil
}

func rate(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("rate", flag.ContinueOnError)
	udp := fs.Bool("udp", false, "18 bytes by UDP instead of one by TCP")
	window := fs.Int("window", 1, "messages that are on their way at once")
	duration := fs.Duration("d", time.Second, "how long")
	asJSON := fs.Bool("json", false, "print a probe.RateReport")
	target, err := parseOne(fs, args, "address:port")
	if err != nil {
		return err
	}
	network := map[bool]string{false: "tcp", true: "udp"}[*udp]
	ctx, cancel := context.WithTimeout(ctx, *duration+30*time.Second)
	defer cancel()
	report, err := probe.Rate(ctx, network, target, max(*window, 1), *duration)
	if err != nil {
		return fmt.Errorf("rate %s: %w", target, err)
	}
	if *asJSON {
		return json.NewEncoder(os.Stdout).Encode(report)
	}
	fmt.Printf("%s: answered=%d lost=%d p50=%s p99=%s %.0f per second\n", target, report.Answered, report.Lost, report.P50, report.P99, report.PerSecond())
	return nil
}

// parseSize reads "512", "64K", "1M" or "2G".
func parseSize(v string) (int64, error) {
	digits := strings.TrimRight(v, "KMG")
	n, err := strconv.ParseInt(digits, 10, 64)
	shift, known := map[string]int{"": 0, "K": 10, "M": 20, "G": 30}[v[len(digits):]]
	if err != nil || !known || n < 0 || n > 1<<32 {
		return 0, fmt.Errorf("size %q: want a number such as 1500, 64K or 1M", v)
	}
	return n << shift, nil
}

// addr prints the first IPv4 address of eth0.
func addr(context.Context, []string) error {
	link, err := net.InterfaceByName("eth0")
	if err != nil {
		return fmt.Errorf("addr: eth0: %w", err)
	}
	addresses, err := link.Addrs()
	if err != nil {
		return fmt.Errorf("addr: eth0: %w", err)
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			fmt.Println(p.Addr())
			return nil
		}
	}
	return fmt.Errorf("addr: eth0 has no IPv4 address")
}
