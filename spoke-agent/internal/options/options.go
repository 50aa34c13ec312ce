// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package options is every flag of the agent, one struct per role, each validated once.
package options

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Common are the flags of both roles.
type Common struct {
	// Kubeconfig of this cluster; empty inside a pod.
	Kubeconfig string
	// MetricsBindAddress and HealthProbeBindAddress are "host:port", or "0" for none.
	MetricsBindAddress, HealthProbeBindAddress string
	// PodMTU is the MTU of pods' interfaces and gateway ports, in bytes.
	PodMTU int
	// LogLevel is debug, info, warn or error.
	LogLevel string
}

// Controller are the flags of the role controller.
type Controller struct {
	Common
	// ClusterName is the name of this cluster in the fleet: its namespace on the hub.
	ClusterName string
	// HubSecret is the Secret with the agent's identity on the hub, which the OCM add-on's registration writes, or the agent itself.
	HubSecret string
	// HubBootstrap is the kubeconfig with a token of `kubectl tombolo join`. It need not be there.
	HubBootstrap string
	// HubKubeconfig is a file with the hub's kubeconfig, in place of HubSecret.
	HubKubeconfig string
	// Northbound is the endpoint of OVN_Northbound.
	Northbound string
	// NorthboundCA, NorthboundCert and NorthboundKey are PEM files for an ssl: endpoint.
	NorthboundCA, NorthboundCert, NorthboundKey string
	// ReservedCIDRs are the cluster's own ranges beside the nodes' pod ranges.
	ReservedCIDRs []string
	// LeaderElect lets one of several replicas work.
	LeaderElect bool
}

// Node are the flags of the role node.
type Node struct {
	Common
	// NodeName is the name of the Node that the agent runs on.
	NodeName string
	// OVS is the endpoint of the node's Open_vSwitch database.
	OVS string
	// IntegrationBridge is OVN's bridge.
	IntegrationBridge string
	// EndpointInterface leads to the other clusters; empty: the default route's.
	EndpointInterface string
	// CNISocket is where tombolo-cni finds the agent.
	CNISocket string
	// BPFFS is where the bpf file system is mounted.
	BPFFS string
	// StateDir is where the node's private key is, and nothing else.
	StateDir string
	// WireGuardPort is the UDP port of the node's WireGuard.
	WireGuardPort uint16
	// DirectPath lets pods send to other clusters, and get packets from there, past the integration bridge.
	DirectPath bool
	// CNIConfDir and CNIBinDir are where the plugin is installed; both empty: nowhere.
	CNIConfDir, CNIBinDir string
}

// Leave are the flags of the sub-command leave.
type Leave struct {
	// Kubeconfig of this cluster; empty inside a pod.
	Kubeconfig string
	// Timeout of all.
	Timeout time.Duration
	// Force waits neither for the hub nor for nodes that are not Ready.
	Force bool
	// HubSecret is the Secret with the agent's identity on the hub, which goes in the end. Empty: none does.
	HubSecret string
}

// Dump are the flags of the sub-command dump.
type Dump struct {
	// BPFFS of the node whose maps are printed.
	BPFFS string
	// Northbound is the endpoint of the database whose rows are printed instead.
	Northbound string
}

// Flows are the flags of the sub-command flows.
type Flows struct {
	// BPFFS of the node whose packets are looked at.
	BPFFS string
	// Sample is how many packets one record stands for.
	Sample uint32
	// Follow goes on until it is interrupted, else Duration says how long.
	Follow   bool
	Duration time.Duration
	// Vpc is the "namespace/name" that one end must be of; empty: any.
	Vpc string
	// Drops wants only packets that are dropped.
	Drops bool
}

func (o *Common) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig of this cluster (default: the pod's service account)")
	f.StringVar(&o.MetricsBindAddress, "metrics-bind-address", ":8080", `host:port of the Prometheus metrics, "0" for none`)
	f.StringVar(&o.HealthProbeBindAddress, "health-probe-bind-address", ":8081", `host:port of /healthz and /readyz, "0" for none`)
	f.IntVar(&o.PodMTU, "pod-mtu", 1390, "MTU of the pods' interfaces in bytes: the underlay's minus 110 leaves room for VXLAN in WireGuard")
	f.StringVar(&o.LogLevel, "log-level", "info", "debug, info, warn or error")
}

// AddFlags adds the flags of the role controller.
func (o *Controller) AddFlags(f *pflag.FlagSet) {
	o.addFlags(f)
	f.StringVar(&o.ClusterName, "cluster-name", "", "name of this cluster in the fleet (required)")
	f.StringVar(&o.HubSecret, "hub-secret", "", "Secret in tombolo-system with the hub's kubeconfig and the certificate that it names, as the OCM add-on's registration writes it; it need not be there yet (this or --hub-kubeconfig is required)")
	f.StringVar(&o.HubBootstrap, "hub-bootstrap", "", "kubeconfig with a token of kubectl tombolo join, from which the agent makes --hub-secret when nobody else does; it need not be there")
	f.StringVar(&o.HubKubeconfig, "hub-kubeconfig", "", "file with the hub's kubeconfig, in place of --hub-secret; it need not be there yet")
	f.StringVar(&o.Northbound, "nb", "unix:/run/ovn/ovnnb_db.sock", "OVN northbound database: unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT, several separated by commas")
	f.StringVar(&o.NorthboundCA, "nb-ca", "", "CA certificate for an ssl: endpoint")
	f.StringVar(&o.NorthboundCert, "nb-cert", "", "client certificate for an ssl: endpoint")
	f.StringVar(&o.NorthboundKey, "nb-key", "", "client key for an ssl: endpoint")
	f.StringSliceVar(&o.ReservedCIDRs, "reserved-cidrs", nil, "the cluster's own ranges (services, nodes, pods), which no Subnet here may overlap; the Nodes' podCIDRs are known anyway")
	f.BoolVar(&o.LeaderElect, "leader-elect", true, "let one of several replicas work")
}

// AddFlags adds the flags of the role node.
func (o *Node) AddFlags(f *pflag.FlagSet) {
	o.addFlags(f)
	f.StringVar(&o.NodeName, "node-name", "", "name of the Node that the agent runs on (required)")
	f.StringVar(&o.OVS, "ovs", "unix:/run/openvswitch/db.sock", "Open_vSwitch database of the node")
	f.StringVar(&o.IntegrationBridge, "integration-bridge", "br-int", "bridge of ovn-controller")
	f.StringVar(&o.EndpointInterface, "endpoint-interface", "", "interface to the other clusters (default: the default route's)")
	f.StringVar(&o.CNISocket, "cni-socket", "/run/tombolo/cni.sock", "unix socket that tombolo-cni talks to")
	f.StringVar(&o.BPFFS, "bpffs", "/sys/fs/bpf", "where the bpf file system is, or is to be mounted; maps are pinned in tombolo/ below it")
	f.StringVar(&o.StateDir, "state-dir", "/var/lib/tombolo", "directory of this node alone that outlives the agent: its private key is below it")
	f.Uint16Var(&o.WireGuardPort, "wireguard-port", 51871, "UDP port on which the other clusters' gateways reach this one encrypted")
	f.BoolVar(&o.DirectPath, "direct-path", true, "let pods' packets between clusters go past the integration bridge; false sends every packet through OVN's pipeline, its ACLs among it")
	f.StringVar(&o.CNIConfDir, "cni-conf-dir", "", "directory of the container runtime's CNI configurations, to install ours in (default: install nothing)")
	f.StringVar(&o.CNIBinDir, "cni-bin-dir", "", "directory of the container runtime's CNI plugins, to install tombolo-cni in (default: install nothing)")
}

// AddFlags adds the flags of the sub-command leave.
func (o *Leave) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig of this cluster (default: the pod's service account)")
	f.DurationVar(&o.Timeout, "timeout", 5*time.Minute, "how long to wait until everybody has cleaned up")
	f.BoolVar(&o.Force, "force", false, "wait neither for the hub to drain the cluster nor for nodes that are not Ready")
	f.StringVar(&o.HubSecret, "hub-secret", "", "Secret in tombolo-system with the agent's identity on the hub, to delete in the end if the agent has made it")
}

// AddFlags adds the flags of the sub-command dump.
func (o *Dump) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.BPFFS, "bpffs", "/sys/fs/bpf", "bpf file system of the node")
	f.StringVar(&o.Northbound, "nb", "", "print Tombolo's rows of this OVN northbound database instead")
}

// AddFlags adds the flags of the sub-command flows.
func (o *Flows) AddFlags(f *pflag.FlagSet) {
	f.Uint32Var(&o.Sample, "sample", 1, "take a record of one packet in so many, by chance")
	f.BoolVar(&o.Follow, "follow", false, "go on until interrupted")
	f.DurationVar(&o.Duration, "duration", 10*time.Second, "end after this time")
	f.StringVar(&o.Vpc, "vpc", "", "only packets from or to this Vpc, as namespace/name")
	f.BoolVar(&o.Drops, "drops", false, "only packets that are dropped")
	f.StringVar(&o.BPFFS, "bpffs", "/sys/fs/bpf", "bpf file system of the node")
}

// Validate checks what the agent would otherwise stumble over later.
func (o *Controller) Validate() error {
	errs := []error{o.validate(), required("--cluster-name", o.ClusterName), o.validateHub(), endpoint("--nb", o.Northbound)}
	for i, text := range o.ReservedCIDRs {
		prefix, err := netip.ParsePrefix(text)
		if err != nil || !prefix.Addr().Is4() {
			errs = append(errs, fmt.Errorf("--reserved-cidrs %q is not an IPv4 CIDR: write address/length such as 10.96.0.0/12", text))
			continue
		}
		o.ReservedCIDRs[i] = prefix.Masked().String()
	}
	if files := []string{o.NorthboundCA, o.NorthboundCert, o.NorthboundKey}; strings.Contains(o.Northbound, "ssl:") && (files[0] == "" || files[1] == "" || files[2] == "") {
		errs = append(errs, fmt.Errorf("--nb %q needs certificates: give --nb-ca, --nb-cert and --nb-key", o.Northbound))
	}
	return errors.Join(errs...)
}

func (o *Controller) validateHub() error {
	if (o.HubSecret == "") == (o.HubKubeconfig == "") {
		return errors.New("give either --hub-secret or --hub-kubeconfig: the agent's identity on the hub comes from one of them")
	}
	if problems := validation.IsDNS1123Subdomain(o.HubSecret); o.HubSecret != "" && len(problems) > 0 {
		return fmt.Errorf("--hub-secret %q: give the name of a Secret: %s", o.HubSecret, strings.Join(problems, "; "))
	}
	if o.HubBootstrap != "" && o.HubSecret == "" {
		return errors.New("--hub-bootstrap needs --hub-secret, which is where the identity that comes of it is kept")
	}
	return nil
}

// Validate checks what the agent would otherwise stumble over later.
func (o *Node) Validate() error {
	return errors.Join(o.validate(), required("--node-name", o.NodeName), endpoint("--ovs", o.OVS),
		required("--integration-bridge", o.IntegrationBridge), absolute("--cni-socket", o.CNISocket), absolute("--bpffs", o.BPFFS),
		absolute("--state-dir", o.StateDir), port("--wireguard-port", o.WireGuardPort), o.validateCNI())
}

func (o *Node) validateCNI() error {
	if o.CNIConfDir == "" && o.CNIBinDir == "" {
		return nil
	}
	return errors.Join(absolute("--cni-conf-dir", o.CNIConfDir), absolute("--cni-bin-dir", o.CNIBinDir))
}

// Validate checks what the command would otherwise stumble over later.
func (o *Leave) Validate() error {
	if o.Timeout <= 0 {
		return fmt.Errorf("--timeout %s: give a time such as 5m", o.Timeout)
	}
	return nil
}

// Validate checks what the agent would otherwise stumble over later.
func (o *Dump) Validate() error {
	if o.Northbound != "" {
		return endpoint("--nb", o.Northbound)
	}
	return absolute("--bpffs", o.BPFFS)
}

// Validate checks what the agent would otherwise stumble over later.
func (o *Flows) Validate() error {
	errs := []error{absolute("--bpffs", o.BPFFS)}
	if o.Sample == 0 {
		errs = append(errs, errors.New("--sample 0: give 1 for every packet, or more"))
	}
	if !o.Follow && o.Duration <= 0 {
		errs = append(errs, fmt.Errorf("--duration %s: give a time such as 10s, or --follow", o.Duration))
	}
	if namespace, name, ok := strings.Cut(o.Vpc, "/"); o.Vpc != "" && (!ok || namespace == "" || name == "") {
		errs = append(errs, fmt.Errorf("--vpc %q: give namespace/name", o.Vpc))
	}
	return errors.Join(errs...)
}

func (o *Common) validate() error {
	errs := []error{bindAddress("--metrics-bind-address", o.MetricsBindAddress), bindAddress("--health-probe-bind-address", o.HealthProbeBindAddress)}
	if o.PodMTU < 576 || o.PodMTU > 65535 {
		errs = append(errs, fmt.Errorf("--pod-mtu %d: give a number of bytes from 576 (RFC 791) to 65535", o.PodMTU))
	}
	_, err := o.Level()
	return errors.Join(append(errs, err)...)
}

// Level is the log level.
func (o *Common) Level() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.LogLevel)); err != nil {
		return 0, fmt.Errorf("--log-level %q: give debug, info, warn or error", o.LogLevel)
	}
	return level, nil
}

func required(flag, value string) error {
	if value == "" {
		return fmt.Errorf("%s is required", flag)
	}
	return nil
}

func absolute(flag, path string) error {
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("%s %q: give an absolute path", flag, path)
	}
	return nil
}

func port(flag string, value uint16) error {
	if value == 0 {
		return fmt.Errorf("%s 0: give a port from 1 to 65535", flag)
	}
	return nil
}

func endpoint(flag, list string) error {
	for text := range strings.SplitSeq(list, ",") {
		kind, rest, _ := strings.Cut(text, ":")
		if kind != "unix" && kind != "tcp" && kind != "ssl" || rest == "" {
			return fmt.Errorf("%s %q: give unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT", flag, text)
		}
	}
	return nil
}

func bindAddress(flag, value string) error {
	if value == "0" {
		return nil
	}
	if _, _, err := net.SplitHostPort(value); err != nil {
		return fmt.Errorf(`%s %q: give host:port, or "0" for none`, flag, value)
	}
	return nil
}
