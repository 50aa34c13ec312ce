// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package e2e holds Tombolo's promises against real clusters: a hub and two
// spokes with real etcd, kube-apiserver, kubelet, containerd, OVN and OVS, each
// node a network namespace, and one more spoke without nodes. One lab serves all
// tests, one tenant each.
package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/e2e/lab"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// fleet is the lab of all tests.
var fleet *story.Fleet

const labDir = "/var/tmp/tombolo-e2e"

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	if err := lock(); err != nil {
		fmt.Println("start the lab:", err)
		return 1
	}
	begin := time.Now()
	var err error
	fleet, err = story.Start(ctx, lab.Options{
		Dir: labDir, Hub: "hub", Prefix: "tme", Tombolo: true,
		Spokes: []lab.SpokeOptions{{Name: "east", Nodes: 3, Gateways: 2}, {Name: "west", Nodes: 1}, {Name: addonCluster}},
		Logf:   func(format string, args ...any) { fmt.Printf(format+"\n", args...) },
	})
	if err != nil {
		fmt.Println("start the lab:", err)
		return 1
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if os.Getenv("TOMBOLO_KEEP_LAB") != "" {
			fmt.Printf("the lab stays up: go run ./e2e/lab/cmd/lab --dir %s down\n", labDir)
			return
		}
		if err := lab.Down(ctx, labDir); err != nil {
			fmt.Println("remove the lab:", err)
		}
	}()
	if err := fleet.Hub.Apply(ctx, story.Manifest("pools")); err != nil {
		fmt.Println("make the pools:", err)
		return 1
	}
	fmt.Printf("the lab is up after %s; logs are in %s/log\n", time.Since(begin).Round(time.Second), labDir)
	return m.Run()
}

// lock keeps a second run on this machine from taking the lab of the first one down. The kernel lets go of it with the process.
func lock() error {
	file, err := os.OpenFile(labDir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("lock %s: %w: these tests run already; wait until they are done", file.Name(), err)
	}
	locked = file // or the garbage collector would close it
	return nil
}

var locked *os.File
