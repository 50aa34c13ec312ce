// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// observer counts what the hub writes, by watching all of its kinds.
type observer struct {
	mu          sync.Mutex
	generations map[string]int64
	kinds       map[string]int
	stored      map[string]int
	last        time.Time
	// sent is what the hub had sent when it was asked last, by resource.
	sent  map[string]int
	fetch func(context.Context) (map[string]int, error)
}

// written is what the hub has written since a moment, by resource.
type written struct {
	// kinds are how many objects, and stored their bytes as JSON, those that were there before and managedFields included.
	kinds, stored map[string]int
	// sent are the bytes of the requests' bodies.
	sent map[string]int
}

func total(m map[string]int) int {
	n := 0
	for _, count := range m {
		n += count
	}
	return n
}

// kindsOf says which resources are watched, and whether the hub writes their spec; of the others it writes all but the spec.
var kindsOf = map[string]bool{
	"spoke.tombolo.io/v1alpha1/localrouters": true, "spoke.tombolo.io/v1alpha1/interconnectgateways": true,
	"network.tombolo.io/v1alpha1/vpcs": false, "network.tombolo.io/v1alpha1/subnets": false,
	"network.tombolo.io/v1alpha1/vpcpeerings": false, "network.tombolo.io/v1alpha1/ippools": false,
}

func (o *observer) run(ctx context.Context, s *servers) {
	o.generations, o.kinds, o.stored, o.last, o.fetch = map[string]int64{}, map[string]int{}, map[string]int{}, time.Now(), s.sent
	for resource, spec := range kindsOf {
		c, err := rest.HTTPClientFor(s.config)
		if err != nil {
			progress("observe %s: %v", resource, err)
			continue
		}
		w := &agent{cluster: "observer", client: c, server: s.config.Host, watches: 1}
		go w.watch(ctx, "/apis/"+resource, func(kind string, object json.RawMessage) error { return o.observe(resource, spec, kind, object) })
	}
}

func (o *observer) observe(resource string, spec bool, kind string, object json.RawMessage) error {
	var meta metav1.PartialObjectMetadata
	if err := json.Unmarshal(object, &meta); err != nil {
		return err
	}
	key := resource + "/" + meta.Namespace + "/" + meta.Name
	o.mu.Lock()
	defer o.mu.Unlock()
	old, known := o.generations[key]
	o.generations[key] = meta.Generation
	changed := !known || old != meta.Generation || kind == "DELETED"
	if changed != spec {
		return nil
	}
	name := resource[strings.LastIndexByte(resource, '/')+1:]
	o.kinds[name]++
	o.stored[name] += len(object)
	o.last = time.Now()
	return nil
}

// since gives what was written since the last call.
func (o *observer) since(ctx context.Context) (written, error) {
	sent, err := o.fetch(ctx)
	if err != nil {
		return written{}, fmt.Errorf("read what the hub has sent: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	w := written{o.kinds, o.stored, map[string]int{}}
	for resource, n := range sent {
		if n > o.sent[resource] {
			w.sent[resource] = n - o.sent[resource]
		}
	}
	o.kinds, o.stored, o.sent = map[string]int{}, map[string]int{}, sent
	return w, nil
}

// quiet waits until the hub has written nothing for a while.
func (o *observer) quiet(ctx context.Context) error {
	return retry(ctx, setupTimeout, func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if time.Since(o.last) < 3*time.Second {
			return fmt.Errorf("the hub still writes")
		}
		return nil
	})
}

// metricsAddress is where the hub tells what it counts.
const metricsAddress = "127.0.0.1:8080"

// notPlanned are written by the clock and for the reader, not for clusters.
var notPlanned = map[string]bool{"events": true, "leases": true}

// sent is what the hub says of the bytes that it has sent so far, by resource.
func (s *servers) sent(ctx context.Context) (map[string]int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+metricsAddress+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: &http.Transport{DialContext: netns.DialContext(namespace), DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	sent := map[string]int{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		line, is := strings.CutPrefix(lines.Text(), `tombolo_hub_write_bytes_total{resource="`)
		if !is {
			continue
		}
		resource, value, _ := strings.Cut(line, `"} `)
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, err
		}
		if !notPlanned[resource] {
			sent[resource] = int(n)
		}
	}
	return sent, lines.Err()
}
