// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tombolo-io/tombolo/e2e/lab"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

func statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the lab's clusters, network namespaces and processes; fail when a process has died",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lab.Load(labDir(cmd))
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "CLUSTER\tNODE\tNAMESPACE\tADDRESS\tKUBECONFIG")
			for _, c := range l.Clusters() {
				fmt.Fprintf(w, "%s\t\t%s\t%s\t%s\n", c.Name, c.NetNS, c.IP, c.Kubeconfig)
				for _, n := range c.Nodes {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t\n", c.Name, n.Name, n.NetNS, n.MgmtIP.Addr())
				}
			}
			dead := 0
			fmt.Fprintln(w, "\nPROCESS\tPID\tSTATE\tRSS\tLOG")
			for _, p := range l.Procs.List() {
				state := "running"
				if !p.Alive() {
					state = "DEAD"
					dead++
				}
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", p.Name(), p.PID(), state, rss(p), p.Log())
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if dead > 0 {
				return fmt.Errorf("%d processes have died; their logs say why", dead)
			}
			return nil
		},
	}
}

// rss is the memory of a process, proc(5) VmRSS.
func rss(p *proc.Process) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil || !p.Alive() {
		return ""
	}
	_, after, found := strings.Cut(string(b), "VmRSS:")
	if !found {
		return ""
	}
	var kib int
	if _, err := fmt.Sscan(after, &kib); err != nil {
		return ""
	}
	return fmt.Sprintf("%d MiB", kib/1024)
}

func logsCommand() *cobra.Command {
	var lines int
	cmd := &cobra.Command{
		Use:   "logs PROCESS",
		Short: "Show the end of a process's log; lab status has the names",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Load(labDir(cmd))
			if err != nil {
				return err
			}
			for _, p := range l.Procs.List() {
				if p.Name() == args[0] {
					fmt.Fprintln(cmd.OutOrStdout(), p.Tail(lines))
					return nil
				}
			}
			return fmt.Errorf("process %q: the lab has none of that name; see lab status", args[0])
		},
	}
	cmd.Flags().IntVarP(&lines, "lines", "n", 50, "number of lines")
	return cmd
}

func kubectlCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "kubectl CLUSTER ARGUMENT...",
		Short:                 "Run kubectl as the admin of a cluster",
		DisableFlagsInUseLine: true,
		Args:                  cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Load(labDir(cmd))
			if err != nil {
				return err
			}
			c, err := l.Cluster(args[0])
			if err != nil {
				return err
			}
			command := append([]string{"kubectl", "--kubeconfig", c.Kubeconfig}, args[1:]...)
			err = syscall.Exec(l.Binaries.Path("kubectl"), command, os.Environ())
			return fmt.Errorf("run kubectl: %w", err)
		},
	}
	// What follows the cluster's name is kubectl's.
	cmd.Flags().SetInterspersed(false)
	return cmd
}
