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
)

// removePins is the cure of pins that can't be taken over.
const removePins = "drain the node of gateway traffic, move those pins away and start the agent again"

// checkPins looks whether everything below the pin path is this build's, or another version's that Set replaces. Pins that
// are neither are nobody's to overwrite, and what is attached goes on.
func checkPins(pinPath string) error {
	var unknown []string
	known := map[string]bool{}
	for name := range mapsByName(&gatewayMaps{}) {
		known[name] = true
	}
	for _, name := range list(pinPath) {
		if name != linksDir && !strings.HasPrefix(name, mapsPrefix) {
			unknown = append(unknown, filepath.Join(pinPath, name))
		}
	}
	for _, name := range list(mapsDir(pinPath)) {
		if !known[name] {
			unknown = append(unknown, filepath.Join(mapsDir(pinPath), name))
		}
	}
	var errs []error
	if len(unknown) > 0 {
		errs = append(errs, fmt.Errorf("pins that this build does not know: %s", strings.Join(unknown, ", ")))
	}
	for _, name := range list(filepath.Join(pinPath, linksDir)) {
		errs = append(errs, checkLink(filepath.Join(pinPath, linksDir, name), strings.HasPrefix(name, linkXDP)))
	}
	if err := errors.Join(errs...); err != nil {
		return kind{fmt.Errorf("%w; %s", err, removePins), ErrForeignPins}
	}
	return nil
}

// list is the names in a directory; none when it is not there.
func list(dir string) []string {
	files, _ := os.ReadDir(dir) // one that can't be read is found by whoever writes there
	var names []string
	for _, file := range files {
		names = append(names, file.Name())
	}
	return names
}

// checkLink opens a pinned link and looks at what it is.
func checkLink(path string, xdp bool) error {
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pin %s is no link: %w", path, err)
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return fmt.Errorf("read link %s: %w", path, err)
	}
	want := link.TCXType
	if xdp {
		want = link.XDPType
	}
	if info.Type != want {
		return fmt.Errorf("pin %s is a link of type %d and not %d", path, info.Type, want)
	}
	return nil
}

// Ahead names the programs of others that see packets before Tombolo's do, on every hook where Tombolo has one. They are left alone.
// The kernel tells their numbers to who has CAP_NET_ADMIN, and their names to nobody who has less than CAP_SYS_ADMIN.
func (f *Fastpath) Ahead() ([]string, error) {
	var ahead []string
	for _, name := range list(filepath.Join(f.opts.PinPath, linksDir)) {
		_, number, _ := strings.Cut(name, "-")
		ifindex, err := strconv.Atoi(number)
		if err != nil || strings.HasPrefix(name, linkXDP) {
			continue
		}
		programs, err := f.aheadOf(filepath.Join(f.opts.PinPath, linksDir, name), ifindex)
		if err != nil {
			return nil, fmt.Errorf("look who is on the hook of link %s: %w", name, err)
		}
		ahead = append(ahead, programs...)
	}
	slices.Sort(ahead)
	return ahead, nil
}

func (f *Fastpath) aheadOf(path string, ifindex int) ([]string, error) {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return nil, err
	}
	device, err := net.InterfaceByIndex(ifindex)
	if err != nil || interfaceOf(info) != ifindex {
		return nil, nil // the interface is gone, and the link with it at the next Set
	}
	hook, err := link.QueryPrograms(link.QueryOptions{Target: ifindex, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return nil, err
	}
	var ahead []string
	for _, program := range hook.Programs {
		if program.ID == info.Program {
			break
		}
		ahead = append(ahead, fmt.Sprintf("program %d on the ingress of %s", program.ID, device.Name))
	}
	return ahead, nil
}
