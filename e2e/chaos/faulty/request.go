// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package faulty

import (
	"net/http"
	"strings"
)

// query is what a request asks for.
type query struct {
	// verb is list, get, watch or write.
	verb     string
	resource string
	// initial is true for a watch that begins with all objects.
	initial bool
}

// parse reads method and path as kube-apiserver does.
func parse(r *http.Request) query {
	q := query{}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		parts = parts[3:]
	default:
		q.verb = "discovery"
		return q
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	q.resource = parts[0]
	switch {
	case r.Method != http.MethodGet:
		q.verb = "write"
	case r.URL.Query().Get("watch") == "true" || r.URL.Query().Get("watch") == "1":
		q.verb = "watch"
		if q.initial = r.URL.Query().Get("sendInitialEvents") == "true"; q.initial {
			q.verb = "list"
		}
	case len(parts) > 1:
		q.verb = "get"
	default:
		q.verb = "list"
	}
	return q
}

func (f *Fault) matches(q query) bool {
	if f.Resource == "" && (q.resource == "events" || q.resource == "leases" || q.verb == "discovery") {
		return false
	}
	return (f.Resource == "" || f.Resource == q.resource) && (f.Verb == "" || f.Verb == q.verb)
}
