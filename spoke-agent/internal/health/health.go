// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package health says as conditions what a gateway node can and can't do. It is pure: the node's agent says what it found,
// and agent and mirror put the nodes together.
//
//	Found ──Conditions──▶ InterconnectGateway.status.gateways[node] ──Worst──▶ the object's condition DataPathReady
package health

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
)

// Kinds of errors that have no package of their own to name them.
var (
	// ErrNoUnderlay: the interface to the other clusters is not usable.
	ErrNoUnderlay = errors.New("no interface to the other clusters")
	// ErrVswitch: Open vSwitch does not answer.
	ErrVswitch = errors.New("no answer of Open vSwitch")
	// ErrNoKey: there is no private key, or none that the hub has approved.
	ErrNoKey = errors.New("no key")
)

// maxMessage bounds a condition's message, in bytes: the verifier of the kernel, for one, can say a great deal.
const maxMessage = 1000

// Found is what a node's agent found when it last tried to make the node a gateway.
type Found struct {
	// Gateway is true when the Node asks to be one. Else it has no conditions.
	Gateway bool
	// DataPath is why the node can't forward what it should.
	DataPath error
	// Served is true when the node is approved, and its paths were set: without DataPath's error the rest is known.
	Served bool
	// Ahead are programs of others that see packets first.
	Ahead []string
	// SlowPath is why the kernel carries nothing.
	SlowPath error
	// Encrypts is true when there are clusters that must be encrypted; Encryption is why nothing goes to them.
	Encrypts   bool
	Encryption error
	// Inside is what it found of the way to pods of other nodes.
	Inside Inside
	// PodMTU, and the interfaces that packets of that size, with what VXLAN adds, should fit.
	PodMTU int
	Wires  []Wire
}

// Inside is what a gateway node finds of the way through OVN to pods of other nodes.
type Inside struct {
	// Asked is true when there are such pods.
	Asked bool
	// Answering are the nodes of which a pod answers.
	Answering []string
	// CutOff is why the node must not get packets for pods; empty when it may.
	CutOff string
	// Doubtful is true while something does not answer, and it is too early to say what that means.
	Doubtful bool
}

// Wire is an interface that VXLAN packets go through, and its MTU in bytes.
type Wire struct {
	Name string
	MTU  int
}

// Conditions are those of a gateway node; none when it is no gateway. They carry no transition times.
func Conditions(f Found) []metav1.Condition {
	if !f.Gateway {
		return nil
	}
	conditions := []metav1.Condition{ofError(spokev1alpha1.ConditionDataPathReady, f.DataPath, "The node can forward.")}
	if f.Served && f.DataPath == nil {
		conditions = append(conditions, firstOnHooks(f.Ahead), ofError(spokev1alpha1.ConditionSlowPathReady, f.SlowPath, "The kernel carries what the programs can't."))
		if f.Encrypts {
			conditions = append(conditions, ofError(spokev1alpha1.ConditionEncryptionReady, f.Encryption, "Packets to encrypted clusters go through the tunnel."))
		}
	}
	if f.Inside.Asked {
		conditions = append(conditions, podsReachable(f.Inside.CutOff))
	}
	if len(f.Wires) > 0 {
		conditions = append(conditions, mtuSufficient(f))
	}
	return conditions
}

// reasons are the kinds of errors that have a name. An error may be of several: the first one counts.
var reasons = []struct {
	kind   error
	reason string
}{
	{fastpath.ErrMissingCapability, spokev1alpha1.ReasonMissingCapability},
	{fastpath.ErrKernelTooOld, spokev1alpha1.ReasonKernelTooOld},
	{fastpath.ErrNoBPFFS, spokev1alpha1.ReasonNoBPFFileSystem},
	{fastpath.ErrForeignPins, spokev1alpha1.ReasonForeignPins},
	{fastpath.ErrForeignProgram, spokev1alpha1.ReasonForeignProgram},
	{link.ErrPortOccupied, spokev1alpha1.ReasonPortOccupied},
	{link.ErrReversePathFilter, spokev1alpha1.ReasonReversePathFilter},
	{link.ErrKernelLacks, spokev1alpha1.ReasonKernelLacks},
	{ErrNoUnderlay, spokev1alpha1.ReasonNoUnderlay},
	{ErrVswitch, spokev1alpha1.ReasonVswitchUnreachable},
	{ErrNoKey, spokev1alpha1.ReasonNoKey},
}

// Reason is the name of what went wrong.
func Reason(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.kind) {
			return r.reason
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		return spokev1alpha1.ReasonMissingCapability
	}
	return spokev1alpha1.ReasonFailed
}

func ofError(kind string, err error, fine string) metav1.Condition {
	if err == nil {
		return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: spokev1alpha1.ReasonReady, Message: fine}
	}
	return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: Reason(err), Message: short(err.Error())}
}

func short(message string) string {
	if len(message) > maxMessage {
		return strings.ToValidUTF8(message[:maxMessage], "") + " …"
	}
	return message
}

func firstOnHooks(ahead []string) metav1.Condition {
	if len(ahead) == 0 {
		return ofError(spokev1alpha1.ConditionFirstOnHooks, nil, "No other program sees packets before Tombolo's.")
	}
	return metav1.Condition{
		Type: spokev1alpha1.ConditionFirstOnHooks, Status: metav1.ConditionFalse, Reason: spokev1alpha1.ReasonForeignProgram,
		Message: short(fmt.Sprintf("Before Tombolo's come programs of others: %s. They are left as they are; what they drop or redirect never arrives. "+
			"`bpftool net` names them; when packets are missing, attach them after Tombolo's or elsewhere.", strings.Join(ahead, ", "))),
	}
}

func podsReachable(cutOff string) metav1.Condition {
	if cutOff == "" {
		return ofError(spokev1alpha1.ConditionPodsReachable, nil, "No other gateway node reaches pods that this one does not.")
	}
	return metav1.Condition{Type: spokev1alpha1.ConditionPodsReachable, Status: metav1.ConditionFalse, Reason: spokev1alpha1.ReasonNoWayToPods, Message: short(cutOff)}
}

func mtuSufficient(f Found) metav1.Condition {
	var small []string
	for _, w := range f.Wires {
		if w.MTU < f.PodMTU+fastpath.Overhead {
			small = append(small, fmt.Sprintf("%s has an MTU of %d bytes", w.Name, w.MTU))
		}
	}
	needed := fmt.Sprintf("packets of pods have up to %d (--pod-mtu) and %d more between clusters", f.PodMTU, fastpath.Overhead)
	if len(small) == 0 {
		return ofError(spokev1alpha1.ConditionMTUSufficient, nil, "What encapsulation adds fits: "+needed+".")
	}
	return metav1.Condition{
		Type: spokev1alpha1.ConditionMTUSufficient, Status: metav1.ConditionFalse, Reason: spokev1alpha1.ReasonMTUTooSmall,
		Message: fmt.Sprintf("%s: %s. The largest are fragmented by the kernel, or refused with an ICMP error. "+
			"Raise the MTU of the underlay (the tunnel's follows, less what WireGuard adds), or lower --pod-mtu.", strings.Join(small, ", "), needed),
	}
}

// Enter is list with node's entry, with the nodes whose pods answer it; without conditions the node has none. Whether it is reachable is for others to say. What does not change keeps its transition time.
func Enter(list []spokev1alpha1.GatewayNode, node string, conditions []metav1.Condition, podNodes []string) []spokev1alpha1.GatewayNode {
	list = slices.Clone(list)
	i := slices.IndexFunc(list, func(g spokev1alpha1.GatewayNode) bool { return g.Node == node })
	switch {
	case i < 0 && len(conditions) == 0:
		return list
	case len(conditions) == 0:
		return slices.Delete(list, i, i+1)
	case i < 0:
		list = append(list, spokev1alpha1.GatewayNode{Node: node})
		i = len(list) - 1
	}
	entry := slices.Clone(list[i].Conditions)
	entry = slices.DeleteFunc(entry, func(c metav1.Condition) bool {
		return c.Type != spokev1alpha1.ConditionReachable && meta.FindStatusCondition(conditions, c.Type) == nil
	})
	for _, c := range conditions {
		meta.SetStatusCondition(&entry, c)
	}
	list[i].Conditions, list[i].PodNodes = entry, podNodes
	slices.SortFunc(list, func(a, b spokev1alpha1.GatewayNode) int { return cmp.Compare(a.Node, b.Node) })
	return list
}

// Reach is list with the condition Reachable of gateway nodes: False for those that are silent, each with a message, and True for others
// that had been. changed are those whose condition is another one now.
func Reach(list []spokev1alpha1.GatewayNode, silent map[string]string) (reached []spokev1alpha1.GatewayNode, changed map[string]metav1.Condition) {
	reached, changed = slices.Clone(list), map[string]metav1.Condition{}
	for node := range silent {
		if !slices.ContainsFunc(reached, func(g spokev1alpha1.GatewayNode) bool { return g.Node == node }) {
			reached = append(reached, spokev1alpha1.GatewayNode{Node: node})
		}
	}
	for i := range reached {
		c := metav1.Condition{Type: spokev1alpha1.ConditionReachable, Status: metav1.ConditionTrue, Reason: spokev1alpha1.ReasonGatewayReachable, Message: "Other gateway nodes get its answers."}
		message, isSilent := silent[reached[i].Node]
		if isSilent {
			c.Status, c.Reason, c.Message = metav1.ConditionFalse, spokev1alpha1.ReasonGatewayUnreachable, message
		}
		old := meta.FindStatusCondition(reached[i].Conditions, c.Type)
		if old == nil && !isSilent || old != nil && old.Status == c.Status && old.Message == c.Message {
			continue
		}
		if old == nil || old.Status != c.Status {
			changed[reached[i].Node] = c
		}
		reached[i].Conditions = slices.Clone(reached[i].Conditions)
		meta.SetStatusCondition(&reached[i].Conditions, c)
	}
	slices.SortFunc(reached, func(a, b spokev1alpha1.GatewayNode) int { return cmp.Compare(a.Node, b.Node) })
	return reached, changed
}

// severity of a False condition: what stops packets comes first.
var severity = []string{
	spokev1alpha1.ConditionDataPathReady, spokev1alpha1.ConditionEncryptionReady, spokev1alpha1.ConditionPodsReachable, spokev1alpha1.ConditionReachable,
	spokev1alpha1.ConditionSlowPathReady, spokev1alpha1.ConditionMTUSufficient, spokev1alpha1.ConditionFirstOnHooks,
}

// stopping are how many of severity stop packets that should arrive; the others slow or lose some.
const stopping = 2

// Worst is the condition DataPathReady of all gateway nodes together: it names the node that is worst off, and is False when something
// stops there. Nil when there is no gateway node. silent are gateway nodes of which no agent has said anything.
func Worst(gateways []spokev1alpha1.GatewayNode, silent []string) *metav1.Condition {
	for rank, kind := range severity {
		for _, g := range gateways {
			c := meta.FindStatusCondition(g.Conditions, kind)
			if c == nil || c.Status == metav1.ConditionTrue {
				continue
			}
			worst := &metav1.Condition{Type: spokev1alpha1.ConditionDataPathReady, Status: metav1.ConditionTrue, Reason: c.Reason}
			if rank < stopping {
				worst.Status = metav1.ConditionFalse
			}
			worst.Message = fmt.Sprintf("gateway node %s: %s: %s", g.Node, kind, c.Message)
			return worst
		}
		if rank == stopping-1 && len(silent) > 0 {
			return &metav1.Condition{
				Type: spokev1alpha1.ConditionDataPathReady, Status: metav1.ConditionUnknown, Reason: spokev1alpha1.ReasonNotReported,
				Message: fmt.Sprintf("gateway node %s has not reported: is tombolo-agent node running there?", silent[0]),
			}
		}
	}
	if len(gateways) == 0 {
		return nil
	}
	return &metav1.Condition{
		Type: spokev1alpha1.ConditionDataPathReady, Status: metav1.ConditionTrue, Reason: spokev1alpha1.ReasonReady, Message: "Every gateway node is as it should be.",
	}
}

// Summarize sets or removes the condition DataPathReady of an InterconnectGateway.
func Summarize(conditions *[]metav1.Condition, generation int64, worst *metav1.Condition) {
	if worst == nil {
		meta.RemoveStatusCondition(conditions, spokev1alpha1.ConditionDataPathReady)
		return
	}
	worst.ObservedGeneration = generation
	meta.SetStatusCondition(conditions, *worst)
}
