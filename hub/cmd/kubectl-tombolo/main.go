// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command kubectl-tombolo is a plugin of kubectl: `kubectl tombolo …`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tombolo-io/tombolo/hub/internal/cli"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

// Exit codes, beside 0.
const (
	exitFailed  = 1
	exitNotWell = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := cli.Command(genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}).ExecuteContext(ctx)
	stop()
	switch {
	case errors.Is(err, terminal.ErrNotWell):
		os.Exit(exitNotWell)
	case err != nil:
		fmt.Fprintln(os.Stderr, "tombolo:", err)
		os.Exit(exitFailed)
	}
}
