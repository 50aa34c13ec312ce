// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package faulty is an API server that lies, stalls and breaks: a reverse proxy (TLS, HTTP/2) between one client and a
// real kube-apiserver, which answers as it is told to. It has the client's identity on the server, so the server's own
// permissions apply.
package faulty

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// Kind of a fault.
type Kind string

// The faults.
const (
	// Empty: a list, or the beginning of a watch that stands for one, has nothing in it.
	Empty Kind = "empty-list"
	// Short: it has every other object only.
	Short Kind = "short-list"
	// Status: the request is answered with Code and does not reach the server.
	Status Kind = "status"
	// Drop: the server does it, and the client is not told.
	Drop Kind = "drop-reply"
	// Refuse: the connection breaks before the server has seen the request.
	Refuse Kind = "refuse"
	// Truncate: the answer ends in the middle.
	Truncate Kind = "truncate"
	// Oversize: each object of the answer carries two megabytes that nobody asked for.
	Oversize Kind = "oversize"
	// Slow: every event of a watch comes late by Delay.
	Slow Kind = "slow-watch"
	// KillBefore ends the client's process when the request comes, and the server does not see it.
	KillBefore Kind = "kill-before-write"
	// KillAfter ends it when the server has done what the request asks for.
	KillAfter Kind = "kill-after-write"
)

// Fault is what happens to some of the requests.
type Fault struct {
	Kind Kind `json:"kind"`
	// Verb is list, get, watch (one that goes on from a version), or write; empty: any.
	Verb string `json:"verb,omitempty"`
	// Resource is a plural; empty: any but events and leases.
	Resource string `json:"resource,omitempty"`
	// Skip that many requests that match.
	Skip int `json:"skip,omitempty"`
	// Times is how many requests it happens to; 0: all until Heal.
	Times int `json:"times,omitempty"`
	// Code of Status.
	Code int `json:"code,omitempty"`
	// Delay of Slow.
	Delay time.Duration `json:"delay,omitempty"`
}

func (f Fault) String() string {
	text := string(f.Kind)
	if f.Code != 0 {
		text += fmt.Sprint(" ", f.Code)
	}
	if f.Verb != "" || f.Resource != "" {
		text += fmt.Sprintf(" on %s %s", f.Verb, f.Resource)
	}
	if f.Skip > 0 {
		text += fmt.Sprintf(" after %d", f.Skip)
	}
	if f.Times > 0 {
		text += fmt.Sprintf(" for %d", f.Times)
	}
	if f.Delay > 0 {
		text += " by " + f.Delay.String()
	}
	return text
}

// Proxy is between one client and one server.
type Proxy struct {
	listener net.Listener
	server   *http.Server
	kill     func()
	// kills are the requests that will still end the client.
	kills sync.WaitGroup

	mu     sync.Mutex
	target *httputil.ReverseProxy
	faults []*Fault
	hits   map[Kind]int
	open   context.Context
	cut    context.CancelFunc
	// watches are the open ones, by resource.
	watches map[string]map[*context.CancelFunc]bool
}

// New listens on loopback with that certificate. identity is how the proxy talks to the server; kill ends the client.
func New(certificate tls.Certificate, identity *rest.Config, kill func()) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	p := &Proxy{listener: listener, kill: kill, hits: map[Kind]int{}, watches: map[string]map[*context.CancelFunc]bool{}}
	p.open, p.cut = context.WithCancel(context.Background())
	if err := p.Target(identity); err != nil {
		return nil, err
	}
	p.server = &http.Server{
		Handler: p, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12},
	}
	go func() { _ = p.server.ServeTLS(listener, "", "") }() // it ends with Close
	return p, nil
}

// URL is where clients connect to.
func (p *Proxy) URL() string { return "https://" + p.listener.Addr().String() }

// Close ends the proxy.
func (p *Proxy) Close() {
	p.Cut()
	_ = p.server.Close() // open connections end with the test
}

// Target changes the server behind the proxy, and who the client is there.
func (p *Proxy) Target(identity *rest.Config) error {
	transport, err := rest.TransportFor(identity)
	if err != nil {
		return fmt.Errorf("make transport: %w", err)
	}
	to, err := url.Parse(identity.Host)
	if err != nil {
		return fmt.Errorf("parse %q: %w", identity.Host, err)
	}
	proxy := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, ModifyResponse: p.modify, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Del("Accept-Encoding")
			r.Out.Header.Set("Accept", onlyJSON(r.In.Header.Get("Accept")))
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.mu.Lock()
	p.target = proxy
	p.mu.Unlock()
	p.Cut()
	return nil
}

// onlyJSON leaves the formats that can be changed on the way.
func onlyJSON(accept string) string {
	var keep []string
	for format := range strings.SplitSeq(accept, ",") {
		if strings.HasPrefix(strings.TrimSpace(format), "application/json") {
			keep = append(keep, format)
		}
	}
	if len(keep) == 0 {
		return "application/json"
	}
	return strings.Join(keep, ",")
}

// Inject adds a fault; of several that match a request the first one happens.
func (p *Proxy) Inject(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, &f)
}

// Heal ends all faults. A client that is to be killed is dead when it returns.
func (p *Proxy) Heal() {
	p.mu.Lock()
	p.faults = nil
	p.mu.Unlock()
	p.kills.Wait()
}

// Anew makes the next watch of a resource begin with a list: the one that goes on now ends, and its version is too old.
func (p *Proxy) Anew(resource string) {
	p.Inject(Fault{Kind: Status, Code: http.StatusGone, Verb: "watch", Resource: resource, Times: 1})
	p.mu.Lock()
	defer p.mu.Unlock()
	for cancel := range p.watches[resource] {
		(*cancel)()
	}
}

// Watched are the resources that the client watches now, in order.
func (p *Proxy) Watched() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var watched []string
	for resource, watches := range p.watches {
		if len(watches) > 0 {
			watched = append(watched, resource)
		}
	}
	slices.Sort(watched)
	return watched
}

// watching keeps a watch's end until the watch has ended.
func (p *Proxy) watching(resource string, cancel *context.CancelFunc) (ended func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watches[resource] == nil {
		p.watches[resource] = map[*context.CancelFunc]bool{}
	}
	p.watches[resource][cancel] = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.watches[resource], cancel)
	}
}

// Cut breaks all open requests, watches among them.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
	p.open, p.cut = context.WithCancel(context.Background())
}

// Hits is how often each kind of fault has happened.
func (p *Proxy) Hits() map[Kind]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	hits := p.hits
	p.hits = map[Kind]int{}
	return hits
}

// begin finds what happens to a request.
func (p *Proxy) begin(q query) (*Fault, *httputil.ReverseProxy, context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, f := range p.faults {
		if f.Kind == Slow || !f.matches(q) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		p.hits[f.Kind]++
		hit := *f
		if f.Kind == KillBefore || f.Kind == KillAfter {
			p.kills.Add(1)
		}
		if f.Times == 1 {
			p.faults = append(p.faults[:i:i], p.faults[i+1:]...)
		} else if f.Times > 1 {
			f.Times--
		}
		return &hit, p.target, p.open
	}
	return nil, p.target, p.open
}

// slowness is how late an event of a resource is now.
func (p *Proxy) slowness(resource string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.faults {
		if f.Kind == Slow && (f.Resource == "" || f.Resource == resource) {
			p.hits[Slow]++
			return f.Delay
		}
	}
	return 0
}

type contextKey struct{}

// passage is a request on its way.
type passage struct {
	query query
	fault *Fault
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := parse(r)
	fault, target, open := p.begin(q)
	if fault != nil {
		if fault.Kind == KillBefore || fault.Kind == KillAfter {
			defer p.kills.Done()
		}
		switch fault.Kind {
		case Status:
			answer(w, fault.Code)
			return
		case Refuse:
			panic(http.ErrAbortHandler)
		case KillBefore:
			p.kill()
			panic(http.ErrAbortHandler)
		}
	}
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), contextKey{}, passage{q, fault}))
	defer cancel()
	defer context.AfterFunc(open, cancel)()
	if q.verb == "watch" || q.initial {
		defer p.watching(q.resource, &cancel)()
	}
	target.ServeHTTP(w, r.WithContext(ctx))
}

// answer is the Status that the API server would send.
func answer(w http.ResponseWriter, code int) {
	reasons := map[int]string{http.StatusForbidden: "Forbidden", http.StatusNotFound: "NotFound", http.StatusGone: "Expired", http.StatusTooManyRequests: "TooManyRequests",
		http.StatusInternalServerError: "InternalError", http.StatusServiceUnavailable: "ServiceUnavailable", http.StatusConflict: "Conflict", http.StatusGatewayTimeout: "Timeout"}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"injected","reason":%q,"code":%d}`, reasons[code], code)
}
