// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// kernel is the kernel's WireGuard. Its state is the kernel's, so an agent that starts takes over what it finds.
type kernel struct {
	client *wgctrl.Client
	name   string
}

func openKernel(name string) (engine, error) {
	client, err := wgctrl.New()
	if err != nil {
		return nil, fmt.Errorf("open the kernel's WireGuard: %w", err)
	}
	return &kernel{client: client, name: name}, nil
}

func (k *kernel) state() (state, error) {
	device, err := k.client.Device(k.name)
	if err != nil {
		return state{}, err
	}
	s := state{port: uint16(device.ListenPort), peers: map[PublicKey]Peer{}}
	if device.PrivateKey != (wgtypes.Key{}) {
		s.key = privateKey((*[keySize]byte)(&device.PrivateKey))
	}
	for _, p := range device.Peers {
		s.peers[PublicKey(p.PublicKey)] = peerOf(p)
	}
	return s, nil
}

// peerOf is the zero Peer, which is never wanted, for what Set would not have made.
func peerOf(p wgtypes.Peer) Peer {
	if p.Endpoint == nil || len(p.AllowedIPs) != 1 {
		return Peer{}
	}
	peer := Peer{Key: PublicKey(p.PublicKey), Address: p.Endpoint.AddrPort().Addr().Unmap(), Port: p.Endpoint.AddrPort().Port()}
	if p.AllowedIPs[0].String() != netip.PrefixFrom(peer.Address, 32).String() {
		return Peer{}
	}
	return peer
}

func (k *kernel) alive() error {
	_, err := k.client.Device(k.name)
	return err
}

func (k *kernel) set(want state) error {
	have, err := k.state()
	if err != nil {
		return err
	}
	return k.apply(difference(have, want))
}

// settled is true: an interface of the kernel has one key.
func (k *kernel) settled() bool { return true }

func (k *kernel) apply(c change) error {
	if c.key == nil && c.port == nil && len(c.remove)+len(c.put) == 0 {
		return nil
	}
	var config wgtypes.Config
	if c.key != nil {
		config.PrivateKey = (*wgtypes.Key)(c.key.secret())
	}
	if c.port != nil {
		config.ListenPort = new(int(*c.port))
	}
	for _, key := range c.remove {
		config.Peers = append(config.Peers, wgtypes.PeerConfig{PublicKey: wgtypes.Key(key), Remove: true})
	}
	for _, p := range c.put {
		config.Peers = append(config.Peers, wgtypes.PeerConfig{
			PublicKey:                   wgtypes.Key(p.Key),
			Endpoint:                    net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.Address, p.Port)),
			PersistentKeepaliveInterval: new(keepalive * time.Second),
			ReplaceAllowedIPs:           true,
			AllowedIPs:                  []net.IPNet{{IP: p.Address.AsSlice(), Mask: net.CIDRMask(32, 32)}},
		})
	}
	return k.client.ConfigureDevice(k.name, config)
}

// close leaves the interface as it is.
func (k *kernel) close() error { return k.client.Close() }
