// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

// wide is how long a message in a table may be; -o json has the whole of it.
const wide = 120

// Print writes the report as tables. What was last heard is told from now on back.
func (r *Report) Print(w *terminal.Writer, now time.Time) {
	if r.Frozen != nil {
		w.Printf("%s\n%s\n\n", w.Paint(r.Frozen.State, r.Frozen.State.Mark()+" The hub is frozen: "+r.Frozen.Reason), r.Frozen.Message)
	}
	w.Title("Clusters")
	r.printClusters(w, now)
	w.Printf("\n")
	w.Title("Vpcs")
	rows := [][]terminal.Cell{}
	for _, v := range r.Vpcs {
		vni := ""
		if v.VNI != 0 {
			vni = fmt.Sprint(v.VNI)
		}
		rows = append(rows, append(terminal.Text(v.Namespace+"/"+v.Name, vni, strings.Join(v.Clusters, ","), strings.Join(v.Pending, ",")), v.cells("Programmed")...))
	}
	section(w, []string{"VPC", "VNI", r.clustersHead(), "PENDING", "STATE", "MESSAGE"}, rows)
	if r.Hub {
		r.printPeerings(w)
	}
	r.printTunnels(w)
	printUnread(w, r.Unread)
}

// clustersHead: the hub knows where a Vpc is, a cluster which others it reaches.
func (r *Report) clustersHead() string {
	if r.Hub {
		return "CLUSTERS"
	}
	return "REACHES"
}

func (r *Report) printClusters(w *terminal.Writer, now time.Time) {
	rows := [][]terminal.Cell{}
	for _, c := range r.Clusters {
		ago := ""
		if c.Heard != nil {
			ago = duration.HumanDuration(max(0, now.Sub(*c.Heard))) + " ago"
		}
		rows = append(rows, append(terminal.Text(c.Name, c.Joined, c.Membership, c.AgentVersion, strings.Join(c.Gateways, ","), ago), c.cells("Ready")...))
	}
	section(w, []string{"NAME", "JOINED", "MEMBERSHIP", "AGENT", "GATEWAYS", "HEARD", "STATE", "MESSAGE"}, rows)
}

func (r *Report) printPeerings(w *terminal.Writer) {
	w.Printf("\n")
	w.Title("Peerings")
	rows := [][]terminal.Cell{}
	for _, p := range r.Peerings {
		rows = append(rows, append(terminal.Text(p.Namespace+"/"+p.Name, p.Vpc, p.Peer, p.Phase), p.cells("Verified")...))
	}
	section(w, []string{"PEERING", "VPC", "PEER", "PHASE", "STATE", "MESSAGE"}, rows)
}

func (r *Report) printTunnels(w *terminal.Writer) {
	if len(r.Tunnels) == 0 {
		return
	}
	w.Printf("\n")
	w.Title("Tunnels")
	rows := [][]terminal.Cell{}
	for _, t := range r.Tunnels {
		rtt, mtu := "", ""
		if t.RTTMicroseconds > 0 {
			rtt = (time.Duration(t.RTTMicroseconds) * time.Microsecond).String()
		}
		if t.PathMTU > 0 {
			mtu = fmt.Sprint(t.PathMTU)
		}
		loss := fmt.Sprintf("%.1f%%", float64(t.LossPermille)/10)
		rows = append(rows, append(terminal.Text(t.From, t.To, t.Node, rtt, loss, mtu), t.cells("Reachable")...))
	}
	section(w, []string{"FROM", "TO", "NODE", "RTT", "LOSS", "MTU", "STATE", "MESSAGE"}, rows)
}

// cells are state and message. Without a reason the state is the word for a thing that is well.
func (y Why) cells(well string) []terminal.Cell {
	state := y.Reason
	if y.State == terminal.Well {
		state = well
	}
	return []terminal.Cell{{Text: y.State.Mark() + " " + state, Level: y.State}, {Text: oneLine(y.Message)}}
}

func oneLine(message string) string {
	message = strings.Join(strings.Fields(message), " ")
	if runes := []rune(message); len(runes) > wide {
		return string(runes[:wide-1]) + "…"
	}
	return message
}

// section writes a table, without the column MESSAGE when nobody has one.
func section(w *terminal.Writer, head []string, rows [][]terminal.Cell) {
	if len(rows) == 0 {
		w.Printf("none\n")
		return
	}
	last := len(head) - 1
	silent := true
	for _, row := range rows {
		silent = silent && row[last].Text == ""
	}
	if silent {
		head = head[:last]
		for i := range rows {
			rows[i] = rows[i][:last]
		}
	}
	w.Table(head, rows)
}

func printUnread(w *terminal.Writer, unread []facts.Unread) {
	if len(unread) == 0 {
		return
	}
	w.Printf("\n")
	w.Title("Could not be read")
	for _, u := range unread {
		w.Printf("%s %s: %s\n", w.Paint(terminal.Waiting, terminal.Waiting.Mark()), u.What, u.Why)
	}
}
