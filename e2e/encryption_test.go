// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/lab"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/node"
	"github.com/tombolo-io/tombolo/e2e/story"
)

const (
	vxlanPort     = 4789
	wireGuardPort = 51871
)

// TestEncryption labels a cluster, and looks at what then is between the clusters.
func TestEncryption(t *testing.T) {
	n := newTenant(t, "encryption")
	pod1, pod2 := n.peered()
	if seen := n.onTheWire(func() { n.reach(pod1, pod2, 62) }); seen[vxlanPort] < 10 || seen[wireGuardPort] != 0 {
		t.Fatalf("without encryption UDP ports %v were seen", seen)
	}

	n.labelCluster("east", networkv1alpha1.LabelEncryption, `"WireGuard"`)
	t.Cleanup(func() { n.labelCluster("east", networkv1alpha1.LabelEncryption, "null") })
	n.encrypted("one-two")
	n.eventuallyReach(pod1, pod2)
	seen := n.onTheWire(func() {
		n.reach(pod1, pod2, 62)
		_, err := pod2.TCP(n.ctx, pod1.Address, 4<<20)
		n.must(err)
	})
	if seen[vxlanPort] != 0 || seen[wireGuardPort] < 4<<20/65535 { // the socket sends up to 64 KiB at once
		t.Errorf("with encryption UDP ports %v were seen", seen)
	}
	n.verified("one-two")
	n.refusesClear(pod1, pod2)
	n.rotate(pod1, pod2)

	seen = n.onTheWire(func() { // wireguard-go ends with the agent: no encryption, and no packet in the clear
		killed, err := fleet.Lab.KillAgents(n.ctx, func(c lab.Container) bool { return c.Cluster == "east" && c.Node == "n1" && c.Component == "node" })
		if n.must(err); killed != 1 {
			n.Fatalf("killed %d agents of east's n1", killed)
		}
		_, err = pod1.Ping(n.ctx, pod2.Address, 20, 20*time.Millisecond)
		n.must(err)
		n.must(fleet.Lab.AgentsReady(n.ctx))
		n.eventuallyReach(pod1, pod2)
	})
	if seen[vxlanPort] != 0 {
		t.Errorf("while the agent was away UDP ports %v were seen", seen)
	}

	n.labelCluster("east", networkv1alpha1.LabelEncryption, "null")
	n.must(story.Eventually(n.ctx, "the fast path without encryption", func(context.Context) error {
		seen := n.onTheWire(func() { _, _ = pod1.Ping(n.ctx, pod2.Address, 5, 20*time.Millisecond) })
		if seen[vxlanPort] < 10 || seen[wireGuardPort] > 1 { // a last keepalive
			return fmt.Errorf("UDP ports %v", seen)
		}
		return nil
	}))
	n.reach(pod1, pod2, 62)
}

// refusesClear sends to west, from east's gateway and without encryption, what it would take from inside the tunnel.
func (n *tenant) refusesClear(pod1, pod2 *story.Pod) {
	n.Helper()
	vni, err := fleet.Hub.VNI(n.ctx, n.name, "vpc-2")
	n.must(err)
	east, err := fleet.Lab.Cluster("east")
	n.must(err)
	west, err := fleet.Lab.Cluster("west")
	n.must(err)
	before, err := fleet.Counters(n.ctx, "west")
	n.must(err)
	n.must(netns.Do(east.Nodes[0].NetNS, func() error {
		// A raw socket: what asks for a route of UDP is led into the tunnel.
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		from, to := east.Nodes[0].WanIP.Addr(), west.Nodes[0].WanIP.Addr()
		packet := udpPacket(from, to, vxlanPort, vxlan(vni, echoRequest(pod1.Address, pod2.Address)))
		return errors.Join(unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: to.As4()}), unix.Close(fd))
	}))
	n.must(story.Eventually(n.ctx, "the drop to be counted", func(ctx context.Context) error {
		after, err := fleet.Counters(ctx, "west")
		if err == nil && after.Drops("not_encrypted") != before.Drops("not_encrypted")+1 {
			err = fmt.Errorf("not_encrypted is %.0f and was %.0f", after.Drops("not_encrypted"), before.Drops("not_encrypted"))
		}
		return err
	}))
}

// udpPacket is an IPv4 packet (RFC 791) with a UDP datagram (RFC 768); length and checksum of IPv4 are the kernel's.
func udpPacket(from, to netip.Addr, port uint16, payload []byte) []byte {
	packet := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	packet = append(append(packet, from.AsSlice()...), to.AsSlice()...)
	packet = binary.BigEndian.AppendUint16(packet, 50000)
	packet = binary.BigEndian.AppendUint16(packet, port)
	packet = binary.BigEndian.AppendUint16(packet, uint16(8+len(payload)))
	return append(append(packet, 0, 0), payload...)
}

// rotate replaces the key of east's gateway n1 under traffic.
func (n *tenant) rotate(pod1, pod2 *story.Pod) {
	n.Helper()
	former := n.key("east", "n1")
	flow := n.ping(pod1, pod2, 5*time.Second)
	gateway := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	n.must(fleet.Spokes["east"].Patch(n.ctx, gateway, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"tombolo.io/rotate-key":"once"}}}`))))
	n.must(story.Eventually(n.ctx, "another key", func(context.Context) error {
		if n.key("east", "n1") == former {
			return errors.New("it is the former one")
		}
		return nil
	}))
	n.lossless(flow, "rotation of a key")
}

// key is the approved public key of a gateway node. Which of several is the first depends on who reports first.
func (n *tenant) key(cluster, node string) spokev1alpha1.PublicKey {
	n.Helper()
	g := &spokev1alpha1.InterconnectGateway{}
	n.must(fleet.Hub.Get(n.ctx, types.NamespacedName{Namespace: cluster, Name: cluster}, g))
	for _, endpoint := range g.Spec.Endpoints {
		if endpoint.Node == node && endpoint.PublicKey != "" {
			return endpoint.PublicKey
		}
	}
	n.Fatalf("gateway %s of cluster %s has no approved key: %+v", node, cluster, g.Spec)
	return ""
}

// labelCluster sets a label of the ManagedCluster to a JSON value.
func (n *tenant) labelCluster(cluster, label, value string) {
	n.Helper()
	o := &unstructured.Unstructured{}
	o.SetAPIVersion("cluster.open-cluster-management.io/v1")
	o.SetKind("ManagedCluster")
	o.SetName(cluster)
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, label, value)
	n.check(fleet.Hub.Patch(context.WithoutCancel(n.ctx), o, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// encrypted waits until the hub says that both ends of a peering can encrypt.
func (n *tenant) encrypted(peering string) {
	n.Helper()
	n.must(story.Eventually(n.ctx, "the condition Encrypted", func(ctx context.Context) error {
		p := &networkv1alpha1.VpcPeering{}
		if err := fleet.Hub.Get(ctx, types.NamespacedName{Namespace: n.name, Name: peering}, p); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(p.Status.Conditions, networkv1alpha1.ConditionEncrypted) {
			return fmt.Errorf("conditions are %+v", p.Status.Conditions)
		}
		return nil
	}))
}

func (n *tenant) eventuallyReach(from, to *story.Pod) {
	n.Helper()
	n.must(story.Eventually(n.ctx, from.Name+" to reach "+to.Name, func(ctx context.Context) error {
		_, err := from.MustReach(ctx, to, 62)
		return err
	}))
}

// onTheWire counts the UDP datagrams, by destination port, that west's node sends or gets on its interface to the other clusters while f runs. What nodes of
// east send each other is there too while the switch does not know where one of them is.
func (n *tenant) onTheWire(f func()) map[int]int {
	n.Helper()
	west, err := fleet.Lab.Cluster("west")
	n.must(err)
	fd, own := -1, west.Nodes[0].WanIP.Addr().As4()
	n.must(netns.Do(west.Nodes[0].NetNS, func() error {
		wan, err := net.InterfaceByName(node.WANIf)
		if err != nil {
			return err
		}
		// Nothing is read before the socket is bound: on tbwg0 VXLAN is in the clear.
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		const all = unix.ETH_P_ALL << 8 // in network byte order
		return errors.Join(unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: wan.Index}), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20))
	}))
	defer func() { _ = unix.Close(fd) }()
	stop, seen := make(chan struct{}), make(chan map[int]int)
	go func() {
		ports, buffer, end := map[int]int{}, make([]byte, 256), time.Time{}
		for end.IsZero() || time.Now().Before(end) {
			count, _, err := unix.Recvfrom(fd, buffer, 0)
			if err == nil && count >= 24 && buffer[0] == 0x45 && buffer[9] == unix.IPPROTO_UDP && (own == [4]byte(buffer[12:]) || own == [4]byte(buffer[16:])) {
				ports[int(buffer[22])<<8|int(buffer[23])]++
			}
			select {
			case <-stop:
				stop, end = nil, time.Now().Add(200*time.Millisecond) // for what is still to be read
			default:
			}
		}
		seen <- ports
	}()
	f()
	close(stop)
	return <-seen
}
