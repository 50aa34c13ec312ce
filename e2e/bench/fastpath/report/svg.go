// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"fmt"
	"html"
	"os"
)

const (
	left, right  = 130, 70
	barWidth     = 500
	barHeight    = 18
	titleHeight  = 34
	bottomHeight = 30
)

// drawn are the measures of the drawing: costs, of which less is better.
var drawn = []struct{ measure, title string }{
	{"rr", "TCP ping-pong of one byte"},
	{"udp", "UDP, 18 bytes"},
	{"tcp", "TCP stream"},
	{"tcp_wire", "TCP stream over an underlay of 1500-byte frames"},
	{"hops4_rr", "TCP ping-pong between pods on nodes that are no gateways"},
	{"hops4_udp", "UDP between pods on nodes that are no gateways"},
	{"encap", "Gateway, into the tunnel"},
	{"decap", "Gateway, out of the tunnel"},
	{"transit", "Gateway, from tunnel to tunnel"},
}

// WriteSVG draws the medians as bars, with a line from least to most.
func (r *Report) WriteSVG(path string) error {
	var body bytes.Buffer
	y := 0
	for _, d := range drawn {
		y = r.draw(&body, y, d.measure, d.title)
	}
	fmt.Fprintf(&body, `<text x="8" y="%d" class="note">Linux %s, %s, load %s, %d rounds. Less is better.</text>`+"\n",
		y+bottomHeight-10, html.EscapeString(r.Kernel), html.EscapeString(r.CPU), html.EscapeString(r.LoadBefore), r.Rounds)
	var out bytes.Buffer
	width, height := left+barWidth+right, y+bottomHeight
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">`+"\n", width, height, width, height)
	fmt.Fprintln(&out, `<style>text{font:12px sans-serif;fill:#222}.title{font-weight:bold}.note{fill:#666}`+
		`.bar{fill:#b8c4ce}.ours{fill:#c8742b}.range{stroke:#222}</style>`)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	out.Write(body.Bytes())
	fmt.Fprintln(&out, "</svg>")
	return os.WriteFile(path, out.Bytes(), 0o644)
}

// draw appends the bars of one measure below y and returns where they end.
func (r *Report) draw(out *bytes.Buffer, y int, name, title string) int {
	var bars []Measure
	most := 0.0
	for _, m := range r.Measures {
		if m.Measure == name {
			bars, most = append(bars, m), max(most, m.Max)
		}
	}
	if len(bars) == 0 {
		return y
	}
	fmt.Fprintf(out, `<text x="8" y="%d" class="title">%s</text><text x="%d" y="%d" class="note" text-anchor="end">%s</text>`+"\n",
		y+22, html.EscapeString(title), left+barWidth, y+22, html.EscapeString(bars[0].Unit))
	y += titleHeight
	scale := barWidth / most
	for _, m := range bars {
		class := "bar"
		if m.Variant == ours || m.Variant == xdp {
			class = "ours"
		}
		middle := y + barHeight/2
		fmt.Fprintf(out, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-8, middle+4, html.EscapeString(m.Variant))
		fmt.Fprintf(out, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"/>`, class, left, y+2, m.Median*scale, barHeight-4)
		fmt.Fprintf(out, `<line class="range" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, left+m.Min*scale, middle, left+m.Max*scale, middle)
		fmt.Fprintf(out, `<text x="%.1f" y="%d">%s</text>`+"\n", left+m.Max*scale+6, middle+4, number(m.Median))
		y += barHeight
	}
	return y
}
