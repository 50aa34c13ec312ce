// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package join is `kubectl tombolo join`: it invites a cluster into the fleet and prints the one command that makes it join.
package join

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/invitation"
)

const long = `Invite a cluster into the fleet without Open Cluster Management's agents.

On the hub this makes the ManagedCluster NAME, accepted, its namespace, and a token. It prints one helm command for the new
cluster, and nothing else, on standard output. The token is good for 15 minutes (--ttl) and for one certificate: whoever has the printed
command can join as NAME, until it was used or has expired. After that the values that hold it mean nothing and can stay.

A cluster that has joined is invited again by --again, for instance after its certificate expired while it was away. Another
cluster takes the place of a lost one of the same name by --replace; the lost one must not come back.`

const example = `  # print the command for the new cluster
  kubectl tombolo join east

  # run it there at once
  kubectl tombolo join east | KUBECONFIG=east.kubeconfig sh

  # for a hub that is reached by another address from there, with a label that Vpcs select by
  kubectl tombolo join east --server https://hub.example.com:6443 --label region=north

  # as values for a GitOps tool, in 30 minutes at the latest
  kubectl tombolo join east --ttl 30m -o yaml`

// defaultChart is where the chart is in a checkout of the release.
const defaultChart = "./charts/tombolo-spoke-agent"

// options of the command.
type options struct {
	name           string
	server, caFile string
	ttl            time.Duration
	labels         []string
	again, replace bool
	chart, output  string
	valuesFiles    []string
}

// Command is `kubectl tombolo join`.
func Command(streams genericiooptions.IOStreams, flags *genericclioptions.ConfigFlags) *cobra.Command {
	o := options{ttl: invitation.DefaultTTL, chart: defaultChart, output: outputCommand}
	cmd := &cobra.Command{
		Use: "join NAME", Short: "Invite a cluster, and print the command that makes it join", Long: long, Example: example,
		SilenceUsage: true, SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("got %d names: give one, the name of the cluster in the fleet: kubectl tombolo join NAME", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			if err := o.validate(); err != nil {
				return err
			}
			config, err := flags.ToRESTConfig()
			if err != nil {
				return fmt.Errorf("read kubeconfig of the hub: %w", err)
			}
			return run(cmd.Context(), o, config, streams)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.DurationVar(&o.ttl, "ttl", o.ttl, "how long the token is good, from 10m to 1h")
	f.StringVar(&o.server, "server", "", "`URL` of the hub's API server as the new cluster reaches it (default: the kubeconfig's)")
	f.StringVar(&o.caFile, "ca-file", "", "`file` with the CA certificates (PEM) of that server (default: the kubeconfig's)")
	f.StringArrayVar(&o.labels, "label", nil, "`key=value` for the ManagedCluster, which Vpcs select by; can be given several times")
	f.BoolVar(&o.again, "again", false, "invite a cluster that has joined before")
	f.BoolVar(&o.replace, "replace", false, "let another cluster take the place of one that is lost")
	f.StringVar(&o.chart, "chart", o.chart, "where helm finds the chart: a directory, an archive or a reference")
	f.StringArrayVar(&o.valuesFiles, "values", nil, "`file` with more values of the chart, for the printed command; can be given several times")
	f.StringVarP(&o.output, "output", "o", o.output, "what is printed: command, json or yaml")
	return cmd
}

func (o *options) validate() error {
	var errs []error
	if problems := validation.IsDNS1123Label(o.name); len(problems) > 0 {
		errs = append(errs, fmt.Errorf("NAME %q: %s", o.name, strings.Join(problems, "; ")))
	}
	if o.ttl < invitation.MinTTL || o.ttl > invitation.MaxTTL {
		errs = append(errs, fmt.Errorf("--ttl %s: give a time from %s to %s", o.ttl, invitation.MinTTL, invitation.MaxTTL))
	}
	if _, err := o.labelSet(); err != nil {
		errs = append(errs, err)
	}
	if o.server != "" {
		if u, err := url.Parse(o.server); err != nil || u.Scheme != "https" || u.Host == "" {
			errs = append(errs, fmt.Errorf("--server %q: give a URL such as https://hub.example.com:6443", o.server))
		}
	}
	if o.output != outputCommand && o.output != outputJSON && o.output != outputYAML {
		errs = append(errs, fmt.Errorf("--output %q: give command, json or yaml", o.output))
	}
	if o.chart == "" {
		errs = append(errs, errors.New("--chart is empty: give the chart's directory, archive or reference"))
	}
	return errors.Join(errs...)
}

func (o *options) labelSet() (labels.Set, error) {
	set := labels.Set{}
	for _, text := range o.labels {
		key, value, ok := strings.Cut(text, "=")
		problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...)
		if !ok || len(problems) > 0 {
			return nil, fmt.Errorf("--label %q: give key=value %s", text, strings.Join(problems, "; "))
		}
		set[key] = value
	}
	return set, nil
}

func run(ctx context.Context, o options, config *rest.Config, streams genericiooptions.IOStreams) error {
	hub, err := connect(config)
	if err != nil {
		return err
	}
	a, err := o.address(config)
	if err != nil {
		return err
	}
	for _, warning := range a.warnings() {
		fmt.Fprintln(streams.ErrOut, "warning:", warning)
	}
	if err := checkHub(ctx, hub); err != nil {
		return err
	}
	set, err := o.labelSet()
	if err != nil {
		return err
	}
	i := inviter{hub: hub, name: o.name, labels: set, again: o.again, replace: o.replace, say: func(format string, args ...any) { fmt.Fprintf(streams.ErrOut, format+"\n", args...) }}
	token, expires, err := i.invite(ctx, o.ttl)
	if err != nil {
		return err
	}
	return printer{chart: o.chart, format: o.output, valuesFiles: o.valuesFiles}.print(streams, values{
		ClusterName: o.name, Hub: hubValues{Bootstrap: bootstrapValues{Server: a.server, CAData: a.ca, Token: token}},
	}, expires)
}

func connect(config *rest.Config) (client.Client, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), clusterv1.Install(scheme), spokev1alpha1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("register kinds: %w", err)
	}
	hub, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to the hub %s: %w", config.Host, err)
	}
	return hub, nil
}

// address is how the new cluster reaches the hub.
type address struct {
	server string
	ca     []byte
	// serverName that the kubeconfig wants instead of the server's own.
	serverName string
}

func (o *options) address(config *rest.Config) (address, error) {
	a := address{server: o.server, ca: config.CAData, serverName: config.ServerName}
	if a.server == "" {
		a.server = config.Host
	}
	if u, err := url.Parse(a.server); err != nil || u.Scheme != "https" || u.Host == "" {
		return address{}, fmt.Errorf("server %q of the kubeconfig is no https URL: give --server https://HOST:PORT", a.server)
	}
	file := o.caFile
	if file == "" && len(a.ca) == 0 {
		file = config.CAFile
	}
	if file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return address{}, fmt.Errorf("read CA of the hub: %w", err)
		}
		a.ca = pem
	}
	if len(a.ca) == 0 && config.Insecure {
		return address{}, errors.New("the kubeconfig does not check the hub's certificate, and the new cluster must: give --ca-file")
	}
	return a, nil
}

// warnings are what will most likely keep the new cluster from reaching the hub.
func (a address) warnings() []string {
	var all []string
	u, err := url.Parse(a.server)
	if err != nil {
		return nil
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		all = append(all, fmt.Sprintf("server %s is this machine's own: give --server with the address that the new cluster reaches the hub by", a.server))
	}
	if a.serverName != "" {
		all = append(all, fmt.Sprintf("the kubeconfig takes %q for the hub's name; the new cluster takes %q: give --server with a name that is in the hub's certificate", a.serverName, u.Hostname()))
	}
	if len(a.ca) == 0 {
		all = append(all, "the kubeconfig has no CA for the hub: the new cluster will trust its image's own CAs, if there are any; give --ca-file")
	}
	return all
}
