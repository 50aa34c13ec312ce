// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"

	cnitypes "github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/attachment"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/binding"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/cni"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
)

// userspaceDatapath is the datapath that takes packets from pods as they are, unfinished checksums included.
const userspaceDatapath = "netdev"

// add tells the plugin what interface the pod gets.
func (s *Server) add(ctx context.Context, request cni.Request) (cni.Response, error) {
	pod, a, err := s.await(ctx, request)
	if err != nil {
		return cni.Response{}, err
	}
	if pod == nil {
		return cni.Response{Delegate: true}, nil
	}
	vswitch, err := s.Vswitch.Get(ctx)
	if err != nil {
		return cni.Response{}, err
	}
	wanted, err := s.podLink(ctx, vswitch, request, a)
	return cni.Response{Link: &wanted}, err
}

// plug puts the interface, which the plugin has made, into the integration bridge. Called again, it does nothing that is done.
func (s *Server) plug(ctx context.Context, request cni.Request) (cni.Response, error) {
	pod, a, err := s.look(ctx, request)
	if err != nil {
		return cni.Response{}, err
	}
	if pod == nil {
		return cni.Response{}, fmt.Errorf("plug pod %s/%s: it has left its Vpc since its interface was made: delete the pod", request.PodNamespace, request.PodName)
	}
	vswitch, err := s.Vswitch.Get(ctx)
	if err != nil {
		return cni.Response{}, err
	}
	wanted, err := s.podLink(ctx, vswitch, request, a)
	if err != nil {
		return cni.Response{}, err
	}
	port := ovn.VswitchPort{Interface: cmp.Or(wanted.OVSEnd, wanted.HostEnd), IfaceID: a.Port, Owner: string(pod.UID)}
	if err := vswitch.AddPort(ctx, s.Bridge, port); err != nil {
		return cni.Response{}, err
	}
	s.changed()
	return cni.Response{Result: result(wanted)}, nil
}

// changed tells who looks after the pods' programs that there is a pod more or less.
func (s *Server) changed() {
	if s.Changed != nil {
		s.Changed()
	}
}

// podLink is the pod's interface. Open vSwitch in userspace takes packets off a port before any program sees them: there the
// direct path needs a second pair. A pod that has its port already keeps what it has.
func (s *Server) podLink(ctx context.Context, vswitch Vswitch, request cni.Request, a attachment.Attachment) (link.PodLink, error) {
	datapath, err := vswitch.DatapathType(ctx, s.Bridge)
	if err != nil {
		return link.PodLink{}, err
	}
	ports, err := vswitch.Ports(ctx)
	if err != nil {
		return link.PodLink{}, err
	}
	p := link.PodLink{
		NetNSPath: request.NetNS, IfName: request.IfName, HostEnd: naming.PodHostEnd(request.ContainerID, request.IfName),
		MAC: a.MAC, Address: a.Address, Gateway: a.Gateway, MTU: a.MTU,
	}
	second := datapath == userspaceDatapath && s.DirectPath
	if port := portIn(ports, request); port != nil {
		_, second = naming.PodOfPort(port.Interface)
	}
	if second {
		p.SwitchEnd, p.OVSEnd = naming.PodSwitchEnd(p.HostEnd), naming.PodOVSEnd(p.HostEnd)
	}
	p.DisableTxOffload = datapath == userspaceDatapath && !second
	if datapath != userspaceDatapath || second {
		p.Alias = a.Port // programs may take its packets: see naming.PodPort
	}
	return p, nil
}

// result tells the runtime what the pod has.
func result(p link.PodLink) *types100.Result {
	bits := p.Address.Addr().BitLen()
	return &types100.Result{
		CNIVersion: types100.ImplementedSpecVersion,
		Interfaces: []*types100.Interface{{Name: p.HostEnd, Mtu: p.MTU}, {Name: p.IfName, Mac: p.MAC, Mtu: p.MTU, Sandbox: p.NetNSPath}},
		IPs: []*types100.IPConfig{{
			Interface: new(1), Gateway: p.Gateway.AsSlice(),
			Address: net.IPNet{IP: p.Address.Addr().AsSlice(), Mask: net.CIDRMask(p.Address.Bits(), bits)},
		}},
		Routes: []*cnitypes.Route{{Dst: net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, bits)}, GW: p.Gateway.AsSlice()}},
	}
}

// del unplugs the pod. Only what add made under this sandbox's own name is touched; a sandbox without a port of ours may
// be the delegate's.
func (s *Server) del(ctx context.Context, request cni.Request) (cni.Response, error) {
	vswitch, port, err := s.portOf(ctx, request)
	if err != nil && s.neverOurs(ctx, request) {
		return cni.Response{Delegate: true}, nil // an Open vSwitch that is away is none of this pod's business
	}
	if err != nil {
		return cni.Response{}, err
	}
	if port != nil {
		if err := vswitch.DelPort(ctx, s.Bridge, port.Interface); err != nil {
			return cni.Response{}, err
		}
	}
	if err := s.unlink(naming.PodHostEnd(request.ContainerID, request.IfName)); err != nil {
		return cni.Response{}, err
	}
	return cni.Response{Delegate: port == nil}, nil
}

// unlink removes a pod's interfaces, with their other ends in the pod and in the bridge.
func (s *Server) unlink(host string) error {
	defer s.changed()
	return errors.Join(s.Links.Remove(host), s.Links.Remove(naming.PodSwitchEnd(host)))
}

// neverOurs is true for a pod that is known, has its address, and was not told one of a Vpc: it is on the cluster's own
// network.
func (s *Server) neverOurs(ctx context.Context, request cni.Request) bool {
	pod := &corev1.Pod{}
	err := s.Reader.Get(ctx, types.NamespacedName{Namespace: request.PodNamespace, Name: request.PodName}, pod)
	_, told := pod.Annotations[networkv1alpha1.AnnotationNetwork]
	return err == nil && request.PodUID != "" && isPod(pod, request.PodUID) && pod.Status.PodIP != "" && !told
}

// portOf is the sandbox's port in the integration bridge; nil when it has none.
func (s *Server) portOf(ctx context.Context, request cni.Request) (Vswitch, *ovn.VswitchPort, error) {
	vswitch, err := s.Vswitch.Get(ctx)
	if err != nil {
		return nil, nil, err
	}
	ports, err := vswitch.Ports(ctx)
	if err != nil {
		return nil, nil, err
	}
	return vswitch, portIn(ports, request), nil
}

func portIn(ports []ovn.VswitchPort, request cni.Request) *ovn.VswitchPort {
	host := naming.PodHostEnd(request.ContainerID, request.IfName)
	for i, p := range ports {
		if pod, _ := naming.PodOfPort(p.Interface); pod == host {
			return &ports[i]
		}
	}
	return nil
}

// check looks for the pod's port, and tells the plugin what interface the pod's annotation says.
func (s *Server) check(ctx context.Context, request cni.Request) (cni.Response, error) {
	vswitch, port, err := s.portOf(ctx, request)
	if err != nil {
		return cni.Response{}, err
	}
	pod, a, err := s.look(ctx, request)
	if err != nil {
		return cni.Response{}, err
	}
	if pod == nil {
		return cni.Response{Delegate: port == nil}, nil
	}
	if port == nil || port.IfaceID != a.Port {
		return cni.Response{}, fmt.Errorf("check pod %s/%s: its port %s is not in bridge %s: delete the pod", pod.Namespace, pod.Name, a.Port, s.Bridge)
	}
	wanted, err := s.podLink(ctx, vswitch, request, a)
	return cni.Response{Link: &wanted}, err
}

// collect removes ports of sandboxes that are gone. Two witnesses are needed: the runtime does not name the sandbox, and
// no pod of this node that still runs has the port.
func (s *Server) collect(ctx context.Context, request cni.Request) (cni.Response, error) {
	vswitch, err := s.Vswitch.Get(ctx)
	if err != nil {
		return cni.Response{}, err
	}
	ports, err := vswitch.Ports(ctx)
	if err != nil {
		return cni.Response{}, err
	}
	var pods corev1.PodList
	if err := s.Reader.List(ctx, &pods); err != nil {
		return cni.Response{}, fmt.Errorf("list pods of the node: %w", err)
	}
	keep := map[string]bool{}
	for _, a := range request.ValidAttachments {
		keep[naming.PodHostEnd(a.ContainerID, a.IfName)] = true
	}
	for i := range pods.Items {
		if !binding.Finished(&pods.Items[i]) {
			keep[naming.PodPort(pods.Items[i].UID)] = true
		}
	}
	var errs []error
	for _, p := range ports {
		host, _ := naming.PodOfPort(p.Interface)
		if host == "" || keep[host] || keep[p.IfaceID] {
			continue
		}
		s.Log.Info("Removing the port of a sandbox that is gone", "interface", p.Interface, "port", p.IfaceID)
		errs = append(errs, vswitch.DelPort(ctx, s.Bridge, p.Interface), s.unlink(host))
	}
	return cni.Response{Delegate: true}, errors.Join(errs...)
}
