// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var hubConnected = prometheus.NewGauge(prometheus.GaugeOpts{
	Name: "tombolo_agent_hub_connected",
	Help: "1 while the hub answers, 0 while it is away. Away, the cluster goes on with its copies.",
})

// offerMetrics is called by the one who talks to the hub: a node's agent, or a replica that waits for its turn, would say
// that the hub is away.
var offerMetrics = sync.OnceFunc(func() { metrics.Registry.MustRegister(hubConnected) })

// connection is whether the hub answers, as seen by every request that the agent sends anyway.
type connection struct {
	log logr.Logger

	mu        sync.Mutex
	connected bool
	told      bool // a state was logged
}

// up is true when the last request was answered.
func (c *connection) up() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected
}

// set notes the outcome of a request, and logs it when it is news.
func (c *connection) set(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	connected := err == nil
	if c.told && connected == c.connected {
		return
	}
	c.connected, c.told = connected, true
	if connected {
		hubConnected.Set(1)
		c.log.Info("The hub answers")
		return
	}
	hubConnected.Set(0)
	c.log.Info("The hub does not answer: the cluster goes on with its copies", "error", err.Error())
}

// watch makes every request with config tell c its outcome.
func (c *connection) watch(config *rest.Config) {
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &observed{next: next, connection: c} })
}

type observed struct {
	next       http.RoundTripper
	connection *connection
}

func (o *observed) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := o.next.RoundTrip(request)
	switch {
	case errors.Is(err, context.Canceled): // ours, not the hub's
	case err != nil:
		o.connection.set(err)
	case response.StatusCode == http.StatusUnauthorized:
		o.connection.set(fmt.Errorf("the hub refuses the agent's identity (%s): join anew, or, with OCM's agents, look at the registration of the add-on", response.Status))
	default:
		o.connection.set(nil)
	}
	return response, err
}
