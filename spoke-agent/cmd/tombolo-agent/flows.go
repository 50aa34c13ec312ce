// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/options"
)

// runFlows prints flow records as JSON lines, beside the agent that does the work.
func runFlows(cmd *cobra.Command, o options.Flows) error {
	programs, err := openPins(o.BPFFS)
	if err != nil {
		return err
	}
	defer programs.Close()
	ctx := cmd.Context()
	if !o.Follow {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Duration)
		defer cancel()
	}
	lines := json.NewEncoder(cmd.OutOrStdout())
	lost := uint64(0)
	err = programs.Records(ctx, fastpath.RecordOptions{Every: o.Sample, Drops: o.Drops, Lost: func(n uint64) { lost += n }}, func(r fastpath.Record) error {
		if o.Vpc != "" && o.Vpc != r.SrcVpc && o.Vpc != r.DstVpc {
			return nil
		}
		return lines.Encode(r)
	})
	if lost > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "tombolo-agent: %d records were lost: there was no room for them; ask for fewer with a larger --sample\n", lost)
	}
	return err
}
