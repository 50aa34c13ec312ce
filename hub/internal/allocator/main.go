// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command allocator is one of several hubs that hand out at the same time, for e2e/chaos/ipam: the hub's own reader, planner, ledger and
// addresses, without the epoch that keeps all but one hub from working. Nothing but the ledgers keeps these apart.
//
// It is its own tenant, too: it asks for prefixes and addresses in a namespace of its own and gives them back, and writes a history of that.
// One that was killed and is started again reads its history, and looks up what has become of what it had begun.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/record"
	"github.com/tombolo-io/tombolo/hub/internal/controllers/address"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "allocator:", err)
		os.Exit(1)
	}
}

func run() error {
	var o options
	kubeconfig := flag.String("kubeconfig", "", "the hub's API server")
	path := flag.String("history", "", "file of the history")
	flag.StringVar(&o.name, "name", "a0", "name, and namespace of what it asks for")
	flag.Uint64Var(&o.seed, "seed", 1, "what is chosen at random")
	flag.IntVar(&o.prefixes, "prefixes", 2, "how many ask for prefixes at the same time")
	flag.IntVar(&o.singles, "singles", 1, "how many ask for single addresses at the same time")
	flag.IntVar(&o.keep, "keep", 12, "how much each of them has at most")
	flag.IntVar(&o.told, "told", 10, "percent of the prefixes that clusters are told of")
	flag.BoolVar(&o.settle, "settle", false, "ask for nothing: plan until nothing changes")
	flag.Parse()
	log.SetLogger(logr.Discard())
	ctx, end := context.WithCancelCause(context.Background())
	go func() { // whoever started this holds the other end
		_, _ = io.Copy(io.Discard, os.Stdin)
		end(errors.New("whoever started this has ended"))
	}()
	stop, cancel := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer cancel()
	return allocate(ctx, stop, *kubeconfig, *path, o)
}

// allocate asks until stop ends, and then ends what was begun.
func allocate(ctx, stop context.Context, kubeconfig, path string, o options) error {
	begun, err := readBegun(path)
	if err != nil {
		return err
	}
	history, err := record.Open(path)
	if err != nil {
		return err
	}
	mgr, err := newManager(kubeconfig)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- mgr.Start(ctx) }()
	p, err := newPlanner(ctx, mgr, o.name)
	if err != nil {
		return err
	}
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		return fmt.Errorf("fill cache: %w", <-failed)
	}
	if o.settle {
		return p.settle(ctx)
	}
	if err := history.Write(record.Began, o.name); err != nil {
		return err
	}
	t := &tenant{options: o, planner: p, history: history, client: mgr.GetClient(), addresses: address.NewAllocator(mgr.GetClient(), mgr.GetAPIReader())}
	return t.run(ctx, stop, begun)
}

// newManager is the hub's, without leadership.
func newManager(kubeconfig string) (manager.Manager, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	config.QPS = -1
	scheme := runtime.NewScheme()
	err = errors.Join(corev1.AddToScheme(scheme), clusterv1.Install(scheme), clusterv1beta1.Install(scheme), networkv1alpha1.AddToScheme(scheme), spokev1alpha1.AddToScheme(scheme))
	if err != nil {
		return nil, fmt.Errorf("register kinds: %w", err)
	}
	mgr, err := manager.New(config, manager.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:  cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
		Client: client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: new(true)}},
	})
	if err != nil {
		return nil, fmt.Errorf("make manager: %w", err)
	}
	return mgr, nil
}
