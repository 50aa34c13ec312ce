// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command fleet measures the hub with a large fleet: a real etcd, kube-apiserver and tombolo-hub, and agents that are simulated but have an
// identity, a TLS connection and the watches of a real one each. It applies Vpcs and peerings, changes them at a steady rate, and measures how
// long it takes from the write until the last agent concerned has it.
//
// All of it shares one machine, so the agents' own work is in every figure. etcd does not sync its disk.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tombolo-io/tombolo/e2e/bench/result"
)

// options of a run.
type options struct {
	spokes, vpcs, peerings, span int
	rate                         float64
	duration, idle               time.Duration
	directory, outage            bool
	dir, out                     string
	large                        int
}

// report is what -json writes.
type report struct {
	Kernel string `json:"kernel"`
	CPUs   int    `json:"cpus"`
	// Load is the load average of the last minute before the run.
	Load      string  `json:"load"`
	Spokes    int     `json:"spokes"`
	Vpcs      int     `json:"vpcs"`
	Peerings  int     `json:"peerings"`
	Routers   int     `json:"routers"`
	Directory bool    `json:"directory"`
	Rate      float64 `json:"changes_per_second"`
	Changes   int     `json:"changes"`

	PropagationP50 float64 `json:"propagation_p50_ms"`
	PropagationP99 float64 `json:"propagation_p99_ms"`
	PropagationMax float64 `json:"propagation_max_ms"`
	// Unloaded is of changes one after the other.
	UnloadedP50 float64 `json:"unloaded_p50_ms"`
	UnloadedMax float64 `json:"unloaded_max_ms"`

	HubRSS       float64 `json:"hub_rss_mib"`
	APIServerRSS float64 `json:"apiserver_rss_mib"`
	HubIdleCPU   float64 `json:"hub_idle_cpu_cores"`
	// What the processes needed for each of the changes at the rate that was asked for.
	HubCPU       float64 `json:"hub_cpu_ms_per_change"`
	APIServerCPU float64 `json:"apiserver_cpu_ms_per_change"`
	// What the hub wrote, averaged over the changes one after the other: Bytes of its requests, Objects, and StoredBytes of these objects as JSON,
	// with all that was in them before.
	BytesPerChange       float64 `json:"bytes_written_per_change"`
	StoredBytesPerChange float64 `json:"stored_bytes_per_change"`
	ObjectsPerChange     float64 `json:"objects_written_per_change"`

	// Setup is from the first Vpc until every agent had all of its routers.
	SetupSeconds float64 `json:"setup_seconds"`

	Membership *membership `json:"membership,omitempty"`
	Large      *membership `json:"large_membership,omitempty"`
	Outage     *outage     `json:"outage,omitempty"`
}

// membership is the cost of one cluster more in a Vpc of that many.
type membership struct {
	Clusters int     `json:"clusters"`
	Took     float64 `json:"propagation_ms"`
	// Bytes of the hub's requests, Stored of the objects that it wrote, Objects of them.
	Bytes   int `json:"bytes_written"`
	Stored  int `json:"stored_bytes"`
	Objects int `json:"objects_written"`
	// Kinds, StoredBy and SentBy are the same by resource.
	Kinds    map[string]int `json:"objects_by_resource"`
	StoredBy map[string]int `json:"stored_bytes_by_resource"`
	SentBy   map[string]int `json:"bytes_by_resource"`
}

// outage is what happened after the apiserver had been killed and started again.
type outage struct {
	AllBack     float64 `json:"all_agents_watch_seconds"`
	UserChange  float64 `json:"user_change_seconds"`
	APIPeakRSS  float64 `json:"apiserver_peak_rss_mib"`
	ServerReady float64 `json:"apiserver_ready_seconds"`
}

func main() {
	var o options
	flag.IntVar(&o.spokes, "spokes", 500, "number of clusters")
	flag.IntVar(&o.vpcs, "vpcs", 1000, "number of Vpcs, at most 4096")
	flag.IntVar(&o.peerings, "peerings", 10000, "number of VpcPeerings")
	flag.IntVar(&o.span, "span", 1, "clusters that a Vpc is in")
	flag.Float64Var(&o.rate, "rate", 50, "changes per second")
	flag.DurationVar(&o.duration, "duration", 30*time.Second, "how long to change")
	flag.DurationVar(&o.idle, "idle", 20*time.Second, "how long to watch the hub do nothing")
	flag.BoolVar(&o.directory, "directory", true, "let agents watch the InterconnectGateways of all clusters, as real ones do: spokes x spokes objects at the start")
	flag.BoolVar(&o.outage, "outage", false, "kill the apiserver at the end, and measure the return")
	flag.IntVar(&o.large, "large", 0, "measure a change of the members of a Vpc of that many clusters, too")
	flag.StringVar(&o.dir, "dir", "/var/tmp/tombolo-fleet", "directory of the servers' files")
	flag.StringVar(&o.out, "json", "", "file to write the report to; standard output when empty")
	flag.Parse()
	ctrllog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := o.validate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (o options) validate() error {
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(o.spokes < 2 || o.spokes > 10000, "-spokes %d: give 2 to 10000", o.spokes)
	wrong(o.vpcs < 4 || o.vpcs > 4096, "-vpcs %d: give 4 to 4096", o.vpcs)
	wrong(o.span < 1 || o.span > o.spokes, "-span %d: give 1 to as many as there are spokes", o.span)
	wrong(o.peerings < 0 || o.peerings > o.vpcs*(o.vpcs-1)/4, "-peerings %d: give at most half of all pairs of Vpcs, %d", o.peerings, o.vpcs*(o.vpcs-1)/4)
	wrong(o.rate <= 0, "-rate %v: give more than 0", o.rate)
	wrong(o.large >= o.spokes, "-large %d: give fewer than there are spokes, for one more joins", o.large)
	return errors.Join(errs...)
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

func run(ctx context.Context, o options) error {
	r := report{Spokes: o.spokes, Vpcs: o.vpcs, Peerings: o.peerings, Directory: o.directory, Rate: o.rate, CPUs: runtime.NumCPU()}
	r.Kernel, r.Load = readLine("/proc/sys/kernel/osrelease"), readLine("/proc/loadavg")
	s, err := start(ctx, o)
	defer s.stop()
	if err != nil {
		return err
	}
	b := newBench(o, s)
	if err := b.populate(ctx, &r); err != nil {
		return err
	}
	for _, phase := range []func(context.Context, *report) error{b.rest, b.oneByOne, b.steady, b.member, b.restart} {
		if err := phase(ctx, &r); err != nil {
			return err
		}
	}
	return result.Write(r, o.out)
}

func readLine(path string) string {
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}
