// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"net/http"
	"strings"
)

// CountBytes wraps the way to the API server and counts what is written.
func CountBytes(next http.RoundTripper) http.RoundTripper { return countedBytes{next} }

type countedBytes struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (c countedBytes) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.ContentLength > 0 {
		WriteBytes.WithLabelValues(resource(request.URL.Path)).Add(float64(request.ContentLength))
	}
	return c.next.RoundTrip(request)
}

// resource of a request: /api/VERSION/… or /apis/GROUP/VERSION/…, then namespaces/NAME/ or not, then the resource.
func resource(path string) string {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	rest := parts[min(2, len(parts)):]
	if parts[0] == "apis" {
		rest = parts[min(3, len(parts)):]
	}
	if len(rest) > 2 && rest[0] == "namespaces" {
		rest = rest[2:]
	}
	if len(rest) == 0 {
		return "none"
	}
	return rest[0]
}
