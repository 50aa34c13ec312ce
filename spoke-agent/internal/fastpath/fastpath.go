// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"
)

// Options of Open.
type Options struct {
	// PinPath is a directory in a bpffs (see MountBPFFS), for example /sys/fs/bpf/tombolo. Everything that
	// must outlive the process is pinned below it. It is one network namespace's.
	PinPath string
	// Logger of what Set changes.
	Logger logr.Logger
}

// Fastpath is the kernel's side of one node's gateway: pinned maps and pinned links.
type Fastpath struct {
	opts     Options
	programs gatewayPrograms
	maps     map[string]*ebpf.Map
	epoch    *epoch

	mu sync.Mutex
}

// Open loads the programs and opens, or makes, the pinned maps. It attaches nothing, and what an earlier process has
// attached goes on. It must run in the network namespace of the gateway, as must Set.
func Open(opts Options) (*Fastpath, error) {
	if err := checkBPFFS(opts.PinPath); err != nil {
		return nil, fmt.Errorf("open fast path: %w", err)
	}
	if err := checkPrivileges(); err != nil {
		return nil, fmt.Errorf("open fast path: %w", err)
	}
	if err := checkTCX(); err != nil {
		return nil, fmt.Errorf("open fast path: %w", err)
	}
	if err := checkPins(opts.PinPath); err != nil {
		return nil, fmt.Errorf("open fast path: %w", err)
	}
	for _, dir := range []string{filepath.Join(opts.PinPath, linksDir), mapsDir(opts.PinPath)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open fast path: %w", cure(err))
		}
	}
	var objects gatewayObjects
	err := loadGatewayObjects(&objects, &ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: mapsDir(opts.PinPath)}})
	if err != nil {
		return nil, fmt.Errorf("open fast path: %w", cure(err))
	}
	epoch, err := openEpoch(objects.TomboloEpoch)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open fast path: %w", err), objects.Close())
	}
	return &Fastpath{opts: opts, programs: objects.gatewayPrograms, maps: mapsByName(&objects.gatewayMaps), epoch: epoch}, nil
}

func mapsByName(m *gatewayMaps) map[string]*ebpf.Map {
	return map[string]*ebpf.Map{
		gatewayMapTomboloCache:       m.TomboloCache,
		gatewayMapTomboloClusters:    m.TomboloClusters,
		gatewayMapTomboloCounts:      m.TomboloCounts,
		gatewayMapTomboloEpoch:       m.TomboloEpoch,
		gatewayMapTomboloEvents:      m.TomboloEvents,
		gatewayMapTomboloFlows:       m.TomboloFlows,
		gatewayMapTomboloLocals:      m.TomboloLocals,
		gatewayMapTomboloLookups:     m.TomboloLookups,
		gatewayMapTomboloNames:       m.TomboloNames,
		gatewayMapTomboloObservation: m.TomboloObservation,
		gatewayMapTomboloOrigins:     m.TomboloOrigins,
		gatewayMapTomboloPlaces:      m.TomboloPlaces,
		gatewayMapTomboloPods:        m.TomboloPods,
		gatewayMapTomboloPorts:       m.TomboloPorts,
		gatewayMapTomboloRecords:     m.TomboloRecords,
		gatewayMapTomboloRelays:      m.TomboloRelays,
		gatewayMapTomboloRemotes:     m.TomboloRemotes,
		gatewayMapTomboloSampling:    m.TomboloSampling,
		gatewayMapTomboloSlots:       m.TomboloSlots,
		gatewayMapTomboloSources:     m.TomboloSources,
		gatewayMapTomboloTransit:     m.TomboloTransit,
		gatewayMapTomboloUnderlay:    m.TomboloUnderlay,
		gatewayMapTomboloVnis:        m.TomboloVnis,
		gatewayMapTomboloNextHops:    m.TomboloNextHops,
		gatewayMapTomboloSent:        m.TomboloSent,
		gatewayMapTomboloTaken:       m.TomboloTaken,
	}
}

// Set makes the kernel forward exactly what cfg says, whatever it forwarded before. A cfg that contradicts itself
// changes nothing. Packets that cfg and the former state both forward are forwarded throughout: new entries come
// before old ones go, and programs are replaced in place. A port or pod whose interface does not exist is reported, and left out; the
// rest is done. The underlay's MTU is read here: call Set again when it changes.
func (f *Fastpath) Set(cfg Config) error {
	if err := validate(cfg); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	devices, missing, err := findDevices(cfg)
	if err != nil {
		return err
	}
	if cfg.Underlay.XDP {
		// First, as somebody else may have the hook: then nothing is changed. Without entries of its maps it leaves all to tombolo_in.
		if err := f.attach(linkXDP, devices[cfg.Underlay.Interface].index, f.programs.TomboloXdp); err != nil {
			return fmt.Errorf("attach XDP to underlay %s: %w", cfg.Underlay.Interface, err)
		}
	}
	want := compile(cfg, devices)
	if err := f.giveSlots(want[gatewayMapTomboloSlots]); err != nil {
		return err
	}
	// A process that was killed between a change and its bump has left answers that nobody else will end.
	f.epoch.first.Do(f.epoch.bump)
	stale := map[string][]string{}
	for _, name := range fillOrder {
		if stale[name], err = f.fill(name, want[name]); err != nil {
			return err
		}
	}
	keep, err := f.attachAll(cfg, devices)
	if err != nil {
		return err
	}
	if err := f.detachExcept(keep); err != nil {
		return err
	}
	for _, name := range slices.Backward(fillOrder) {
		if err := f.delete(name, stale[name]); err != nil {
			return err
		}
	}
	if err := f.endSampling(); err != nil {
		return err
	}
	if err := f.removeOtherMaps(); err != nil {
		return fmt.Errorf("remove maps of other layouts: %w", err)
	}
	return errors.Join(missing...)
}

// attachAll attaches where packets come in first: what others send must not be refused because of what we send.
func (f *Fastpath) attachAll(cfg Config, devices map[string]device) (map[string]bool, error) {
	keep := map[string]bool{}
	under := devices[cfg.Underlay.Interface]
	keep[linkIn+strconv.Itoa(under.index)] = true
	if err := f.attach(linkIn, under.index, f.programs.TomboloIn); err != nil {
		return nil, fmt.Errorf("attach to underlay %s: %w", cfg.Underlay.Interface, err)
	}
	if tunnel, ok := devices[cfg.Underlay.Tunnel]; ok {
		keep[linkIn+strconv.Itoa(tunnel.index)] = true
		if err := f.attach(linkIn, tunnel.index, f.programs.TomboloInTunnel); err != nil {
			return nil, fmt.Errorf("attach to tunnel %s: %w", cfg.Underlay.Tunnel, err)
		}
	}
	if cfg.Underlay.VXLAN != "" {
		vxlan := devices[cfg.Underlay.VXLAN]
		keep[linkSlow+strconv.Itoa(vxlan.index)] = true
		if err := f.attach(linkSlow, vxlan.index, f.programs.TomboloSlowIn); err != nil {
			return nil, fmt.Errorf("attach to VXLAN device %s: %w", cfg.Underlay.VXLAN, err)
		}
	}
	if cfg.Underlay.XDP {
		keep[linkXDP+strconv.Itoa(under.index)] = true // attached already
	}
	for _, p := range cfg.Ports {
		d, ok := devices[p.Interface] // no interface has no name
		if !ok {
			continue
		}
		keep[linkOut+strconv.Itoa(d.index)] = true
		if err := f.attach(linkOut, d.index, f.programs.TomboloOut); err != nil {
			return nil, fmt.Errorf("attach to %s, port of %s: %w", p.Interface, p.Vpc, err)
		}
	}
	return keep, f.attachPods(cfg, devices, keep)
}

// attachPods attaches tombolo_switch before tombolo_pod, which sends nothing to a switch that has no way back.
func (f *Fastpath) attachPods(cfg Config, devices map[string]device, keep map[string]bool) error {
	for _, p := range cfg.Pods {
		d, other, ok := podDevices(p, devices)
		if !ok {
			continue
		}
		if p.Switch != "" {
			keep[linkSwitch+strconv.Itoa(other.index)] = true
			if err := f.attach(linkSwitch, other.index, f.programs.TomboloSwitch); err != nil {
				return fmt.Errorf("attach to %s, switch of pod %s: %w", p.Switch, p.Address, err)
			}
		}
		keep[linkPod+strconv.Itoa(d.index)] = true
		if err := f.attach(linkPod, d.index, f.programs.TomboloPod); err != nil {
			return fmt.Errorf("attach to %s, interface of pod %s: %w", p.Interface, p.Address, err)
		}
	}
	return nil
}

// fill puts what is new or different into a map and returns the keys that are not wanted.
func (f *Fastpath) fill(name string, want entries) ([]string, error) {
	have, err := f.read(name)
	if err != nil {
		return nil, err
	}
	added := 0
	defer func() {
		if added > 0 && isCached[name] {
			f.epoch.bump()
		}
	}()
	for key, value := range want {
		now, ok := have[key]
		if ok && string(now) == string(value) {
			continue
		}
		if err := f.put(name, key, value); err != nil {
			return nil, fmt.Errorf("put entry into %s, which has room for %d: %w", name, f.maps[name].MaxEntries(), err)
		}
		added++
	}
	var stale []string
	for key := range have {
		if _, ok := want[key]; !ok {
			stale = append(stale, key)
		}
	}
	if added+len(stale) > 0 {
		f.opts.Logger.V(1).Info("Changed map", "map", name, "put", added, "stale", len(stale))
	}
	return stale, nil
}

func (f *Fastpath) put(name, key string, value []byte) error {
	if isCounter[name] {
		return patiently(func() error {
			return f.maps[name].Update([]byte(key), make([]flowCount, ebpf.MustPossibleCPU()), ebpf.UpdateNoExist)
		})
	}
	return patiently(func() error { return f.maps[name].Put([]byte(key), value) })
}

// patiently tries again what the kernel has no memory for: it makes more in the background, which takes a while on a busy machine.
func patiently(update func() error) error {
	wait := 5 * time.Millisecond
	for {
		err := update()
		if !errors.Is(err, unix.ENOMEM) || wait > time.Second {
			return err
		}
		<-time.After(wait)
		wait *= 2
	}
}

func (f *Fastpath) delete(name string, keys []string) error {
	if len(keys) > 0 && isCached[name] {
		defer f.epoch.bump()
	}
	for _, key := range keys {
		if err := f.maps[name].Delete([]byte(key)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete entry of %s: %w", name, err)
		}
	}
	return nil
}

// read returns a map's content; of counters only the keys, with nil for values.
func (f *Fastpath) read(name string) (entries, error) {
	m, out := f.maps[name], entries{}
	var key, value []byte
	var counts []flowCount
	it := m.Iterate()
	into := any(&value)
	if isCounter[name] {
		into = &counts
	}
	for it.Next(&key, into) {
		out[string(key)] = slices.Clone(value) // the next turn writes into the same bytes
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return out, nil
}

func vpcNames(cfg Config) map[uint32]string {
	names := map[uint32]string{}
	for _, p := range cfg.Ports {
		names[p.VNI] = p.Vpc
		for _, r := range p.Remotes {
			names[r.VNI] = r.Vpc
		}
	}
	return names
}

// Close releases what the process holds. Pinned maps and links go on working.
func (f *Fastpath) Close() error {
	errs := []error{f.programs.Close(), f.epoch.close()}
	for _, m := range f.maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// Remove detaches the programs, deletes every pin, and closes. Only a node that is no gateway any more wants this.
func (f *Fastpath) Remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.detachExcept(nil); err != nil {
		return err
	}
	if err := os.RemoveAll(f.opts.PinPath); err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	return f.Close()
}
