// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
)

// forwards fails unless pings cross between the pods of both Vpcs.
func (x *transit) forwards(t *testing.T, reason string) {
	t.Helper()
	for name, pod := range map[string]interface {
		Run(string, ...string) (string, error)
	}{"shop": x.shopEast, "bank": x.bankEast} {
		if out, err := pod.Run("ping", "-n", "-c", "3", "-i", "0.02", "-W", "10", "10.1.2.2"); err != nil || !strings.Contains(out, " 0% packet loss") {
			t.Errorf("%s: the pods of %s: %v\n%s", reason, name, err, out)
		}
	}
}

// foreign is a program that somebody else wrote: it returns what it is told.
func foreign(t *testing.T, kind ebpf.ProgramType, verdict int32) *ebpf.Program {
	t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: kind, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return program
}

// TestForeignProgramFirst: somebody else's program before ours is told of and left alone.
func TestForeignProgramFirst(t *testing.T) {
	x := newTransit(t)
	ahead := func() (names []string) {
		x.east.MustDo(t, func() (err error) { names, err = x.eastGateway.Ahead(); return err })
		return names
	}
	if got := ahead(); len(got) > 0 {
		t.Fatalf("nobody else is there, and Ahead names %v", got)
	}
	attach := func(where string, anchor link.Anchor) (l link.Link) {
		program := foreign(t, ebpf.SchedCLS, next)
		x.east.MustDo(t, func() error {
			device, err := net.InterfaceByName(where)
			if err != nil {
				return err
			}
			l, err = link.AttachTCX(link.TCXOptions{Interface: device.Index, Program: program, Attach: ebpf.AttachTCXIngress, Anchor: anchor})
			return err
		})
		return l
	}
	after := attach("ul0", link.Tail())
	defer after.Close()
	if got := ahead(); len(got) > 0 {
		t.Errorf("who comes after ours is no problem, and Ahead names %v", got)
	}
	before, port := attach("ul0", link.Head()), attach("tbg100", link.Head())
	defer port.Close()
	if got := strings.Join(ahead(), "; "); strings.Count(got, "program ") != 2 || !strings.Contains(got, "on the ingress of tbg100") || !strings.Contains(got, "on the ingress of ul0") {
		t.Errorf("Ahead names %q, want one program on each of tbg100 and ul0", got)
	}
	x.east.MustDo(t, func() error { return x.eastGateway.Set(x.eastConfig) })
	if got := ahead(); len(got) != 2 {
		t.Errorf("Set has touched what is not ours: Ahead names %v", got)
	}
	x.forwards(t, "with a foreign program before ours")
	before.Close()
	port.Close()
	if got := ahead(); len(got) > 0 {
		t.Errorf("it has gone, and Ahead names %v", got)
	}
}

// TestForeignXDP: the hook takes one program. Who finds it taken changes nothing.
func TestForeignXDP(t *testing.T) {
	x := newTransit(t)
	program := foreign(t, ebpf.XDP, 2) // XDP_PASS
	var taken link.Link
	x.east.MustDo(t, func() error {
		device, err := net.InterfaceByName("ul0")
		if err != nil {
			return err
		}
		taken, err = link.AttachXDP(link.XDPOptions{Interface: device.Index, Program: program})
		return err
	})
	defer taken.Close()
	before := dump(t, x.eastGateway)
	cfg := x.eastConfig
	cfg.Underlay.XDP = true
	cfg.Ports = cfg.Ports[:1] // a change that must not be made either
	if err := x.east.Do(func() error { return x.eastGateway.Set(cfg) }); !errors.Is(err, ErrForeignProgram) || !strings.Contains(err.Error(), "another XDP program is there") {
		t.Errorf("error is %v, want that the hook is taken", err)
	}
	if diff := cmp.Diff(before, dump(t, x.eastGateway)); diff != "" {
		t.Errorf("the maps were changed (-before +after):\n%s", diff)
	}
	x.forwards(t, "with somebody else's XDP program")
	taken.Close()
	x.east.MustDo(t, func() error { return x.eastGateway.Set(cfg) })
}

// TestForeignPins: a process that finds what it can't take over leaves everything, and what is attached forwards.
func TestForeignPins(t *testing.T) {
	x := newTransit(t)
	pin := func(t *testing.T, path string) {
		t.Helper()
		m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 7})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if err := m.Pin(path); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		reason string
		// path below the pin path where a map is; an old one there is moved away meanwhile.
		path string
		want string
	}{
		"other layout":   {"a build with the same layout version had another map", "maps-v" + layout() + "/tombolo_ports", "same layout version"},
		"unknown map":    {"a newer build has one map more", "maps-v" + layout() + "/tombolo_unheard", "tombolo_unheard"},
		"somebody else":  {"not ours at all", "cilium_calls", "cilium_calls"},
		"no link":        {"a map where a link should be", "links/in-4711", "in-4711 is no link"},
		"no link of XDP": {"the same", "links/xdp-4711", "xdp-4711 is no link"},
	} {
		t.Run(name, func(t *testing.T) {
			path, aside := filepath.Join(x.eastPins, tc.path), filepath.Join(filepath.Dir(x.eastPins), "aside")
			had := os.Rename(path, aside) == nil
			pin(t, path)
			before := dump(t, x.eastGateway)
			err := x.east.Do(func() error {
				f, err := Open(Options{PinPath: x.eastPins, Logger: logr.Discard()})
				if err == nil {
					f.Close()
				}
				return err
			})
			if !errors.Is(err, ErrForeignPins) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), removePins) {
				t.Errorf("%s: error is %v, want %q and the cure", tc.reason, err, tc.want)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: it was removed: %v", tc.reason, err)
			}
			if diff := cmp.Diff(before, dump(t, x.eastGateway)); diff != "" {
				t.Errorf("the maps were changed (-before +after):\n%s", diff)
			}
			x.forwards(t, tc.reason)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if had {
				if err := os.Rename(aside, path); err != nil {
					t.Fatal(err)
				}
			}
			setInChild(t, x.east, x.eastPins, x.eastConfig)
		})
	}
}

func layout() string { return strings.TrimPrefix(filepath.Base(mapsDir("")), mapsPrefix) }

// TestMissingCapability starts an agent anew that lacks one of the three: it says which, and what runs goes on.
func TestMissingCapability(t *testing.T) {
	x := newTransit(t)
	order, err := json.Marshal(childOrder{x.eastPins, x.eastConfig})
	if err != nil {
		t.Fatal(err)
	}
	run := func(bounding string) (string, error) {
		cmd := exec.Command("ip", "netns", "exec", x.east.Name, "setpriv", "--bounding-set", bounding, os.Args[0])
		cmd.Env = append(os.Environ(), childVariable+"="+string(order))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	const needed = "+bpf,+net_admin,+perfmon"
	for name, want := range map[string]string{"bpf": "CAP_BPF", "net_admin": "CAP_NET_ADMIN", "perfmon": "CAP_PERFMON"} {
		t.Run(name, func(t *testing.T) {
			bounding := "-all," + strings.Trim(strings.ReplaceAll(strings.ReplaceAll(needed, "+"+name, ""), ",,", ","), ",")
			out, err := run(bounding)
			if err == nil || !strings.Contains(out, "check capabilities: no "+want+":") || !strings.Contains(out, "run the agent as root with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON") {
				t.Errorf("with %s: %v\n%s", bounding, err, out)
			}
			x.forwards(t, "while the new agent lacks "+want)
		})
	}
	if out, err := run("-all," + needed); err != nil {
		t.Errorf("the three are enough: %v\n%s", err, out)
	}
	x.forwards(t, "after a Set with the three alone")
}
