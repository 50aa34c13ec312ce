// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package hubidentity

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	state = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tombolo_hub_identity",
		Help: "1 for what is the matter with the agent's identity on the hub; reason is Joined when nothing is.",
	}, []string{"reason"})
	expiry = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tombolo_hub_identity_expiry_timestamp_seconds",
		Help: "When the agent's certificate for the hub ends, in seconds since 1970.",
	})
	skewGauge = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tombolo_hub_clock_skew_seconds",
		Help: "How far the hub's clock is ahead of this cluster's, as seen when the agent last asked for a certificate.",
	})
)

// offerMetrics is called by the leader: another replica has no say.
var offerMetrics = sync.OnceFunc(func() { metrics.Registry.MustRegister(state, expiry, skewGauge) })

func observeState(reason string) {
	state.Reset()
	state.WithLabelValues(reason).Set(1)
}

func observeExpiry(at time.Time) { expiry.Set(float64(at.Unix())) }

// skewTold is how far clocks must be apart to be spoken of: a Date header has seconds, and an answer takes its time.
const skewTold = time.Minute

// skew is how far the hub's clock is ahead.
type skew struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (s *skew) get() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ahead
}

func (s *skew) set(ahead time.Duration) {
	if ahead.Abs() < skewTold {
		ahead = 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead = ahead
	skewGauge.Set(ahead.Seconds())
}

// dated takes the hub's time from its answers.
type dated struct {
	next http.RoundTripper
	skew *skew
}

// RoundTrip implements http.RoundTripper.
func (d *dated) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := d.next.RoundTrip(request)
	if err == nil {
		if date, parseErr := http.ParseTime(response.Header.Get("Date")); parseErr == nil {
			d.skew.set(time.Until(date))
		}
	}
	return response, err
}
