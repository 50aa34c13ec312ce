// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ovn runs a real OVN for a cluster of the lab: the databases and
// northd once per cluster, Open vSwitch with ovn-controller once per node. Open
// vSwitch forwards in userspace (datapath type netdev), so that no kernel module
// is needed and many of them live side by side.
//
// Every daemon is a process of a proc.Dir and logs there. What a daemon keeps
// lies in its StateDir; Unix sockets cross network namespaces, so all endpoints
// are "unix:PATH" and need no addresses.
package ovn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// maxSocketPath is sizeof(sockaddr_un.sun_path) less its ending zero, unix(7).
const maxSocketPath = 107

// prepare makes the state directory and refuses one whose sockets would have
// names longer than the kernel takes.
func prepare(stateDir, longest string) error {
	if path := filepath.Join(stateDir, longest); !filepath.IsAbs(path) || len(path) > maxSocketPath {
		return fmt.Errorf("StateDir %q: want an absolute path of at most %d bytes, so that a socket of the kernel fits",
			stateDir, maxSocketPath-len(longest)-1)
	}
	return os.MkdirAll(stateDir, 0o755)
}

// environment keeps a daemon out of the machine's own Open vSwitch and OVN
// directories: everything it looks for by itself is in its StateDir.
func environment(stateDir string) []string {
	var env []string
	for _, name := range []string{"RUNDIR", "DBDIR", "LOGDIR", "SYSCONFDIR"} {
		env = append(env, "OVS_"+name+"="+stateDir, "OVN_"+name+"="+stateDir)
	}
	return env
}

// logging is to stderr alone, which proc keeps.
var logging = []string{"-vsyslog:off", "-vfile:off", "-vconsole:info"}

// createDB makes a database file of a schema unless it is there.
func createDB(ctx context.Context, file, schema string) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err := run(ctx, nil, "ovsdb-tool", "create", file, schema)
	return err
}

// ensure starts a process unless it is running, and waits until it is ready.
func ensure(ctx context.Context, dir proc.Dir, spec proc.Spec, ready func(context.Context) error) error {
	p, ok := dir.Find(spec.Name)
	if !ok {
		var err error
		if p, err = dir.Start(ctx, spec); err != nil {
			return err
		}
	}
	return proc.Wait(ctx, spec.Name, p, ready)
}

// answers tells whether a daemon answers on its control socket.
func answers(socket string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := run(ctx, nil, "ovs-appctl", "--timeout=5", "-t", socket, "version")
		return err
	}
}

// run runs a tool and gives its standard output without the last newline.
func run(ctx context.Context, env []string, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run %s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSuffix(stdout.String(), "\n"), nil
}
