// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package options is what can be set on the command line of the hub: every flag in one struct, validated once.
package options

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tombolo-io/tombolo/charts/check"
	"github.com/tombolo-io/tombolo/hub/internal/uninstall"
)

// Options of the hub.
type Options struct {
	// Kubeconfig of the hub cluster. Empty: the service account of the pod.
	Kubeconfig string
	// MetricsBindAddress serves Prometheus metrics on /metrics. "0": nowhere.
	MetricsBindAddress string
	// HealthProbeBindAddress serves /healthz and /readyz. "0": nowhere.
	HealthProbeBindAddress string
	// LeaderElect: of several replicas one is at work.
	LeaderElect bool
	// LeaderElectionNamespace holds the lease.
	LeaderElectionNamespace string
	// LogLevel is debug, info, warn or error.
	LogLevel string
	// LogFormat is text or json.
	LogFormat string
	// KubeAPIQPS and KubeAPIBurst bound the requests per second to the API server.
	KubeAPIQPS   float32
	KubeAPIBurst int
	// AddOn: be an add-on of Open Cluster Management where the hub cluster has its API.
	AddOn bool
}

// Default options.
func Default() Options {
	return Options{
		MetricsBindAddress:      ":8080",
		HealthProbeBindAddress:  ":8081",
		LeaderElect:             true,
		LeaderElectionNamespace: "tombolo-system",
		LogLevel:                "info",
		LogFormat:               "text",
		KubeAPIQPS:              500,
		KubeAPIBurst:            1000,
		AddOn:                   true,
	}
}

const long = `tombolo-hub runs in the hub cluster, where Open Cluster Management keeps the fleet.

It reads what people wrote (Vpcs, Subnets, VpcPeerings, IPPools), decides everything that is to be decided, hands out
every address, and tells each cluster its part by LocalRouters and an InterconnectGateway in the cluster's namespace.
What the clusters answer is in the statuses of what people wrote. It opens no connection to any cluster.`

const example = `  # in the hub cluster, as the chart runs it
  tombolo-hub

  # from a workstation, with everything it does
  tombolo-hub --kubeconfig ~/.kube/config --leader-elect=false --log-level debug`

// Command is the command line of the hub. It calls run with valid options.
func Command(run func(*cobra.Command, Options) error) *cobra.Command {
	o := Default()
	cmd := &cobra.Command{
		Use:           "tombolo-hub",
		Short:         "Plan the network of a fleet of clusters",
		Long:          long,
		Example:       example,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Validate(); err != nil {
				return err
			}
			return run(cmd, o)
		},
	}
	o.bind(cmd)
	cmd.AddCommand(check.Command(), uninstall.Command())
	return cmd
}

func (o *Options) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "kubeconfig `file` of the hub cluster (default: the pod's service account)")
	f.BoolVar(&o.LeaderElect, "leader-elect", o.LeaderElect, "let one of several replicas be at work, the others wait")
	f.StringVar(&o.LeaderElectionNamespace, "leader-election-namespace", o.LeaderElectionNamespace, "`namespace` of the leader's lease")
	f.StringVar(&o.MetricsBindAddress, "metrics-bind-address", o.MetricsBindAddress, "`address` that serves Prometheus metrics on /metrics; 0 serves none")
	f.StringVar(&o.HealthProbeBindAddress, "health-probe-bind-address", o.HealthProbeBindAddress, "`address` that serves /healthz and /readyz; 0 serves none")
	f.BoolVar(&o.AddOn, "add-on", o.AddOn, "be an add-on of Open Cluster Management as soon as the hub cluster serves its API")
	f.StringVar(&o.LogLevel, "log-level", o.LogLevel, "least `level` that is logged: debug, info, warn or error")
	f.StringVar(&o.LogFormat, "log-format", o.LogFormat, "`format` of the log: text or json")
	f.Float32Var(&o.KubeAPIQPS, "kube-api-qps", o.KubeAPIQPS, "requests per second to the API server, on the average")
	f.IntVar(&o.KubeAPIBurst, "kube-api-burst", o.KubeAPIBurst, "requests to the API server at once, beyond the average")
}

// Validate says everything that is wrong with the options, at once.
func (o Options) Validate() error {
	var errs []error
	for flag, address := range map[string]string{
		"--metrics-bind-address":      o.MetricsBindAddress,
		"--health-probe-bind-address": o.HealthProbeBindAddress,
	} {
		if _, _, err := net.SplitHostPort(address); err != nil && address != "0" {
			errs = append(errs, fmt.Errorf("%s %q is no address: write host:port, :port, or 0 for none", flag, address))
		}
	}
	if o.LeaderElect && o.LeaderElectionNamespace == "" {
		errs = append(errs, errors.New("--leader-election-namespace is empty: name the namespace of the lease, or set --leader-elect=false"))
	}
	if _, ok := levels[o.LogLevel]; !ok {
		errs = append(errs, fmt.Errorf("--log-level %q is unknown: use debug, info, warn or error", o.LogLevel))
	}
	if !slices.Contains([]string{"text", "json"}, o.LogFormat) {
		errs = append(errs, fmt.Errorf("--log-format %q is unknown: use text or json", o.LogFormat))
	}
	if o.KubeAPIQPS <= 0 || float32(o.KubeAPIBurst) < o.KubeAPIQPS {
		errs = append(errs, fmt.Errorf("--kube-api-qps %v and --kube-api-burst %d don't go together: use qps > 0 and burst >= qps", o.KubeAPIQPS, o.KubeAPIBurst))
	}
	return errors.Join(errs...)
}
