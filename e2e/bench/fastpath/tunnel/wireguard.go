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

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// open makes both ends as upstream's own program does: a TUN interface that takes super-packets.
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

// openEnd must run in the end's namespace: TUN interface and socket are made in it. The interface is set up by somebody
// else afterwards, else wireguard-go would open its socket on a thread of any namespace.
func openEnd(r Request, configuration string) (*device.Device, error) {
	t, err := tun.CreateTUN(r.Name, r.MTU)
	if err != nil {
		return nil, err
	}
	d := device.NewDevice(t, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	if err := d.IpcSet(configuration); err != nil {
		return nil, err
	}
	return d, d.Up()
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
