// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package forward carries TCP connections from the machine's own loopback into
// a network namespace, so that a user's kubectl or browser reaches the lab
// without a route or an interface of the machine being touched.
package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"time"
)

// dialTimeout bounds how long a client waits for a target that does not answer.
const dialTimeout = 5 * time.Second

// Dial opens a connection to the target.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Serve accepts connections and carries each to the address to, until ctx ends;
// it then closes all of them.
func Serve(ctx context.Context, l net.Listener, dial Dial, to string) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		from, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		all.Go(func() {
			if err := carry(ctx, from, dial, to); err != nil {
				log.Printf("%s to %s: %v", from.RemoteAddr(), to, err)
			}
		})
	}
}

// carry copies both directions until each has ended; one that ends is closed
// for writing only, so that the other may still answer.
func carry(ctx context.Context, from net.Conn, dial Dial, to string) error {
	defer from.Close()
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	target, err := dial(dialCtx, "tcp", to)
	if err != nil {
		return err
	}
	defer target.Close()
	defer context.AfterFunc(ctx, func() {
		_ = from.Close()
		_ = target.Close()
	})()
	results := make(chan error, 2)
	go func() { results <- copyHalf(target, from) }()
	go func() { results <- copyHalf(from, target) }()
	return errors.Join(<-results, <-results)
}

func copyHalf(dst, src net.Conn) error {
	_, err := io.Copy(dst, src)
	if half, ok := dst.(*net.TCPConn); ok {
		_ = half.CloseWrite() // it may be closed already
	}
	if err != nil {
		// The other direction would wait for a peer that is no longer there.
		_ = src.Close()
		_ = dst.Close()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
	}
	return err
}
