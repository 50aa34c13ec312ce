// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package story

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/tombolo-io/tombolo/e2e/lab"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// OVN is the routers of a cluster with their routes, in ovn-nbctl's words.
func (f *Fleet) OVN(ctx context.Context, cluster string) (string, error) {
	c, err := f.Lab.Cluster(cluster)
	if err != nil {
		return "", err
	}
	names, err := c.Central.NBCtl(ctx, "--bare", "--columns=name", "list", "Logical_Router")
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, name := range slices.Sorted(slices.Values(strings.Fields(names))) {
		routes, err := c.Central.NBCtl(ctx, "lr-route-list", name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "router %s\n%s\n", name, strings.TrimRight(routes, "\n"))
	}
	return out.String(), nil
}

// OwnRows is everything of Tombolo in a cluster's northbound database, as tombolo-agent dump prints it.
func (f *Fleet) OwnRows(ctx context.Context, cluster string) (string, error) {
	c, err := f.Lab.Cluster(cluster)
	if err != nil {
		return "", err
	}
	out, err := netns.Exec(ctx, c.NetNS, f.Lab.Binaries.Path("tombolo-agent"), "dump", "--nb="+c.Central.NB())
	return string(out), err
}

// Maps is everything in the eBPF maps of a gateway node but its counters, as tombolo-agent dump prints it.
func (f *Fleet) Maps(ctx context.Context, cluster, node string) (string, error) {
	c, err := f.Lab.Cluster(cluster)
	if err != nil {
		return "", err
	}
	n, err := c.Node(node)
	if err != nil {
		return "", err
	}
	out, err := n.Exec(ctx, f.Lab.Binaries.Path("tombolo-agent"), "dump", "--bpffs=/sys/fs/bpf")
	return string(out), err
}

// Flows are the records of packets that a gateway node sees for some time, as tombolo-agent flows prints them.
func (f *Fleet) Flows(ctx context.Context, cluster, node string, args ...string) (string, error) {
	c, err := f.Lab.Cluster(cluster)
	if err != nil {
		return "", err
	}
	n, err := c.Node(node)
	if err != nil {
		return "", err
	}
	out, err := n.Exec(ctx, append([]string{f.Lab.Binaries.Path("tombolo-agent"), "flows", "--bpffs=/sys/fs/bpf"}, args...)...)
	return string(out), err
}

// Counters are the eBPF programs' counters of a node, from the agent's metrics.
type Counters struct {
	// Text is one line per counter that is not zero.
	Text  string
	flows []flowCount
	drops map[string]float64
}

type flowCount struct {
	vpc, remoteVpc, direction, path string
	packets                         float64
}

// Packets that left one Vpc for another, or came from it, through the node.
func (c Counters) Packets(vpc, remoteVpc string) float64 {
	var sum float64
	for _, f := range c.flows {
		if f.vpc == vpc && f.remoteVpc == remoteVpc {
			sum += f.packets
		}
	}
	return sum
}

// ByPath are those packets by the path that they took: "gateway", "pod" or "node".
func (c Counters) ByPath(vpc, remoteVpc string) map[string]float64 {
	sum := map[string]float64{}
	for _, f := range c.flows {
		if f.vpc == vpc && f.remoteVpc == remoteVpc {
			sum[f.path] += f.packets
		}
	}
	return sum
}

// Drops for a reason.
func (c Counters) Drops(reason string) float64 { return c.drops[reason] }

// Counters reads the counters of all nodes of a cluster.
func (f *Fleet) Counters(ctx context.Context, cluster string) (Counters, error) {
	c, err := f.Lab.Cluster(cluster)
	if err != nil {
		return Counters{}, err
	}
	counters := Counters{drops: map[string]float64{}}
	var lines []string
	for _, node := range c.Nodes {
		families, err := scrape(ctx, node)
		if err != nil {
			return Counters{}, fmt.Errorf("read metrics of node %s of %s: %w", node.Name, cluster, err)
		}
		for _, m := range families["tombolo_fastpath_packets_total"].GetMetric() {
			l := labels(m)
			packets := m.GetCounter().GetValue()
			counters.flows = append(counters.flows, flowCount{l["vpc"], l["remote_vpc"], l["direction"], l["path"], packets})
			lines = append(lines, fmt.Sprintf("%s %-12s %-3s %-12s cluster %-6s by %-7s %6.0f packets", node.Name, l["vpc"], l["direction"], l["remote_vpc"], l["cluster"], l["path"], packets))
		}
		for _, m := range families["tombolo_fastpath_drops_total"].GetMetric() {
			reason, dropped := labels(m)["reason"], m.GetCounter().GetValue()
			counters.drops[reason] += dropped
			if dropped > 0 {
				lines = append(lines, fmt.Sprintf("%s dropped as %s: %.0f", node.Name, reason, dropped))
			}
		}
	}
	slices.Sort(lines)
	counters.Text = strings.Join(lines, "\n")
	return counters, nil
}

// NodePackets is how many packets between clusters a node has carried: its own pods', through a gateway port, or passed on.
func (f *Fleet) NodePackets(ctx context.Context, cluster, name string) (float64, error) {
	c, err := f.Lab.Cluster(cluster)
	if err != nil {
		return 0, err
	}
	node, err := c.Node(name)
	if err != nil {
		return 0, err
	}
	families, err := scrape(ctx, node)
	if err != nil {
		return 0, fmt.Errorf("read metrics of node %s of %s: %w", name, cluster, err)
	}
	var sum float64
	for _, family := range []string{"tombolo_fastpath_packets_total", "tombolo_fastpath_relayed_packets_total"} {
		for _, m := range families[family].GetMetric() {
			sum += m.GetCounter().GetValue()
		}
	}
	return sum, nil
}

func scrape(ctx context.Context, n *lab.Node) (map[string]*dto.MetricFamily, error) {
	httpClient := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: netns.DialContext(n.NetNS), DisableKeepAlives: true}}
	url := fmt.Sprintf("http://%s:%d/metrics", n.MgmtIP.Addr(), lab.MetricsPort)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := httpClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(response.Body)
}

func labels(m *dto.Metric) map[string]string {
	out := map[string]string{}
	for _, l := range m.GetLabel() {
		out[l.GetName()] = l.GetValue()
	}
	return out
}

// LookAround are commands for a person who wants to see more.
func (f *Fleet) LookAround(dir string) []string {
	var lines []string
	kubectl := f.Lab.Binaries.Path("kubectl")
	for _, c := range f.Clusters() {
		what := "localrouters,interconnectgateways,pods -A -o wide"
		if c == f.Hub {
			what = "fleets,ippools,vpcs,subnets,vpcpeerings,localrouters,interconnectgateways -A"
		}
		lines = append(lines, fmt.Sprintf("%s --kubeconfig %s get %s", kubectl, c.Kubeconfig, what))
	}
	return append(lines,
		"ovn-nbctl --db="+f.Lab.Spokes[0].Central.NB()+" show",
		"ls "+filepath.Join(dir, "log")+"   # a log for each component")
}
