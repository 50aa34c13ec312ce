// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package metrics is what the hub counts, on controller-runtime's registry.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	crmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	// PlanSeconds is how long the planner thinks, without reading and writing.
	PlanSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "tombolo_hub_plan_seconds",
		Help:    "Time that the planner took for one plan, without reading and writing.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10),
	})
	// Plans is how often the planner was asked.
	Plans = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tombolo_hub_plan_total",
		Help: "Plans made.",
	})
	// Writes counts every write to the hub's API server that succeeded.
	Writes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tombolo_hub_writes_total",
		Help: "Writes to the hub's API server that succeeded, by kind and verb.",
	}, []string{"kind", "verb"})
	// WriteBytes counts the bodies of requests that write, whether or not they succeed.
	WriteBytes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tombolo_hub_write_bytes_total",
		Help: "Bytes of the bodies of requests that write to the hub's API server, by resource.",
	}, []string{"resource"})
	// Objects is how many objects there are in each state, as of the newest plan.
	Objects = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tombolo_hub_objects",
		Help: "Objects by kind and state, as of the newest plan.",
	}, []string{"kind", "state"})
	// Frozen is 1 for the reason for which the hub holds something back.
	Frozen = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tombolo_hub_frozen",
		Help: "1 while the hub holds removals back (MassRemoval), or everything (WentBack, ForeignHub), until somebody confirms; by reason.",
	}, []string{"reason"})
	// PoolCapacity is what each IPPool has.
	PoolCapacity = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tombolo_hub_pool_capacity",
		Help: "Addresses, or VNIs, of an IPPool.",
	}, []string{"pool", "purpose"})
	// PoolAllocated includes what is in quarantine.
	PoolAllocated = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tombolo_hub_pool_allocated",
		Help: "Addresses, or VNIs, of an IPPool that are handed out, those in quarantine included.",
	}, []string{"pool", "purpose"})
	// PoolReleased counts entries, not addresses.
	PoolReleased = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tombolo_hub_pool_released",
		Help: "Entries of an IPPool whose owner is gone, and that wait for clusters to let go.",
	}, []string{"pool", "purpose"})
	// JoinRequests counts the answers to agents that ask for a certificate.
	JoinRequests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tombolo_hub_join_requests_total",
		Help: "CertificateSigningRequests of agents that were answered, by answer (Approved, Denied) and reason.",
	}, []string{"answer", "reason"})
	// AgentAlive is the condition AgentAlive of each cluster's InterconnectGateway.
	AgentAlive = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tombolo_hub_agent_alive",
		Help: "1 while the hub sees the cluster's agent renew its Lease, 0 when it has not for two minutes. Packets go on either way.",
	}, []string{"cluster"})
)

func init() {
	crmetrics.Registry.MustRegister(PlanSeconds, Plans, Writes, WriteBytes, Objects, PoolCapacity, PoolAllocated, PoolReleased, Frozen, JoinRequests, AgentAlive)
}
