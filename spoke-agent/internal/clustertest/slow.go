// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package clustertest

import (
	"io"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
)

// SlowCache is config for a client whose watches, and so whose cache, show each change late by a delay, as on a busy machine. Writes and
// reads that don't go through a cache are as fast as ever.
func SlowCache(config *rest.Config, delay time.Duration) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			response, err := next.RoundTrip(request)
			if err == nil && request.URL.Query().Get("watch") != "" {
				response.Body = &slowBody{response.Body, delay}
			}
			return response, err
		})
	})
	return config
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

type slowBody struct {
	io.ReadCloser
	delay time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	time.Sleep(b.delay)
	return n, err
}
