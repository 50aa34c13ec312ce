// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What stands between these lines of a document is written by WriteDocs.
const (
	docsBegin = "<!-- bench-fastpath: written by make bench-fastpath BENCHFLAGS='-docs FILE' -->\n"
	docsEnd   = "<!-- end of bench-fastpath -->\n"
)

// drawing is where a document has its drawing, beside it.
const drawing = "img/bench-fastpath.svg"

// titles are the ratios in words, for documents.
var titles = map[string]string{
	"transit_kernel_over_tcx":         "gateway, from tunnel to tunnel: kernel VXLAN ÷ ours (tcx)",
	"transit_kernel_over_xdp":         "the same in XDP",
	"rr_over_kernel_vxlan":            "TCP ping-pong between pods: kernel VXLAN ÷ ours",
	"rr_over_veth":                    "the same: one veth pair ÷ ours",
	"udp_cpu_kernel_over_ours":        "UDP of 18 bytes between pods: kernel VXLAN ÷ ours",
	"tcp_over_kernel_vxlan":           "TCP stream, super-packets: kernel VXLAN ÷ ours",
	"tcp_wire_over_kernel_vxlan":      "TCP stream, 1500-byte frames on the wire: kernel VXLAN ÷ ours",
	"hops4_rr":                        "nodes behind gateways (four hops), ping-pong: kernel VXLAN ÷ ours",
	"hops4_udp":                       "the same: UDP",
	"lpm_100k_over_10_tcx":            "100,000 prefixes ÷ 10, Zipf (tcx)",
	"lpm_100k_over_10_xdp":            "the same in XDP",
	"encap_kernel_over_tcx":           "gateway, into the tunnel: kernel VXLAN ÷ ours",
	"decap_kernel_over_tcx":           "gateway, out of the tunnel: kernel VXLAN ÷ ours",
	"lpm_100k_over_10_tcx_uniform":    "100,000 prefixes ÷ 10, uniform (tcx)",
	"rr_over_kernel_vxlan_ct":         "ping-pong: kernel VXLAN with connection tracking ÷ ours",
	"udp_cpu_kernel_ct_over_ours":     "UDP: kernel VXLAN with connection tracking ÷ ours",
	"rr_over_collect_md":              "ping-pong: collect_md device with eBPF ÷ ours",
	"udp_cpu_collect_md_over_ours":    "UDP: collect_md device with eBPF ÷ ours",
	"rr_over_routing":                 "ping-pong: plain kernel routing, no tunnel ÷ ours",
	"udp_cpu_routing_over_ours":       "UDP: plain kernel routing, no tunnel ÷ ours",
	"rr_over_wireguard_go":            "ping-pong: wireguard-go ÷ ours",
	"tcp_over_wireguard_go":           "TCP stream: wireguard-go ÷ ours",
	"rr_encrypted_over_wireguard_go":  "ping-pong: wireguard-go ÷ ours, encrypted by wireguard-go too",
	"tcp_encrypted_over_wireguard_go": "TCP stream: wireguard-go ÷ ours, encrypted by wireguard-go too",
}

// Read gives a report that WriteJSON wrote.
func Read(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read report %s: %w", path, err)
	}
	return r, nil
}

// WriteDocs puts the ratios into a document and the drawing beside it.
func (r *Report) WriteDocs(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(text), docsBegin)
	_, after, ends := strings.Cut(rest, docsEnd)
	if !begins || !ends {
		return fmt.Errorf("write ratios into %s: it has no lines %q and %q", path, docsBegin, docsEnd)
	}
	if err := os.WriteFile(path, []byte(before+docsBegin+r.markdown()+docsEnd+after), 0o644); err != nil {
		return err
	}
	return r.WriteSVG(filepath.Join(filepath.Dir(path), drawing))
}

func (r *Report) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "`%s`, %s: Linux %s, %d CPUs (%s), %d rounds in %.0f s, load %s before and %s after.\n",
		r.Command, r.Started.Format("2006-01-02"), r.Kernel, r.CPUs, r.CPU, r.Rounds, r.Seconds, r.LoadBefore, r.LoadAfter)
	out.WriteString("\n| | ours (least to most of all rounds) | wanted |\n|---|---|---|\n")
	for _, q := range ratios {
		got, measured := r.Ranges[q.key]
		want := ""
		switch {
		case q.floor != 0:
			want = fmt.Sprintf("%.2f", q.floor)
		case q.ceiling != 0:
			want = fmt.Sprintf("at most %.2f", q.ceiling)
		}
		value := "not measured"
		if measured {
			value = fmt.Sprintf("%.2f (%.2f to %.2f)", got.Median, got.Min, got.Max)
			if n := r.Attempts[q.key]; n > 1 {
				value += fmt.Sprintf(", %d times the rounds", n)
			}
			if !q.holds(got.Median) {
				value += ", **missed**"
			}
		}
		fmt.Fprintf(&out, "| %s | %s | %s |\n", titles[q.key], value, want)
	}
	fmt.Fprintf(&out, "\n![processor time per packet and transaction](%s)\n", drawing)
	return out.String()
}
