// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hub is a process of tombolo-hub, with the permissions of its service account.
type hub struct {
	t       testing.TB
	process *exec.Cmd
	log     string
	metrics string
	health  string
	ended   chan struct{}
	killed  bool
	// lacks is true when the API server forgets a kind while the hub runs: client-go tells of that as an error.
	lacks bool
}

// startHub starts the hub and ends it with the test.
func startHub(t testing.TB, flags ...string) *hub {
	t.Helper()
	account := user(t, "system:serviceaccount:"+systemNamespace+":tombolo-hub", "system:serviceaccounts", "system:authenticated")
	kubeconfig, err := account.KubeConfig()
	if err != nil {
		t.Fatalf("make kubeconfig: %v", err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	h := &hub{t: t, log: filepath.Join(dir, "log"), metrics: freeAddress(t), health: freeAddress(t), ended: make(chan struct{})}
	out, err := os.Create(h.log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h.process = exec.Command(self, append([]string{
		"--kubeconfig=" + file, "--leader-elect=false", "--log-level=debug",
		"--metrics-bind-address=" + h.metrics, "--health-probe-bind-address=" + h.health,
	}, flags...)...)
	h.process.Env = append(os.Environ(), runAsHub+"=1")
	h.process.Stdout, h.process.Stderr = out, out
	if err := h.process.Start(); err != nil {
		t.Fatalf("start hub: %v", err)
	}
	go func() {
		_ = h.process.Wait() // its end is what matters
		close(h.ended)
	}()
	t.Cleanup(h.kill)
	eventually(t, "the hub is ready", func() error { return h.get(t.Context(), "http://"+h.health+"/readyz", nil) })
	return h
}

// kill ends the process as a crash does, and shows its log when the test has failed. An error in the log is a failure:
// a hub that is well has nothing to complain of.
func (h *hub) kill() {
	if h.killed {
		return
	}
	h.killed = true
	_ = h.process.Process.Kill() // it may have ended by itself
	<-h.ended
	log, err := os.ReadFile(h.log)
	if err != nil {
		h.t.Errorf("read log of the hub: %v", err)
	}
	for line := range strings.Lines(string(log)) {
		if h.lacks && strings.Contains(line, "Failed to watch") && strings.Contains(line, "could not find the requested resource") {
			continue
		}
		// controller-runtime calls a lease that was given up at the end an error.
		if strings.Contains(line, "level=ERROR") && !strings.Contains(line, "after stop sequence was engaged") {
			h.t.Errorf("the hub complains: %s", line)
		}
	}
	if h.t.Failed() {
		h.t.Logf("log of the hub:\n%s", log)
	}
}

// count is the sum of a metric over all labels that contain each of the given strings.
func (h *hub) count(metric string, labels ...string) float64 {
	h.t.Helper()
	var sum float64
	err := h.get(h.t.Context(), "http://"+h.metrics+"/metrics", func(line string) {
		if !strings.HasPrefix(line, metric+"{") && !strings.HasPrefix(line, metric+" ") {
			return
		}
		for _, label := range labels {
			if !strings.Contains(line, label) {
				return
			}
		}
		value, err := strconv.ParseFloat(line[strings.LastIndex(line, " ")+1:], 64)
		if err != nil {
			h.t.Fatalf("read metric %q: %v", line, err)
		}
		sum += value
	})
	if err != nil {
		h.t.Fatalf("read metrics: %v", err)
	}
	return sum
}

func (h *hub) get(ctx context.Context, url string, line func(string)) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if line != nil {
			line(lines.Text())
		}
	}
	return lines.Err()
}

// settle waits until the hub has not planned for a while: it has nothing left to do.
func (h *hub) settle() {
	h.t.Helper()
	last, since := h.count("tombolo_hub_plan_total"), time.Now()
	for deadline := time.Now().Add(time.Minute); time.Since(since) < 500*time.Millisecond; time.Sleep(50 * time.Millisecond) {
		if plans := h.count("tombolo_hub_plan_total"); plans != last {
			last, since = plans, time.Now()
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("the hub plans again and again: %v plans", last)
		}
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// eventually asks again until there is no error.
func eventually(t testing.TB, reason string, check func() error) {
	t.Helper()
	within(t, time.Minute, reason, check)
}

func within(t testing.TB, limit time.Duration, reason string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", reason, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
