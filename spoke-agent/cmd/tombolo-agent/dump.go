// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/controllers"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/options"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
)

// dumpTimeout bounds the reading of a database.
const dumpTimeout = 15 * time.Second

// runDump prints what the maps of this node, or the rows of a northbound database, hold.
func runDump(cmd *cobra.Command, o options.Dump) error {
	dump := dumpMaps
	if o.Northbound != "" {
		dump = dumpRows
	}
	text, err := dump(cmd.Context(), o)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), text)
	return err
}

func dumpMaps(_ context.Context, o options.Dump) (string, error) {
	programs, err := openPins(o.BPFFS)
	if err != nil {
		return "", err
	}
	defer programs.Close()
	return programs.Dump()
}

// openPins opens what the node's agent has pinned.
func openPins(bpffs string) (*fastpath.Fastpath, error) {
	pins := controllers.PinPath(bpffs)
	if _, err := os.Stat(pins); err != nil { // opening would make them
		return nil, fmt.Errorf("find maps: %w: is this node a gateway, or has it pods of Vpcs, and is --bpffs its bpf file system?", err)
	}
	return fastpath.Open(fastpath.Options{PinPath: pins, Logger: logr.Discard()})
}

func dumpRows(ctx context.Context, o options.Dump) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, dumpTimeout)
	defer cancel()
	nb, err := ovn.DialNorthbound(ctx, o.Northbound, logr.Discard())
	if err != nil {
		return "", err
	}
	defer nb.Close()
	return nb.Dump(ctx)
}
