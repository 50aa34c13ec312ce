// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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

// look is how often to look for the first session of a new pair of keys.
const look = 50 * time.Millisecond

// embedded is wireguard-go on a TUN interface. A device of wireguard-go has one private key, and one peer for an address; so
// that keys can be replaced without loss there are several devices, one for most of the time, with one TUN interface and one
// socket between them.
//
//	tbwg0 ─ read, route ─┬─▶ layer: own key, peers ─┬─▶ socket
//	                     └─▶ layer: own next key … ─┘
//	socket ─ to all layers ─▶ whose session it is ─▶ tbwg0
type embedded struct {
	log    logr.Logger
	tun    tun.Device
	socket *socket
	// routes are the layers by destination.
	routes atomic.Pointer[map[netip.Addr]*layer]
	ended  chan struct{} // closed when the TUN interface is

	mu      sync.Mutex
	layers  []*layer
	want    state
	looking bool
}

// layer is one device of wireguard-go.
type layer struct {
	own    PublicKey
	device *device.Device
	tun    *interfaceEnd
	socket *socketEnd
	pairs  []*pair
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
	e := &embedded{log: log, tun: interfaceOf, socket: &socket{Bind: conn.NewDefaultBind(), longest: longestOf(mtu)}, ended: make(chan struct{})}
	go e.read()
	return e, nil
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

// read routes what comes from the TUN interface, until that ends.
func (e *embedded) read() {
	defer close(e.ended)
	buf, sizes := make([]byte, largest), []int{0}
	for {
		if _, err := e.tun.Read([][]byte{buf}, sizes, 0); err != nil {
			return
		}
		packet := buf[:sizes[0]]
		if routes := e.routes.Load(); routes != nil && len(packet) >= 20 && packet[0]>>4 == 4 {
			if to := (*routes)[netip.AddrFrom4([4]byte(packet[16:20]))]; to != nil {
				to.tun.packets.push(newMessage(packet, nil))
			}
		}
	}
}

func (e *embedded) alive() error {
	select {
	case <-e.ended:
		return errors.New("the TUN interface has ended")
	default:
		return nil
	}
}

func (e *embedded) set(want state) error {
	if err := e.socket.open(want.port); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.want = want
	e.establish()
	if err := e.removeOver(time.Now()); err != nil {
		return err
	}
	if err := e.ensureAll(time.Now()); err != nil {
		return err
	}
	e.route()
	if !e.looking && e.overlaps() {
		e.looking = true
		go e.watch()
	}
	return nil
}

// removeOver removes pairs that have to go, and devices that have nothing left.
func (e *embedded) removeOver(now time.Time) error {
	all := e.pairs()
	for _, l := range e.layers {
		for _, p := range slices.Clone(l.pairs) {
			if !over(p, all, e.want, now) {
				continue
			}
			if err := l.device.IpcSet(fmt.Sprintf("public_key=%s\nremove=true\n", hex.EncodeToString(p.Key[:]))); err != nil {
				return err
			}
			l.pairs = slices.DeleteFunc(l.pairs, func(q *pair) bool { return q == p })
		}
	}
	keep := func(l *layer) bool { return len(l.pairs) > 0 }
	var gone []*layer
	for _, l := range e.layers {
		if !keep(l) {
			gone = append(gone, l)
		}
	}
	e.layers = slices.DeleteFunc(e.layers, func(l *layer) bool { return !keep(l) })
	e.route() // nothing is sent to them any more
	for _, l := range gone {
		l.device.Close()
	}
	return nil
}

// ensureAll serves all pairs of keys. The former key is for gateways that may not know the one after it.
func (e *embedded) ensureAll(now time.Time) error {
	for _, own := range []PrivateKey{e.want.former, e.want.key, e.want.next} {
		if !own.Valid() {
			continue
		}
		for _, peer := range e.want.peers {
			if own.equal(e.want.former) && replacedAt(peer.Address, e.pairs(), e.want, now) {
				continue
			}
			if err := e.ensure(own, peer); err != nil {
				return err
			}
		}
	}
	return nil
}

// ensure serves a pair.
func (e *embedded) ensure(own PrivateKey, peer Peer) error {
	public, err := own.Public()
	if err != nil {
		return err
	}
	var room *layer
	for _, l := range e.layers {
		if l.own != public {
			continue
		}
		taken := false
		for _, p := range l.pairs {
			if p.Peer == peer {
				return nil
			}
			if p.Key == peer.Key && p.Address == peer.Address { // another port
				p.Peer = peer
				return l.device.IpcSet(configuration(peer))
			}
			taken = taken || p.Key == peer.Key || p.Address == peer.Address
		}
		if !taken && room == nil {
			room = l
		}
	}
	if room == nil {
		if room, err = e.newLayer(own, public); err != nil {
			return err
		}
	}
	room.pairs = append(room.pairs, &pair{own: public, Peer: peer, since: time.Now()})
	return room.device.IpcSet(configuration(peer))
}

func (e *embedded) newLayer(own PrivateKey, public PublicKey) (*layer, error) {
	l := &layer{own: public, tun: newInterfaceEnd(e.tun), socket: &socketEnd{socket: e.socket}}
	l.device = device.NewDevice(l.tun, l.socket, &device.Logger{
		Verbosef: device.DiscardLogf,
		Errorf:   func(format string, args ...any) { e.log.Info("WireGuard: " + fmt.Sprintf(format, args...)) },
	})
	if err := errors.Join(l.device.IpcSet("private_key="+own.hex()+"\n"), l.device.Up()); err != nil {
		l.device.Close()
		return nil, err
	}
	e.layers = append(e.layers, l)
	e.attach()
	return l, nil
}

// attach gives what the socket receives to all layers.
func (e *embedded) attach() {
	var ends []*socketEnd
	for _, l := range e.layers {
		ends = append(ends, l.socket)
	}
	e.socket.ends.Store(&ends)
}

// configuration is a peer in the protocol of https://www.wireguard.com/xplatform/#configuration-protocol.
func configuration(p Peer) string {
	return fmt.Sprintf("public_key=%s\nendpoint=%s\nreplace_allowed_ips=true\nallowed_ip=%s/32\npersistent_keepalive_interval=%d\n",
		hex.EncodeToString(p.Key[:]), netip.AddrPortFrom(p.Address, p.Port), p.Address, keepalive)
}

func (e *embedded) pairs() (all []*pair) {
	for _, l := range e.layers {
		all = append(all, l.pairs...)
	}
	return all
}

// route sends each gateway's packets through the best pair.
func (e *embedded) route() {
	current, _ := e.want.key.Public()
	byAddress, layerOf := map[netip.Addr][]*pair{}, map[*pair]*layer{}
	for _, l := range e.layers {
		for _, p := range l.pairs {
			byAddress[p.Address] = append(byAddress[p.Address], p)
			layerOf[p] = l
		}
	}
	routes := map[netip.Addr]*layer{}
	for address, pairs := range byAddress {
		routes[address] = layerOf[choose(pairs, current, e.want)]
	}
	e.routes.Store(&routes)
	e.attach()
}

// overlaps says whether a gateway has several pairs.
func (e *embedded) overlaps() bool {
	seen := map[netip.Addr]bool{}
	for _, p := range e.pairs() {
		if seen[p.Address] {
			return true
		}
		seen[p.Address] = true
	}
	return false
}

// watch looks for sessions of new pairs while there are such.
func (e *embedded) watch() {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for range ticker.C {
		e.mu.Lock()
		e.establish()
		e.route()
		e.looking = e.overlaps()
		again := e.looking
		e.mu.Unlock()
		if !again {
			return
		}
	}
}

// establish notes which pairs have had a session.
func (e *embedded) establish() {
	for _, l := range e.layers {
		if !slices.ContainsFunc(l.pairs, func(p *pair) bool { return p.established.IsZero() }) {
			continue
		}
		text, err := l.device.IpcGet()
		if err != nil {
			continue // the next time
		}
		shaken := handshakes(text)
		for _, p := range l.pairs {
			if p.established.IsZero() && shaken[p.Key] {
				p.established = time.Now()
			}
		}
	}
}

// handshakes are the peers with which a handshake was completed.
func handshakes(text string) map[PublicKey]bool {
	shaken := map[PublicKey]bool{}
	var peer PublicKey
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "=")
		switch name {
		case "public_key":
			raw, err := hex.DecodeString(value)
			if err == nil && len(raw) == keySize {
				peer = PublicKey(raw)
			}
		case "last_handshake_time_sec":
			shaken[peer] = shaken[peer] || value != "0"
		}
	}
	return shaken
}

// settled says whether nothing is served with the former key.
func (e *embedded) settled() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	former, err := e.want.former.Public()
	return err != nil || !slices.ContainsFunc(e.layers, func(l *layer) bool { return l.own == former })
}

func (e *embedded) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := errors.Join(e.socket.close(), e.tun.Close())
	for _, l := range e.layers {
		l.device.Close()
	}
	e.layers = nil
	go debug.FreeOSMemory() // or what packets needed at their most would stay the process's for long
	return err
}
