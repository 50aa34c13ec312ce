// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package probe measures a path from where it runs: ICMP echo, and a TCP echo
// whose bytes are compared. podtool runs it in test pods; tests decode its
// reports from podtool's -json output.
package probe

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"time"
)

// PingOptions says what to send.
type PingOptions struct {
	Address  netip.Addr    // Address to ping, IPv4.
	Count    int           // Count of echo requests; 0 means until ctx ends, 65535 at most (16 bits of sequence).
	Interval time.Duration // Interval between two requests.
	Wait     time.Duration // Wait for replies after the last request.
	Size     int           // Size of the echo payload in bytes, as of ping -s.
	DF       bool          // DF forbids fragments, as ping -M do.
	OnReply  func(Reply)   // OnReply is called for each reply as it comes; may be nil.
}

// Reply is one echo reply, or the ICMP error that came instead.
type Reply struct {
	Seq    int           `json:"seq"`
	From   netip.Addr    `json:"from"`
	TTL    int           `json:"ttl"`             // TTL as received.
	RTT    time.Duration `json:"rtt"`             // RTT in nanoseconds.
	SentAt time.Time     `json:"sentAt"`          // SentAt by the sender's clock.
	Error  string        `json:"error,omitempty"` // Error names an ICMP error; its request counts as lost.
}

// PingReport is what came back.
type PingReport struct {
	Address  netip.Addr `json:"address"`
	Sent     int        `json:"sent"`     // Sent requests, refused ones included.
	Received int        `json:"received"` // Received counts distinct answered requests.
	Lost     int        `json:"lost"`     // Lost = Sent - Received.
	TTL      int        `json:"ttl"`      // TTL of the newest reply; 0 without one.
	AvgMS    float64    `json:"avg_ms"`   // AvgMS is the mean round trip in milliseconds.
	// FirstReplyUnixNano is when the first reply came, by the sender's clock.
	FirstReplyUnixNano int64 `json:"first_reply_unix_nano"`
	// Replies in the order they came.
	Replies []Reply `json:"replies,omitempty"`
	// SendError is the newest reason why the kernel refused a request (no
	// route, too long for DF), else empty.
	SendError string `json:"sendError,omitempty"`
}

// close fills in what follows from the replies.
func (r *PingReport) close(received int) {
	r.Received, r.Lost = received, r.Sent-received
	var sum time.Duration
	for _, reply := range r.Replies {
		if reply.Error != "" {
			continue
		}
		if r.FirstReplyUnixNano == 0 {
			r.FirstReplyUnixNano = reply.SentAt.Add(reply.RTT).UnixNano()
		}
		r.TTL = reply.TTL
		sum += reply.RTT
	}
	if received > 0 {
		r.AvgMS = float64(sum) / float64(received) / float64(time.Millisecond)
	}
}

// Ping sends echo requests and collects the replies. An unanswered ping is no
// error: it is in the report. The end of ctx ends it early, with what came so far.
func Ping(ctx context.Context, o PingOptions) (PingReport, error) {
	run := pingRun{PingOptions: o, report: PingReport{Address: o.Address}, sentAt: map[int]time.Time{}, answered: map[int]bool{}}
	switch {
	case !o.Address.Is4():
		return run.report, fmt.Errorf("ping %s: want an IPv4 address", o.Address)
	case o.Count > math.MaxUint16:
		return run.report, fmt.Errorf("ping %s: count %d: want at most %d", o.Address, o.Count, math.MaxUint16)
	case o.Count == 0:
		run.Count = math.MaxUint16
	}
	socket, err := openICMP(o.DF)
	if err != nil {
		return run.report, fmt.Errorf("ping %s: %w", o.Address, err)
	}
	defer socket.Close()

	replies := make(chan Reply, 64)
	go socket.receive(ctx, replies)
	run.loop(ctx, socket, replies)
	run.report.close(len(run.answered))
	return run.report, nil
}

// pingRun is the state of one Ping.
type pingRun struct {
	PingOptions
	report   PingReport
	sentAt   map[int]time.Time
	answered map[int]bool
}

func (p *pingRun) loop(ctx context.Context, socket *icmpSocket, replies <-chan Reply) {
	ticker := time.NewTicker(max(p.Interval, time.Millisecond))
	defer ticker.Stop()
	var patience <-chan time.Time // runs when all requests are sent
	send := func() {
		p.send(socket)
		if p.report.Sent == p.Count {
			ticker.Stop()
			patience = time.After(p.Wait)
		}
	}
	for send(); len(p.answered) < p.Count; {
		select {
		case <-ctx.Done():
			return
		case <-patience:
			return
		case <-ticker.C:
			send()
		case reply := <-replies:
			p.take(reply)
		}
	}
}

func (p *pingRun) send(socket *icmpSocket) {
	p.report.Sent++
	p.sentAt[p.report.Sent] = time.Now()
	if err := socket.send(p.Address, p.report.Sent, p.Size); err != nil {
		p.report.SendError = err.Error()
	}
}

// take books a reply; duplicates and answers to nothing are left out.
func (p *pingRun) take(reply Reply) {
	at, known := p.sentAt[reply.Seq]
	if !known || p.answered[reply.Seq] {
		return
	}
	reply.RTT, reply.SentAt = reply.SentAt.Sub(at), at
	if reply.Error == "" {
		p.answered[reply.Seq] = true
	}
	p.report.Replies = append(p.report.Replies, reply)
	if p.OnReply != nil {
		p.OnReply(reply)
	}
}
