// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package faulty

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// errDropped ends a request whose answer is kept from the client.
var errDropped = errors.New("the answer is dropped")

// oversize is more than an API server takes, and than a client expects.
const oversize = 2 << 20

// modify changes an answer on its way.
func (p *Proxy) modify(answer *http.Response) error {
	passage, ok := answer.Request.Context().Value(contextKey{}).(passage)
	if !ok {
		return nil
	}
	fault, streams := passage.fault, passage.query.verb == "watch" || passage.query.initial
	if fault != nil && (fault.Kind == Drop || fault.Kind == KillAfter) {
		_, _ = io.Copy(io.Discard, answer.Body) // the server is done when its answer is
		if fault.Kind == KillAfter {
			p.kill()
		}
		return errDropped
	}
	if answer.StatusCode != http.StatusOK {
		return nil
	}
	if streams {
		p.modifyStream(answer, passage)
		return nil
	}
	if fault == nil {
		return nil
	}
	return modifyObject(answer, fault.Kind)
}

// modifyStream changes the events of a watch, one JSON object a line.
func (p *Proxy) modifyStream(answer *http.Response, passage passage) {
	s := &stream{proxy: p, resource: passage.query.resource, from: answer.Body, lines: bufio.NewReaderSize(answer.Body, 1<<16)}
	if passage.fault != nil {
		s.fault, s.initial = passage.fault.Kind, passage.query.initial
	}
	answer.Body = s
}

// stream is the body of a watch.
type stream struct {
	proxy    *Proxy
	resource string
	from     io.ReadCloser
	lines    *bufio.Reader
	rest     []byte
	ended    bool

	fault Kind
	// initial is true until the list is over that the watch begins with.
	initial bool
	count   int
}

// Close implements io.Closer.
func (s *stream) Close() error { return s.from.Close() }

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.ended {
			return 0, io.EOF
		}
		line, err := s.lines.ReadBytes('\n')
		if err != nil {
			return 0, err
		}
		time.Sleep(s.proxy.slowness(s.resource))
		s.rest = s.change(line)
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// change gives what the client gets of an event.
func (s *stream) change(line []byte) []byte {
	if s.fault == "" {
		return line
	}
	var event struct {
		Type   string         `json:"type"`
		Object map[string]any `json:"object"`
	}
	if err := json.Unmarshal(line, &event); err != nil {
		return line
	}
	if event.Type == "BOOKMARK" {
		s.initial = false
		return line
	}
	s.count++
	switch {
	case s.initial && (s.fault == Empty || s.fault == Short && s.count%2 == 0):
		return nil
	case s.fault == Truncate:
		s.ended = true
		return line[:len(line)/2]
	case s.fault == Oversize:
		pad(event.Object)
		if changed, err := json.Marshal(event); err == nil {
			return append(changed, '\n')
		}
	}
	return line
}

// modifyObject changes a list or a single object.
func modifyObject(answer *http.Response, kind Kind) error {
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	items, list := object["items"].([]any)
	switch {
	case kind == Truncate:
		body = body[:len(body)/2]
	case kind == Empty && list:
		object["items"] = []any{}
	case kind == Short && list:
		kept := []any{}
		for i := 0; i < len(items); i += 2 {
			kept = append(kept, items[i])
		}
		object["items"] = kept
	case kind == Oversize && list:
		for _, item := range items {
			pad(item)
		}
	case kind == Oversize:
		pad(object)
	}
	if kind != Truncate {
		if body, err = json.Marshal(object); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	answer.ContentLength = int64(len(body))
	answer.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// pad makes an object larger than any that a server stores.
func pad(object any) {
	fields, _ := object.(map[string]any)
	metadata, ok := fields["metadata"].(map[string]any)
	if !ok {
		return
	}
	annotations, ok := metadata["annotations"].(map[string]any)
	if !ok {
		annotations = map[string]any{}
		metadata["annotations"] = annotations
	}
	annotations["chaos.tombolo.io/padding"] = strings.Repeat("x", oversize)
}
