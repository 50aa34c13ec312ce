// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tombolo-io/tombolo/apis/version"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
)

const long = `Put what a bug report needs into one archive: objects of Tombolo and what of Open Cluster Management concerns it, nodes, events, the agents'
pods with their logs (also from before a restart), what status and diagnose say, and a manifest of what is in it and what could not be read.

Give the hub and the clusters concerned, by their contexts, to have all of it in one file.

Secrets stay out. Their data is not collected, and tokens, passwords, kubeconfigs and private keys are taken out of logs, variables and annotations.
Names of namespaces, pods and nodes, and addresses, are in the archive: look at it before you publish it.`

const example = `  kubectl tombolo gather                                   # tombolo-gather-TIME.tar.gz, of the current context
  kubectl tombolo gather --contexts hub,east,west -o bug.tar.gz
  kubectl tombolo gather --context east --maps --flows 10s # with the nodes' eBPF maps, and ten seconds of flow records`

type options struct {
	output   string
	contexts []string
	maps     bool
	flows    time.Duration
	lines    int64
	bytes    int
}

// Command is `kubectl tombolo gather`. Contexts completes names of contexts.
func Command(streams genericiooptions.IOStreams, flags *genericclioptions.ConfigFlags, contexts cobra.CompletionFunc) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "gather", Short: "Put what a bug report needs into one archive, without secrets", Long: long, Example: example, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), streams, flags) },
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "`file` to write, or - for standard output (default tombolo-gather-TIME.tar.gz)")
	cmd.Flags().StringSliceVar(&o.contexts, "contexts", nil, "`contexts` of the kubeconfig to gather from (default: the current one)")
	cmd.Flags().BoolVar(&o.maps, "maps", false, "run tombolo-agent dump in each node's agent: what its eBPF maps hold")
	cmd.Flags().DurationVar(&o.flows, "flows", 0, "run tombolo-agent flows in each node's agent for so long, at most 1m")
	cmd.Flags().Int64Var(&o.lines, "log-lines", 20000, "how many lines of each log, the last ones")
	cmd.Flags().IntVar(&o.bytes, "log-bytes", 5<<20, "how many bytes of each log, the last ones")
	if err := cmd.RegisterFlagCompletionFunc("contexts", contexts); err != nil {
		panic(err) // the flag is three lines above
	}
	return cmd
}

func (o *options) validate() error {
	switch {
	case o.flows < 0 || o.flows > maxFlows:
		return fmt.Errorf("--flows %s is not between 0 and %s", o.flows, maxFlows)
	case o.lines <= 0:
		return fmt.Errorf("--log-lines %d is not positive", o.lines)
	case o.bytes <= 0:
		return fmt.Errorf("--log-bytes %d is not positive", o.bytes)
	}
	return nil
}

func (o *options) run(ctx context.Context, streams genericiooptions.IOStreams, flags *genericclioptions.ConfigFlags) error {
	if err := o.validate(); err != nil {
		return err
	}
	now := time.Now().UTC()
	root := "tombolo-gather-" + now.Format("20060102-150405")
	if o.output == "-" {
		return o.gather(ctx, streams, flags, streams.Out, root, now)
	}
	file := o.output
	if file == "" {
		file = root + ".tar.gz"
	}
	if err := o.write(ctx, streams, flags, file, root, now); err != nil {
		return err
	}
	fmt.Fprintln(streams.Out, file)
	return nil
}

// write makes the file whole or not at all.
func (o *options) write(ctx context.Context, streams genericiooptions.IOStreams, flags *genericclioptions.ConfigFlags, file, root string, now time.Time) error {
	partial, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return fmt.Errorf("make archive: %w", err)
	}
	defer os.Remove(partial.Name())
	defer partial.Close()
	if err := o.gather(ctx, streams, flags, partial, root, now); err != nil {
		return err
	}
	if err := partial.Close(); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	if err := os.Rename(partial.Name(), file); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}

// gather from each context. One that does not answer is noted; it is an error when none does.
func (o *options) gather(ctx context.Context, streams genericiooptions.IOStreams, flags *genericclioptions.ConfigFlags, out io.Writer, root string, now time.Time) error {
	a := newArchive(out, root, version.Version, now)
	contexts := o.contexts
	if len(contexts) == 0 {
		contexts = []string{*flags.Context}
	}
	var errs []error
	for i, name := range contexts {
		source, err := o.from(ctx, streams, withContext(flags, name), a, i)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(streams.ErrOut, "tombolo: %s: %v\n", name, err)
			errs = append(errs, err)
			source.Unread = append(source.Unread, facts.Unread{What: "the cluster", Why: Scrub(err.Error())})
		}
		for _, unread := range source.Unread {
			fmt.Fprintf(streams.ErrOut, "tombolo: %s: %s could not be read: %s\n", source.Context, unread.What, unread.Why)
		}
		a.manifest.Clusters = append(a.manifest.Clusters, source)
	}
	if len(errs) == len(contexts) {
		return errors.Join(errs...)
	}
	return a.close()
}

func (o *options) from(ctx context.Context, streams genericiooptions.IOStreams, flags *genericclioptions.ConfigFlags, a *archive, i int) (Source, error) {
	source := Source{Context: *flags.Context}
	connection, err := facts.Connect(flags)
	if err != nil {
		return source, err
	}
	source.Context = connection.Context
	progress := func(what string) { fmt.Fprintf(streams.ErrOut, "tombolo: %s: %s\n", connection.Context, what) }
	c, err := newCollector(*o, connection, a, directory(connection.Context, i), progress)
	if err != nil {
		return source, err
	}
	err = c.collect(ctx)
	return c.source, err
}

// unfit for the name of a directory.
var unfit = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// directory of a context's files. Its number tells contexts apart whose names differ only in what can't be in a file's name.
func directory(context string, i int) string {
	return fmt.Sprintf("%d-%s", i+1, unfit.ReplaceAllString(context, "_"))
}

// withContext are the same flags for another context. Nothing of one cluster's address or identity goes to another.
func withContext(flags *genericclioptions.ConfigFlags, name string) *genericclioptions.ConfigFlags {
	if name == *flags.Context {
		return flags
	}
	other := genericclioptions.NewConfigFlags(true)
	other.KubeConfig, other.Timeout, other.Namespace = flags.KubeConfig, flags.Timeout, flags.Namespace
	other.Impersonate, other.ImpersonateUID, other.ImpersonateGroup, other.ImpersonateUserExtra = flags.Impersonate, flags.ImpersonateUID, flags.ImpersonateGroup, flags.ImpersonateUserExtra
	other.Context = &name
	return other
}
