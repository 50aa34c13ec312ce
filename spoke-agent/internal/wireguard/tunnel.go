// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
)

// Overhead is what WireGuard adds to a packet over IPv4, in bytes: IPv4 20, UDP 8, its own header 16, Poly1305 tag 16.
const Overhead = 60

// Config is the whole interface.
type Config struct {
	// Interface name, for example tbwg0.
	Interface string
	// MTU of the interface in bytes: the underlay's minus Overhead.
	MTU int
	// ListenPort is the UDP port on the underlay.
	ListenPort uint16
	// Key of this node.
	Key PrivateKey
	// Next and Former are keys of this node that are served too, if they are valid: the one that will replace Key, which other
	// clusters may know already, and the one that Key has replaced, which others may still use. (The kernel's WireGuard serves Key alone.)
	Next, Former PrivateKey
	// Peers are the gateways of the clusters with which this one speaks encrypted.
	Peers []Peer
	// Guarded are all gateways of these clusters, those without a key among them: the kernel sends nothing to their
	// GuardedPort (UDP) but through the interface.
	Guarded     []netip.Addr
	GuardedPort uint16
}

// Peer is another cluster's gateway.
type Peer struct {
	// Key of the gateway, as the hub approved it.
	Key PublicKey
	// Address of the gateway on the underlay, and the only one that its packets may come from inside the tunnel.
	Address netip.Addr
	// Port is the UDP port of its WireGuard.
	Port uint16
}

// Tunnel is the interface of this node.
type Tunnel struct {
	log logr.Logger

	mu     sync.Mutex
	engine engine
}

// engine is a WireGuard implementation with its one interface.
type engine interface {
	// alive says why the interface can't be used any more.
	alive() error
	// set makes the interface have what the state says. What stays the same is not touched.
	set(state) error
	// settled is true when nobody uses the former key.
	settled() bool
	// close ends what ends with the process.
	close() error
}

// state is what WireGuard knows.
type state struct {
	key, next, former PrivateKey
	port              uint16
	peers             map[PublicKey]Peer
}

// change is the difference between two states. Peers are removed before others come.
type change struct {
	key    *PrivateKey
	port   *uint16
	remove []PublicKey
	put    []Peer
}

// New is the tunnel of the network namespace that Set is called in. Nothing is there before Set.
func New(log logr.Logger) *Tunnel { return &Tunnel{log: log} }

// Set makes the interface be as cfg says. What stays the same is not touched, and so sessions go on. The guard comes first,
// and comes even if no interface can be made.
func (t *Tunnel) Set(cfg Config) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	guard := link.Guard{Port: cfg.GuardedPort, Tunnel: cfg.Interface, Addresses: cfg.Guarded}
	if err := guard.Ensure(); err != nil {
		return err
	}
	if err := t.set(cfg); err != nil {
		return err
	}
	return guard.Ensure() // now through the interface
}

func (t *Tunnel) set(cfg Config) error {
	if err := validate(cfg); err != nil {
		return err
	}
	if t.engine == nil {
		e, err := open(cfg, t.log)
		if err != nil {
			return fmt.Errorf("make %s: %w", cfg.Interface, err)
		}
		t.engine = e
	}
	if err := errors.Join(t.engine.alive(), link.EnsureTunnel(cfg.Interface, cfg.MTU)); err != nil {
		// Somebody took the interface away: the next Set makes another one.
		_ = t.engine.close() // of what is gone
		t.engine = nil
		return fmt.Errorf("keep %s: %w", cfg.Interface, err)
	}
	if err := t.engine.set(wanted(cfg)); err != nil {
		return fmt.Errorf("configure %s: %w", cfg.Interface, cure(err, cfg.ListenPort))
	}
	return nil
}

// cure adds to an error what a person can do about it.
func cure(err error, port uint16) error {
	if errors.Is(err, unix.EADDRINUSE) {
		return link.Kind(fmt.Errorf("%w; something else on this node has UDP port %d (ss -ulnp): move it, or give --wireguard-port another", err, port), link.ErrPortOccupied)
	}
	return err
}

// Settled is true when no gateway needs the former key any more, as far as the newest Set knows.
func (t *Tunnel) Settled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.engine != nil && t.engine.settled()
}

// Close ends the interface if it can't be without this process.
func (t *Tunnel) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.engine == nil {
		return nil
	}
	err := t.engine.close()
	t.engine = nil
	return err
}

// Remove ends the interface name in any case.
func (t *Tunnel) Remove(name string) error {
	if err := t.Close(); err != nil {
		return fmt.Errorf("close %s: %w", name, err)
	}
	return link.RemoveTunnel(name)
}

// open takes the kernel's WireGuard, or else brings its own.
func open(cfg Config, log logr.Logger) (engine, error) {
	switch err := link.AddWireGuard(cfg.Interface); {
	case err == nil:
		log.Info("Encrypting in the kernel", "interface", cfg.Interface)
		return openKernel(cfg.Interface)
	case errors.Is(err, errors.ErrUnsupported):
		log.Info("This kernel has no WireGuard: encrypting in the agent, and so not while the agent restarts", "interface", cfg.Interface)
		return openEmbedded(cfg.Interface, cfg.MTU, log)
	default:
		return nil, err
	}
}

func wanted(cfg Config) state {
	s := state{key: cfg.Key, next: cfg.Next, former: cfg.Former, port: cfg.ListenPort, peers: map[PublicKey]Peer{}}
	for _, p := range cfg.Peers {
		s.peers[p.Key] = p
	}
	return s
}

func difference(have, want state) change {
	var c change
	if !have.key.equal(want.key) {
		c.key = &want.key
	}
	if have.port != want.port {
		c.port = &want.port
	}
	for key := range have.peers {
		if _, stays := want.peers[key]; !stays {
			c.remove = append(c.remove, key)
		}
	}
	for key, peer := range want.peers {
		if have.peers[key] != peer {
			c.put = append(c.put, peer)
		}
	}
	return c
}

// validate says what of cfg can't be. No error tells anything of the private key.
func validate(cfg Config) error {
	var errs []error
	own, err := cfg.Key.Public()
	if err != nil {
		errs = append(errs, err)
	}
	if cfg.ListenPort == 0 {
		errs = append(errs, errors.New("listen port is 0; WireGuard's is 51871 here"))
	}
	if cfg.Interface == "" {
		errs = append(errs, errors.New("interface is empty; name it, for example tbwg0"))
	}
	keys, addresses := map[PublicKey]bool{own: true}, map[netip.Addr]bool{}
	for _, p := range cfg.Peers {
		switch {
		case !p.Address.Is4():
			errs = append(errs, fmt.Errorf("peer %s: address %s is not IPv4; give its address on the underlay", p.Key, p.Address))
		case p.Port == 0:
			errs = append(errs, fmt.Errorf("peer %s: port is 0; give its WireGuard's", p.Key))
		case keys[p.Key]:
			errs = append(errs, fmt.Errorf("peer %s: another gateway has the same key; a key is one gateway's", p.Key))
		case addresses[p.Address]:
			errs = append(errs, fmt.Errorf("peer %s: another gateway has the address %s too; an address is one gateway's", p.Key, p.Address))
		}
		keys[p.Key], addresses[p.Address] = true, true
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("check WireGuard config: %w", err)
	}
	return nil
}
