// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package tunnel

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// open makes both ends with all that upstream's own program has: TUN interfaces that take super-packets.
func open(r Request) ([]*device.Device, error) {
	var keys [2]*ecdh.PrivateKey
	for i := range keys {
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("make key: %w", err)
		}
		keys[i] = key
	}
	var devices []*device.Device
	for i, end := range r.Ends {
		peer := r.Ends[1-i]
		err := netns.Do(end.Namespace, func() error {
			d, err := openEnd(r, configuration(r.Port, keys[i], keys[1-i].PublicKey(), peer))
			if err == nil {
				devices = append(devices, d)
			}
			return err
		})
		if err != nil {
			return devices, fmt.Errorf("open tunnel in %s: %w", end.Namespace, err)
		}
	}
	return devices, nil
}

// openEnd must run in the end's namespace: TUN interface and socket are made in it. Nothing watches the interface, or
// wireguard-go would close its socket while that is down, and open another one on a thread of any namespace.
func openEnd(r Request, configuration string) (*device.Device, error) {
	fd, err := openTUN(r)
	if err != nil {
		return nil, err
	}
	t, _, err := tun.CreateUnmonitoredTUNFromFD(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open TUN interface %s: %w", r.Name, err)
	}
	d := device.NewDevice(t, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	if err := d.IpcSet(configuration); err != nil {
		return nil, err
	}
	return d, d.Up()
}

func openTUN(r Request) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open /dev/net/tun: %w; load the kernel's module tun", err)
	}
	request, err := unix.NewIfreq(r.Name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err == nil {
		err = setMTU(r)
	}
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("make TUN interface %s: %w", r.Name, err)
	}
	return fd, nil
}

// setMTU comes before wireguard-go reads it.
func setMTU(r Request) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq(r.Name)
	if err != nil {
		return err
	}
	request.SetUint32(uint32(r.MTU))
	return unix.IoctlIfreq(s, unix.SIOCSIFMTU, request)
}

// configuration is in the protocol of https://www.wireguard.com/xplatform/#configuration-protocol.
func configuration(port uint16, key *ecdh.PrivateKey, other *ecdh.PublicKey, peer End) string {
	var b strings.Builder
	fmt.Fprintf(&b, "private_key=%s\nlisten_port=%d\npublic_key=%s\nendpoint=%s\n",
		hex.EncodeToString(key.Bytes()), port, hex.EncodeToString(other.Bytes()),
		netip.AddrPortFrom(netip.MustParseAddr(peer.Endpoint), port))
	for _, prefix := range peer.Behind {
		fmt.Fprintf(&b, "allowed_ip=%s\n", prefix)
	}
	return b.String()
}
