// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
)

// keepalive in seconds keeps sessions warm: the first packet after a silence does not wait for a handshake. To
// wireguard-go it also is what makes a new peer shake hands at once.
const keepalive = 25

// embedded is wireguard-go on a TUN interface. Its state is what it was given: nobody else can reach it.
type embedded struct {
	device *device.Device
	given  state
}

func openEmbedded(name string, mtu int, log logr.Logger) (engine, error) {
	fd, err := openTUN(name)
	if err != nil {
		return nil, err
	}
	interfaceOf, _, err := tun.CreateUnmonitoredTUNFromFD(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open TUN interface: %w", err)
	}
	if err := link.EnsureTunnel(name, mtu); err != nil { // wireguard-go reads the MTU once
		interfaceOf.Close()
		return nil, err
	}
	dev := device.NewDevice(interfaceOf, conn.NewDefaultBind(), &device.Logger{
		Verbosef: device.DiscardLogf,
		Errorf:   func(format string, args ...any) { log.Info("WireGuard: " + fmt.Sprintf(format, args...)) },
	})
	return &embedded{device: dev, given: state{peers: map[PublicKey]Peer{}}}, nil
}

// openTUN makes a TUN interface that ends with the process. It has no virtio header: with one, wireguard-go would join
// UDP datagrams, among them those of VXLAN, to super-packets that are none of a tunnel's.
func openTUN(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, link.Kind(fmt.Errorf("open /dev/net/tun: %w; load the kernel's module tun, or wireguard, and let the agent have the device", err), link.ErrKernelLacks)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("name TUN interface %q: %w", name, err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("make TUN interface %s: %w", name, err)
	}
	return fd, nil
}

func (e *embedded) state() (state, error) {
	select {
	case <-e.device.Wait():
		return state{}, errors.New("WireGuard has ended")
	default:
		return e.given, nil
	}
}

func (e *embedded) apply(c change) error {
	if text := configuration(c); text != "" {
		if err := e.device.IpcSet(text); err != nil {
			return err
		}
		e.note(c)
	}
	if err := e.device.Up(); err != nil {
		e.given.port = 0 // wireguard-go has forgotten it, and would take any port the next time
		return err
	}
	return nil
}

func (e *embedded) note(c change) {
	if c.key != nil {
		e.given.key = *c.key
	}
	if c.port != nil {
		e.given.port = *c.port
	}
	for _, key := range c.remove {
		delete(e.given.peers, key)
	}
	for _, peer := range c.put {
		e.given.peers[peer.Key] = peer
	}
}

// configuration is c in the protocol of https://www.wireguard.com/xplatform/#configuration-protocol.
func configuration(c change) string {
	var b strings.Builder
	if c.key != nil {
		fmt.Fprintf(&b, "private_key=%s\n", c.key.hex())
	}
	if c.port != nil {
		fmt.Fprintf(&b, "listen_port=%d\n", *c.port)
	}
	for _, key := range c.remove {
		fmt.Fprintf(&b, "public_key=%s\nremove=true\n", hex.EncodeToString(key[:]))
	}
	for _, p := range c.put {
		fmt.Fprintf(&b, "public_key=%s\nendpoint=%s\nreplace_allowed_ips=true\nallowed_ip=%s/32\npersistent_keepalive_interval=%d\n",
			hex.EncodeToString(p.Key[:]), netip.AddrPortFrom(p.Address, p.Port), p.Address, keepalive)
	}
	return b.String()
}

func (e *embedded) close() error {
	e.device.Close()
	return nil
}
