// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package check is the sub-command that `helm test` runs: the images have no shell and no curl.
package check

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// again is how long a check waits before it asks once more.
const again = time.Second

// Command is the sub-command check of a program.
func Command() *cobra.Command {
	var address string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Ask for an URL until it answers with 200; helm test does",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if u, err := url.Parse(address); err != nil || u.Scheme != "http" || u.Host == "" || strings.Contains(u.Host, "$") {
				return fmt.Errorf("--url %q: give http://HOST:PORT/PATH, such as http://tombolo-hub:8081/readyz", address)
			}
			if timeout <= 0 {
				return fmt.Errorf("--timeout %s: give a time such as 30s", timeout)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := until(ctx, address); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), address, "answers with 200")
			return err
		},
	}
	cmd.Flags().StringVar(&address, "url", "", "`URL` that is to answer with 200 (required)")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "`time` that it may take")
	return cmd
}

func until(ctx context.Context, address string) error {
	for {
		err := ask(ctx, address)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(again):
		}
	}
}

func ask(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask %s: %w", address, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1024))
		return fmt.Errorf("ask %s: answer is %s: %s", address, response.Status, strings.TrimSpace(string(text)))
	}
	return nil
}
