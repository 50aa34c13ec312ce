// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tombolo-io/tombolo/charts/check"
)

func TestCommand(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" || asked.Add(1) == 1 {
			http.Error(w, "not yet", http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	for name, test := range map[string]struct {
		reason string
		args   []string
		says   string
		fail   bool
	}{
		"Ready":     {reason: "the second answer is good", args: []string{"--url=" + server.URL + "/readyz"}, says: "answers with 200"},
		"Never":     {reason: "what the server says is passed on", args: []string{"--url=" + server.URL + "/other", "--timeout=100ms"}, says: "500 Internal Server Error: not yet", fail: true},
		"NoURL":     {reason: "there is nothing to ask", says: "--url", fail: true},
		"NoPlace":   {reason: "a Service that is not there leaves its variable unexpanded", args: []string{"--url=http://$(A_SERVICE_HOST):1/"}, says: "--url", fail: true},
		"NoTimeout": {reason: "no time, no answer", args: []string{"--url=" + server.URL, "--timeout=0s"}, says: "--timeout", fail: true},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := check.Command()
			var out bytes.Buffer
			cmd.SetArgs(test.args)
			cmd.SetOut(&out)
			cmd.SetErr(&out)
			err := cmd.ExecuteContext(t.Context())
			if (err != nil) != test.fail || !strings.Contains(out.String(), test.says) {
				t.Errorf("error %v, output %q: want %q: %s", err, out.String(), test.says, test.reason)
			}
		})
	}
}
