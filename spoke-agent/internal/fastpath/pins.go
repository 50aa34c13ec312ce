// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Below PinPath:
//
//	links/in-7, links/out-9, links/slow-8   attached programs, by interface index
//	links/xdp-7                             tombolo_xdp, if the underlay has it
//	links/pod-12, links/switch-13           tombolo_pod, and tombolo_switch where the pod has a second pair
//	maps-v8/tombolo_…                       the maps of layoutVersion 8
//
// Links are of no version: Set fills the maps of its own version and then replaces the program in each link
// at once, so not even a change of the layout loses a packet.
const (
	linksDir   = "links"
	mapsPrefix = "maps-v"

	linkIn   = "in-"
	linkOut  = "out-"
	linkSlow = "slow-"
	linkXDP  = "xdp-"

	linkPod    = "pod-"
	linkSwitch = "switch-"
)

func (f *Fastpath) linkPath(prefix string, ifindex int) string {
	return filepath.Join(f.opts.PinPath, linksDir, prefix+strconv.Itoa(ifindex))
}

func mapsDir(pinPath string) string {
	return filepath.Join(pinPath, mapsPrefix+strconv.Itoa(layoutVersion))
}

// MountBPFFS mounts a bpffs at dir, which it makes if need be, unless dir is in one already.
func MountBPFFS(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make mount point of bpffs: %w", err)
	}
	if err := checkBPFFS(dir); err == nil {
		return nil
	}
	if err := unix.Mount("bpf", dir, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount bpffs at %s: %w", dir, cure(err))
	}
	return nil
}

// checkBPFFS looks at path, or at its first parent that exists.
func checkBPFFS(path string) error {
	var st unix.Statfs_t
	for p := path; ; p = filepath.Dir(p) {
		err := unix.Statfs(p, &st)
		if errors.Is(err, fs.ErrNotExist) && p != filepath.Dir(p) {
			continue
		}
		if err != nil {
			return fmt.Errorf("stat file system of %s: %w", p, err)
		}
		if st.Type != unix.BPF_FS_MAGIC {
			return kind{fmt.Errorf("pin path %s is not in a bpffs; mount one (mount -t bpf bpf /sys/fs/bpf) and, in a container, "+
				"mount the host's into it", path), ErrNoBPFFS}
		}
		return nil
	}
}

// checkPrivileges comes before checkTCX: who may not ask for programs looks like a kernel that has none.
func checkPrivileges() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	has := func(capability int) bool { return data[capability/32].Effective>>(capability%32)&1 == 1 }
	var missing []string
	for name, capability := range map[string]int{"CAP_BPF": unix.CAP_BPF, "CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_PERFMON": unix.CAP_PERFMON} {
		if !has(capability) && (capability == unix.CAP_NET_ADMIN || !has(unix.CAP_SYS_ADMIN)) { // which stands for the other two
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("check capabilities: no %s: %w", strings.Join(missing, ", "), cure(unix.EPERM))
	}
	return nil
}

// checkTCX asks for the programs of the loopback interface, which every network namespace has, as its first.
func checkTCX() error {
	if _, err := link.QueryPrograms(link.QueryOptions{Target: 1, Attach: ebpf.AttachTCXIngress}); err != nil {
		return fmt.Errorf("look for tcx in the kernel: %w", cure(err))
	}
	return nil
}

// cure adds to an error of the kernel what a person can do about it.
func cure(err error) error {
	var verifier *ebpf.VerifierError
	switch {
	case errors.As(err, &verifier): // EACCES too, but no privilege helps
		return err
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return kind{fmt.Errorf("%w; run the agent as root with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON", err), ErrMissingCapability}
	case errors.Is(err, ebpf.ErrMapIncompatible): // before EINVAL, which it may be too
		return kind{fmt.Errorf("%w; pinned by another build with the same layout version: %s", err, removePins), ErrForeignPins}
	case errors.Is(err, unix.EINVAL), errors.Is(err, ebpf.ErrNotSupported):
		return kind{fmt.Errorf("%w; tcx needs Linux 6.6 or newer on gateway nodes", err), ErrKernelTooOld}
	}
	return err
}

// attach makes prog the program of the pinned link of an interface, whose name has that prefix. A link whose interface is gone is dead: the
// index may have come to another one.
func (f *Fastpath) attach(prefix string, ifindex int, prog *ebpf.Program) error {
	path := f.linkPath(prefix, ifindex)
	l, err := link.LoadPinnedLink(path, nil)
	if err == nil {
		defer l.Close()
		info, err := l.Info()
		if err != nil {
			return fmt.Errorf("read link %s: %w", path, err)
		}
		if interfaceOf(info) == ifindex {
			return replaceProgram(l, info, prog)
		}
		if err := l.Unpin(); err != nil {
			return fmt.Errorf("unpin dead link %s: %w", path, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("load link %s: %w", path, err)
	}
	if prefix == linkXDP {
		l, err = attachXDP(ifindex, prog)
	} else {
		l, err = link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: prog, Attach: ebpf.AttachTCXIngress})
	}
	if err != nil {
		return fmt.Errorf("attach to interface %d: %w", ifindex, cure(err))
	}
	defer l.Close()
	if err := l.Pin(path); err != nil {
		return fmt.Errorf("pin link %s: %w", path, err)
	}
	f.opts.Logger.Info("Attached", "link", prefix+strconv.Itoa(ifindex))
	return nil
}

// attachXDP attaches to a hook that takes one program.
func attachXDP(ifindex int, prog *ebpf.Program) (link.Link, error) {
	l, err := link.AttachXDP(link.XDPOptions{Interface: ifindex, Program: prog})
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) {
		return nil, kind{fmt.Errorf("%w; another XDP program is there, and an interface takes one: end who put it there (`ip -d link` shows its id), "+
			"or do without XDP", err), ErrForeignProgram}
	}
	return l, err
}

// interfaceOf is 0 when the interface is gone.
func interfaceOf(info *link.Info) int {
	if tcx := info.TCX(); tcx != nil {
		return int(tcx.Ifindex)
	}
	if xdp := info.XDP(); xdp != nil {
		return int(xdp.Ifindex)
	}
	return 0
}

func replaceProgram(l link.Link, info *link.Info, prog *ebpf.Program) error {
	now, err := prog.Info()
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	if id, ok := now.ID(); ok && id == info.Program {
		return nil
	}
	if err := l.Update(prog); err != nil {
		return fmt.Errorf("replace program of link %d: %w", info.ID, err)
	}
	return nil
}

// detachExcept detaches every pinned link that is not in keep (file names).
func (f *Fastpath) detachExcept(keep map[string]bool) error {
	dir := filepath.Join(f.opts.PinPath, linksDir)
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list links: %w", err)
	}
	var errs []error
	for _, file := range files {
		if keep[file.Name()] {
			continue
		}
		if err := detach(filepath.Join(dir, file.Name())); err != nil {
			errs = append(errs, err)
			continue
		}
		f.opts.Logger.Info("Detached", "link", file.Name())
	}
	return errors.Join(errs...)
}

func detach(path string) error {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return fmt.Errorf("load link %s: %w", path, err)
	}
	defer l.Close()
	// A process that holds the link open must not keep it attached. ENOLINK: the interface is gone.
	if err := l.Detach(); err != nil && !errors.Is(err, unix.ENOLINK) {
		return fmt.Errorf("detach link %s: %w", path, err)
	}
	if err := l.Unpin(); err != nil {
		return fmt.Errorf("unpin link %s: %w", path, err)
	}
	return nil
}

// removeOtherMaps unpins the maps of all layout versions but this one's.
func (f *Fastpath) removeOtherMaps() error {
	dirs, err := filepath.Glob(filepath.Join(f.opts.PinPath, mapsPrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		if dir != mapsDir(f.opts.PinPath) {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}

// findDevices returns the interfaces that cfg names, and one error per port or pod without one. Underlay and VXLAN device must be there.
func findDevices(cfg Config) (map[string]device, []error, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, nil, fmt.Errorf("list interfaces: %w", err)
	}
	devices := map[string]device{}
	for _, i := range all {
		d := device{index: i.Index, mtu: i.MTU}
		copy(d.mac[:], i.HardwareAddr)
		devices[i.Name] = d
	}
	for field, name := range map[string]string{"underlay": cfg.Underlay.Interface, "VXLAN device": cfg.Underlay.VXLAN} {
		if _, ok := devices[name]; ok || name == "" {
			continue
		}
		names := slices.Sorted(func(yield func(string) bool) {
			for _, i := range all {
				if !yield(i.Name) {
					return
				}
			}
		})
		return nil, nil, fmt.Errorf("find %s: no interface %s; this node has %s", field, name, strings.Join(names, ", "))
	}
	return devices, missingDevices(cfg, devices), nil
}

func missingDevices(cfg Config, devices map[string]device) (missing []error) {
	if name := cfg.Underlay.Tunnel; name != "" {
		if _, ok := devices[name]; !ok {
			missing = append(missing, fmt.Errorf("find tunnel: no interface %s; nothing goes to encrypted clusters until it is made", name))
		}
	}
	for _, p := range cfg.Ports {
		if _, ok := devices[p.Interface]; !ok && p.Interface != "" {
			missing = append(missing, fmt.Errorf("find port of %s: no interface %s; make the port first", p.Vpc, p.Interface))
		}
	}
	for _, p := range cfg.Pods {
		for _, name := range []string{p.Interface, p.Switch} {
			if _, ok := devices[name]; !ok && name != "" {
				missing = append(missing, fmt.Errorf("find pod %s of vni %d: no interface %s; leave out pods that are gone", p.Address, p.VNI, name))
			}
		}
	}
	return missing
}
