// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
)

// Northbound sees every change of OVN's routers (RFC 7047, monitor). It only reads.
type Northbound struct {
	conn net.Conn
	gone func(owner string)

	mu      sync.Mutex
	routers map[string]string // row → owner
}

type message struct {
	ID     any             `json:"id"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  any             `json:"error"`
}

// watchNorthbound calls gone with the owner of each router that is taken away.
func watchNorthbound(ctx context.Context, socket string, gone func(owner string)) (*Northbound, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("connect to northbound database: %w", err)
	}
	n := &Northbound{conn: conn, gone: gone, routers: map[string]string{}}
	request := `{"id":1,"method":"monitor","params":["OVN_Northbound","witness",{` +
		`"Logical_Router":{"columns":["external_ids"]}}]}`
	if _, err := conn.Write([]byte(request)); err != nil {
		conn.Close()
		return nil, fmt.Errorf("monitor northbound database: %w", err)
	}
	first := make(chan struct{})
	go n.read(sync.OnceFunc(func() { close(first) }))
	select {
	case <-first:
		return n, nil
	case <-ctx.Done():
		conn.Close()
		return nil, fmt.Errorf("monitor northbound database: %w", ctx.Err())
	}
}

func (n *Northbound) close() { n.conn.Close() }

func (n *Northbound) read(first func()) {
	messages := json.NewDecoder(n.conn)
	for {
		var m message
		if err := messages.Decode(&m); err != nil {
			return
		}
		switch {
		case m.Method == "echo":
			answer, err := json.Marshal(message{ID: m.ID, Result: m.Params})
			if err == nil {
				_, _ = n.conn.Write(answer) // a connection that is gone ends the loop
			}
		case m.Method == "update":
			var params []json.RawMessage
			if json.Unmarshal(m.Params, &params) == nil && len(params) == 2 {
				n.apply(params[1])
			}
		case m.Result != nil:
			n.apply(m.Result)
			first()
		}
	}
}

// row is an update of one row: without New it is gone.
type row struct {
	New *struct {
		ExternalIDs []any `json:"external_ids"`
	} `json:"new"`
}

func (n *Northbound) apply(raw json.RawMessage) {
	var tables map[string]map[string]row
	if json.Unmarshal(raw, &tables) != nil {
		return
	}
	var gone []string
	n.mu.Lock()
	for id, r := range tables["Logical_Router"] {
		if r.New != nil {
			n.routers[id] = owner(r.New.ExternalIDs)
			continue
		}
		if o := n.routers[id]; o != "" {
			gone = append(gone, o)
		}
		delete(n.routers, id)
	}
	n.mu.Unlock()
	for _, o := range gone {
		n.gone(o)
	}
}

// owner reads ["map",[["tombolo.io/owner","…"],…]].
func owner(externalIDs []any) string {
	if len(externalIDs) != 2 {
		return ""
	}
	pairs, _ := externalIDs[1].([]any)
	for _, p := range pairs {
		if pair, _ := p.([]any); len(pair) == 2 && pair[0] == "tombolo.io/owner" {
			text, _ := pair[1].(string)
			return text
		}
	}
	return ""
}

// Routers counts the routers of each owner.
func (n *Northbound) Routers() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	routers := map[string]int{}
	for _, o := range n.routers {
		if o != "" {
			routers[o]++
		}
	}
	return routers
}
