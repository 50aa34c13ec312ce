// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/tombolo-io/tombolo/e2e/lab/probe"
)

// serve echoes TCP and UDP until SIGTERM. As PID 1 of its container it also reaps what
// commands executed in the container leave behind.
func serve(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	listen := fs.String("listen", ":8080", "address of the echo, by TCP and UDP")
	if err := fs.Parse(args); err != nil {
		return err
	}
	go reap()
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	datagrams, err := net.ListenPacket("udp", *listen)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	defer context.AfterFunc(ctx, func() { l.Close(); datagrams.Close() })()
	go func() { _ = probe.EchoUDP(datagrams) }() // until it is closed
	fmt.Println("echo on", l.Addr())
	if err := probe.Echo(l); ctx.Err() == nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// reap collects orphans; podtool itself starts no children, so it takes nobody's status.
func reap() {
	if os.Getpid() != 1 {
		return
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	for range ended {
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if err == syscall.EINTR {
				continue
			}
			if err != nil || pid <= 0 {
				break
			}
		}
	}
}
