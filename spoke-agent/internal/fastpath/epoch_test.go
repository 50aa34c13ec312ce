// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// TestEpochOutlivesAgent: an agent that was killed after a change of the trie and before the bump.
func TestEpochOutlivesAgent(t *testing.T) {
	ns, f := storyGateway(t)
	cfg := storyConfig()
	cfg.Ports[0].Remotes[0].Prefixes = nil
	onOneCPU(t, ns, func() error {
		frame := ethernet(gatewayMAC, routerMAC, 0x0800, ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.2.3"}.bytes())
		devices, _, err := findDevices(cfg)
		if err != nil {
			return err
		}
		run := func(want int32, reason string) {
			t.Helper()
			got, _, err := runProgram(f.programs.TomboloOut, frame, skbContext{Ifindex: uint32(devices["tbg100"].index)})
			if err != nil || got != want {
				t.Errorf("%s: verdict %d, want %d (%v)", reason, got, want, err)
			}
		}
		run(redirect, "before")
		for _, prefix := range storyConfig().Ports[0].Remotes[0].Prefixes {
			if err := f.maps[gatewayMapTomboloRemotes].Delete(prefixKey{100, prefix}.encode()); err != nil {
				return err
			}
		}
		run(redirect, "the cache still has the answer: this is what the test is about")
		again, err := Open(f.opts)
		if err != nil {
			return err
		}
		defer again.Close()
		if err := again.Set(cfg); err != nil {
			return err
		}
		run(dropped, "the next agent finds nothing to change, and must end the cached answer")
		return nil
	})
}

// TestEpochRace changes a prefix as often as the kernel can, while another CPU's packets fill the cache with it: after each
// change the cache must not have an answer from before. It fails within a second when a program asks for the epoch after
// the trie.
func TestEpochRace(t *testing.T) {
	ns, f := storyGateway(t)
	frame := ethernet(gatewayMAC, routerMAC, 0x0800, ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.9.0.1"}.bytes())
	devices := map[string]device{}
	ns.MustDo(t, func() (err error) { devices, _, err = findDevices(storyConfig()); return err })
	ctx := skbContext{Ifindex: uint32(devices["tbg100"].index)}
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		err := ns.Do(func() error {
			if err := pinToCPU(1); err != nil {
				return err
			}
			for !stop.Load() {
				if _, err := f.programs.TomboloOut.Run(&ebpf.RunOptions{Data: frame, Context: ctx}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	key := prefixKey{100, netip.MustParsePrefix("10.9.0.0/16")}.encode()
	value := remoteEntry{cluster: clusterID("west"), vni: 400}.encode()
	changes := 0
	err := ns.Do(func() error {
		if err := pinToCPU(0); err != nil {
			return err
		}
		for until := time.Now().Add(2 * time.Second); time.Now().Before(until); changes++ {
			if err := f.put(gatewayMapTomboloRemotes, string(key), value); err != nil {
				return err
			}
			f.epoch.bump()
			runtime.Gosched()
			if err := f.delete(gatewayMapTomboloRemotes, []string{string(key)}); err != nil {
				return err
			}
			verdict, _, err := runProgram(f.programs.TomboloOut, frame, ctx)
			if err != nil {
				return err
			}
			if verdict != dropped {
				return fmt.Errorf("change %d: verdict %d after the prefix was withdrawn", changes, verdict)
			}
		}
		return nil
	})
	stop.Store(true)
	wg.Wait()
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d changes", changes)
}
