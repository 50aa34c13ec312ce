// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/gateway"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/lazy"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
)

var (
	flowLabels       = []string{"vpc", "remote_vpc", "cluster", "direction", "path"}
	relayLabels      = []string{"vni", "from", "to"}
	packetsDesc      = prometheus.NewDesc("tombolo_fastpath_packets_total", "Packets between a Vpc here and one in another cluster; each segment of a super-packet counts.", flowLabels, nil)
	bytesDesc        = prometheus.NewDesc("tombolo_fastpath_bytes_total", "Bytes of the inner IPv4 packets.", flowLabels, nil)
	relayPacketsDesc = prometheus.NewDesc("tombolo_fastpath_relayed_packets_total", "Packets that passed this node from one cluster to another.", relayLabels, nil)
	relayBytesDesc   = prometheus.NewDesc("tombolo_fastpath_relayed_bytes_total", "Bytes of their inner IPv4 packets.", relayLabels, nil)
	lookupsDesc      = prometheus.NewDesc("tombolo_fastpath_lookups_total", "Longest-prefix matches, by whether the cache had the answer.", []string{"cache"}, nil)
	dropsDesc        = prometheus.NewDesc("tombolo_fastpath_drops_total", "Packets that the fast path dropped, by reason.", []string{"reason"}, nil)
	slowDesc         = prometheus.NewDesc("tombolo_fastpath_slow_total", "Packets that the fast path left to the kernel, by reason.", []string{"reason"}, nil)
	podsDesc         = prometheus.NewDesc("tombolo_fastpath_pods", "Pods of this node that send to other clusters by themselves.", nil, nil)
	slowUpDesc       = prometheus.NewDesc("tombolo_slowpath_up", "1 while the kernel's slow path is as it should be.", nil, nil)

	conditionDesc = prometheus.NewDesc("tombolo_condition", "1 while a condition of this gateway node is True, 0 while it is not; its reason as in InterconnectGateway.status.gateways.", []string{"type", "reason"}, nil)

	probeLabels   = []string{"vpc", "remote_vpc", "cluster"}
	rttDesc       = prometheus.NewDesc("tombolo_probe_rtt_seconds", "Round trip of the newest answered probe of a remote router.", probeLabels, nil)
	reachableDesc = prometheus.NewDesc("tombolo_probe_reachable", "1 while probes of a remote router are answered.", probeLabels, nil)
)

var (
	tunnelLabels   = []string{"cluster", "node"}
	tunnelLossDesc = prometheus.NewDesc("tombolo_tunnel_loss_ratio", "Part of the last minute's echoes to another cluster's gateway that were lost.", tunnelLabels, nil)
	tunnelMTUDesc  = prometheus.NewDesc("tombolo_tunnel_path_mtu_bytes", "Largest encapsulated IPv4 packet that passes to another cluster's gateway and back.", tunnelLabels, nil)
	tunnelUpDesc   = prometheus.NewDesc("tombolo_tunnel_reachable", "1 while another cluster's gateway answers echoes.", tunnelLabels, nil)
	tunnelRTT      = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tombolo_tunnel_rtt_seconds", Help: "Round trips of echoes to another cluster's gateway, through the tunnel.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
	}, tunnelLabels)
)

// ObserveRTT counts a round trip of an echo.
func ObserveRTT(t tunnelprobe.Target, rtt time.Duration) {
	tunnelRTT.WithLabelValues(t.Cluster, t.Node).Observe(rtt.Seconds())
}

// metrics reads the kernel's counters and the prober's results when they are scraped.
type metrics struct {
	fastpath *lazy.Value[Fastpath]
	prober   Prober
	echoes   Echoes

	mu     sync.Mutex
	echoed map[[2]string]bool  // cluster and node of the targets of echoes
	labels map[string][]string // of the probe with that key
	slowUp float64             // 1 or 0
	pods   int
	// conditions of this node.
	conditions []metav1.Condition
}

func newMetrics(o Options) *metrics {
	return &metrics{fastpath: o.Fastpath, prober: o.Prober, echoes: o.Echoes}
}

func (m *metrics) register() error {
	if err := errors.Join(ctrlmetrics.Registry.Register(m), ctrlmetrics.Registry.Register(tunnelRTT)); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// describe names the probes of ports.
func (m *metrics) describe(ports []gateway.Port) {
	labels := map[string][]string{}
	for _, port := range ports {
		for _, p := range port.Probes {
			labels[p.Key] = []string{port.Fastpath.Vpc, p.Vpc, p.Cluster}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.labels = labels
}

// describeEchoes forgets the round trips to what is no target any more.
func (m *metrics) describeEchoes(targets []tunnelprobe.Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.echoed
	m.echoed = map[[2]string]bool{}
	for _, t := range targets {
		m.echoed[[2]string{t.Cluster, t.Node}] = true
	}
	for labels := range before {
		if !m.echoed[labels] {
			tunnelRTT.DeleteLabelValues(labels[0], labels[1])
		}
	}
}

func (m *metrics) collectEchoes(ch chan<- prometheus.Metric) {
	for _, r := range m.echoes.Results() {
		reachable := 0.0
		if r.Reachable {
			reachable = 1
		}
		ch <- prometheus.MustNewConstMetric(tunnelUpDesc, prometheus.GaugeValue, reachable, r.Cluster, r.Node)
		ch <- prometheus.MustNewConstMetric(tunnelLossDesc, prometheus.GaugeValue, r.Loss, r.Cluster, r.Node)
		if r.PathMTU != 0 {
			ch <- prometheus.MustNewConstMetric(tunnelMTUDesc, prometheus.GaugeValue, float64(r.PathMTU), r.Cluster, r.Node)
		}
	}
}

// describeSlowPath says whether the slow path is there.
func (m *metrics) describeSlowPath(up bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.slowUp = 0
	if up {
		m.slowUp = 1
	}
}

// describeConditions says what the node can and can't do.
func (m *metrics) describeConditions(conditions []metav1.Condition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conditions = conditions
}

func (m *metrics) collectConditions(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	conditions := m.conditions
	m.mu.Unlock()
	for _, c := range conditions {
		value := 0.0
		if c.Status == metav1.ConditionTrue {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(conditionDesc, prometheus.GaugeValue, value, c.Type, c.Reason)
	}
}

// describePods says how many pods send by themselves.
func (m *metrics) describePods(pods int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pods = pods
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{packetsDesc, bytesDesc, dropsDesc, slowDesc, slowUpDesc, podsDesc, relayPacketsDesc, relayBytesDesc, lookupsDesc, conditionDesc, rttDesc, reachableDesc,
		tunnelUpDesc, tunnelLossDesc, tunnelMTUDesc} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.collectProbes(ch)
	m.collectConditions(ch)
	m.collectEchoes(ch)
	programs, open := m.fastpath.Peek()
	if !open {
		return // no gateway
	}
	counters, err := programs.Counters()
	if err != nil {
		log.Log.Error(err, "Read counters of the fast path")
		return
	}
	for _, f := range counters.Flows {
		labels := []string{vpcLabel(f.Vpc, f.VNI), vpcLabel(f.RemoteVpc, f.RemoteVNI), f.Cluster, f.Direction, f.Path}
		ch <- prometheus.MustNewConstMetric(packetsDesc, prometheus.CounterValue, float64(f.Packets), labels...)
		ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(f.Bytes), labels...)
	}
	for reason, packets := range counters.Drops {
		ch <- prometheus.MustNewConstMetric(dropsDesc, prometheus.CounterValue, float64(packets), reason)
	}
	for reason, packets := range counters.Slow {
		ch <- prometheus.MustNewConstMetric(slowDesc, prometheus.CounterValue, float64(packets), reason)
	}
	m.mu.Lock()
	slowUp, pods := m.slowUp, m.pods
	m.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(podsDesc, prometheus.GaugeValue, float64(pods))
	ch <- prometheus.MustNewConstMetric(slowUpDesc, prometheus.GaugeValue, slowUp)
	collectTransit(programs, ch)
}

// collectTransit tells what passed the node, and what the cache was worth.
func collectTransit(programs Fastpath, ch chan<- prometheus.Metric) {
	relays, err := programs.RelayCounters()
	if err != nil {
		log.Log.Error(err, "Read relay counters of the fast path")
	}
	for _, r := range relays {
		labels := []string{strconv.FormatUint(uint64(r.VNI), 10), r.From, r.To}
		ch <- prometheus.MustNewConstMetric(relayPacketsDesc, prometheus.CounterValue, float64(r.Packets), labels...)
		ch <- prometheus.MustNewConstMetric(relayBytesDesc, prometheus.CounterValue, float64(r.Bytes), labels...)
	}
	hits, misses, err := programs.Lookups()
	if err != nil {
		log.Log.Error(err, "Read lookup counters of the fast path")
		return
	}
	ch <- prometheus.MustNewConstMetric(lookupsDesc, prometheus.CounterValue, float64(hits), "hit")
	ch <- prometheus.MustNewConstMetric(lookupsDesc, prometheus.CounterValue, float64(misses), "miss")
}

// vpcLabel is never empty: two flows of the same labels, such as those of two Vpcs whose names nobody has told yet, would
// fail the whole scrape, and every other metric with it.
func vpcLabel(name string, vni uint32) string { return cmp.Or(name, fmt.Sprintf("vni-%d", vni)) }

func (m *metrics) collectProbes(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	labels := m.labels
	m.mu.Unlock()
	for _, result := range m.prober.Results() {
		names, ok := labels[result.Key]
		if !ok {
			continue
		}
		reachable := 0.0
		if result.Reachable {
			reachable = 1
			ch <- prometheus.MustNewConstMetric(rttDesc, prometheus.GaugeValue, result.RTT.Seconds(), names...)
		}
		ch <- prometheus.MustNewConstMetric(reachableDesc, prometheus.GaugeValue, reachable, names...)
	}
}
