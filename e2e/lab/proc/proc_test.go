// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

func start(t *testing.T, d Dir, spec Spec) *Process {
	t.Helper()
	p, err := d.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestStop(t *testing.T) {
	cases := map[string]struct {
		reason string
		script string
		grace  time.Duration
		atMost time.Duration
	}{
		"Obeys": {
			reason: "a process that heeds SIGTERM is gone well within its grace",
			script: "exec sleep 60",
			grace:  20 * time.Second,
			atMost: 5 * time.Second,
		},
		"Deaf": {
			reason: "a process that ignores SIGTERM is killed when its grace is over, with its children",
			script: "trap '' TERM; echo deaf; while :; do sleep 60; done",
			grace:  200 * time.Millisecond,
			atMost: 5 * time.Second,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d := Dir(t.TempDir())
			p := start(t, d, Spec{Name: "x", Path: "sh", Args: []string{"-c", tc.script}})
			if found, ok := d.Find("x"); !ok || found.PID() != p.PID() {
				t.Fatalf("%s: Find gives %v, %v; want pid %d", tc.reason, found, ok, p.PID())
			}
			if _, err := d.Start(t.Context(), Spec{Name: "x", Path: "true"}); err == nil {
				t.Fatalf("%s: a second process took the name of a live one", tc.reason)
			}
			begin := time.Now()
			if err := p.Stop(tc.grace); err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if took := time.Since(begin); took > tc.atMost {
				t.Errorf("%s: took %v, want at most %v", tc.reason, took, tc.atMost)
			}
			if p.Alive() || len(d.List()) != 0 {
				t.Errorf("%s: alive %v, recorded %d after Stop", tc.reason, p.Alive(), len(d.List()))
			}
			if left := group(t, p.PID()); len(left) > 0 {
				t.Errorf("%s: processes %v of its group are left", tc.reason, left)
			}
		})
	}
}

// group gives the live members of a process group.
func group(t *testing.T, pgid int) []string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		s := string(b)
		f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
		if f[0] != "Z" && f[2] == fmt.Sprint(pgid) {
			left = append(left, path)
		}
	}
	return left
}

func TestStopAllIsInReverseOrder(t *testing.T) {
	d := Dir(t.TempDir())
	order := filepath.Join(t.TempDir(), "order")
	names := []string{"etcd", "apiserver", "manager"}
	for _, n := range names {
		script := fmt.Sprintf("trap 'echo %s >>%s; exit' TERM; echo ready; while :; do sleep 0.05; done", n, order)
		p := start(t, d, Spec{Name: n, Path: "sh", Args: []string{"-c", script}})
		if err := Wait(t.Context(), n, p, logged(p, "ready")); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.StopAll(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if words := d.LastWords("etcd"); !strings.Contains(words, "etcd.log ends with:\nready") {
		t.Errorf("last words of a process that is gone are %q", words)
	}
	got, err := os.ReadFile(order)
	if err != nil {
		t.Fatal(err)
	}
	if want := "manager\napiserver\netcd\n"; string(got) != want {
		t.Errorf("stopped in order %q, want %q", got, want)
	}
}

func logged(p *Process, text string) func(context.Context) error {
	return func(context.Context) error {
		if !strings.Contains(p.Tail(100), text) {
			return fmt.Errorf("%q is not in the log", text)
		}
		return nil
	}
}

// TestSurvivesItsStarter runs this test binary as the starter and ends it.
func TestSurvivesItsStarter(t *testing.T) {
	const key = "TOMBOLO_PROC_TEST_STARTER"
	if dir := os.Getenv(key); dir != "" {
		if _, err := Dir(dir).Start(t.Context(), Spec{Name: "lasting", Path: "sleep", Args: []string{"60"}}); err != nil {
			t.Fatal(err)
		}
		return
	}
	d := Dir(t.TempDir())
	starter := exec.Command(os.Args[0], "-test.run=^TestSurvivesItsStarter$")
	starter.Env = append(os.Environ(), key+"="+string(d))
	if out, err := starter.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p, ok := d.Find("lasting")
	if !ok {
		t.Fatal("the process did not outlive its starter")
	}
	if err := p.Stop(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if p.Alive() {
		t.Error("the process is alive after Stop by another program than its starter")
	}
}

func TestAReusedPIDIsNotOurs(t *testing.T) {
	d := Dir(t.TempDir())
	p := start(t, d, Spec{Name: "x", Path: "sleep", Args: []string{"60"}})
	// What a record looks like when its process ended and the pid went to another.
	record := fmt.Sprintf("%d %d\n", p.PID(), p.start-1)
	if err := os.WriteFile(d.pidPath("x"), []byte(record), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok := d.Find("x"); ok {
		t.Error("Find took a process with another start time for the recorded one")
	}
	if err := d.StopAll(time.Second); err != nil {
		t.Fatal(err)
	}
	if !p.Alive() {
		t.Error("StopAll ended a process that only has the recorded pid")
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
}

func TestWait(t *testing.T) {
	never := func(context.Context) error { return errors.New("connection refused") }
	cases := map[string]struct {
		reason string
		script string
		ready  func(context.Context) error
		within time.Duration
		want   []string
	}{
		"Ready": {
			reason: "a live process whose check passes is ready",
			script: "exec sleep 60",
			ready:  func(context.Context) error { return nil },
			within: 10 * time.Second,
		},
		"Died": {
			reason: "death ends the wait at once, with the exit status and the log's last words",
			script: "echo cannot bind to port 6443; exit 3",
			ready:  never,
			within: time.Minute,
			want:   []string{"the API", "exit status 3", "connection refused", "broken.log", "cannot bind to port 6443"},
		},
		"TooLate": {
			reason: "the deadline names the component, the last answer and the log",
			script: "echo loading; exec sleep 60",
			ready:  never,
			within: 300 * time.Millisecond,
			want:   []string{"the API", "deadline exceeded", "connection refused", "broken.log", "loading"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := start(t, Dir(t.TempDir()), Spec{Name: "broken", Path: "sh", Args: []string{"-c", tc.script}})
			ctx, cancel := context.WithTimeout(t.Context(), tc.within)
			defer cancel()
			begin := time.Now()
			err := Wait(ctx, "the API", p, tc.ready)
			if len(tc.want) == 0 && err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: error %v does not have %q", tc.reason, err, want)
				}
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("%s: took %v", tc.reason, took)
			}
		})
	}
}

func TestNamespaces(t *testing.T) {
	d := Dir(t.TempDir())
	own := nsOf(t, os.Getpid())
	ns := fmt.Sprintf("tmb-proc%d", os.Getpid())
	if err := netns.Create(ns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netns.Delete(ns); err != nil {
			t.Error(err)
		}
	})

	inNet := start(t, d, Spec{Name: "net", Path: "sleep", Args: []string{"60"}, NetNS: ns})
	if got := nsOf(t, inNet.PID()); got["net"] == own["net"] || got["mnt"] != own["mnt"] || got["pid"] != own["pid"] {
		t.Errorf("with NetNS the process is in %v, the starter in %v; want only another net", got, own)
	}

	// unshare forks the box's first process; its pid is that of its only child.
	unshare := start(t, d, Spec{Name: "unshare", Path: "unshare", NetNS: ns,
		Args: []string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sleep", "60"}})
	box := child(t, unshare)

	inBox := start(t, d, Spec{Name: "inbox", Path: "sh", BoxPID: box, Args: []string{"-c", "echo pid $$; exec sleep 60"}})
	if err := Wait(t.Context(), "box process", inBox, logged(inBox, "pid ")); err != nil {
		t.Fatal(err)
	}
	if got, want := nsOf(t, inBox.PID()), nsOf(t, box); got["net"] != want["net"] || got["mnt"] != want["mnt"] || got["pid"] != want["pid"] {
		t.Errorf("with BoxPID the process is in %v, the box in %v", got, want)
	}
	if strings.Contains(inBox.Tail(10), fmt.Sprintf("pid %d", inBox.PID())) {
		t.Error("the process in the box has the machine's pid: it is not in the box's pid namespace")
	}
	if got := nsOf(t, os.Getpid()); got["net"] != own["net"] || got["mnt"] != own["mnt"] {
		t.Errorf("the starter moved to %v", got)
	}

	if err := unshare.Kill(); err != nil {
		t.Fatal(err)
	}
	if !inBox.gone(5 * time.Second) {
		t.Error("the process outlived its box")
	}
}

func nsOf(t *testing.T, pid int) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, kind := range []string{"net", "mnt", "pid"} {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err != nil {
			t.Fatal(err)
		}
		all[kind] = link
	}
	return all
}

func child(t *testing.T, p *Process) int {
	t.Helper()
	var pid int
	err := Wait(t.Context(), "box", p, func(context.Context) error {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.PID(), p.PID()))
		if err != nil {
			return err
		}
		if _, err := fmt.Sscan(string(b), &pid); err != nil {
			return err
		}
		// Entered too early it would still be unshare, about to mount /proc.
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil && string(comm) != "sleep\n" {
			err = fmt.Errorf("first process is %s", comm)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestSignal(t *testing.T) {
	p := start(t, Dir(t.TempDir()), Spec{Name: "x", Path: "sleep", Args: []string{"60"}})
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !p.gone(5 * time.Second) {
		t.Fatal("alive after SIGKILL")
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal to a dead process gives %v, want os.ErrProcessDone", err)
	}
}
