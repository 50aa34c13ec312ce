// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package server answers the CNI plugin on the node.
//
//	ADD ─▶ which subnet (binding)? none ─▶ "delegate"
//	       else wait for the pod's annotation ─▶ which interface? (the plugin makes it)
//	PLUG ─▶ port in the integration bridge ─▶ result
//
// Everything is read from watches, so a pod costs the apiserver nothing here. DEL needs only what the
// runtime says, since the pod's object may be gone by then.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/cni"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/lazy"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
)

// requestTimeout bounds the reading of a request.
const requestTimeout = 5 * time.Second

// Links removes the node's ends of pods' interfaces. (The plugin makes them.)
type Links interface {
	Remove(name string) error
}

// Vswitch changes ports of the integration bridge.
type Vswitch interface {
	AddPort(ctx context.Context, bridge string, p ovn.VswitchPort) error
	DelPort(ctx context.Context, bridge, iface string) error
	Ports(ctx context.Context) ([]ovn.VswitchPort, error)
	DatapathType(ctx context.Context, bridge string) (string, error)
}

// Server is the agent's end of the socket.
type Server struct {
	// Socket is the path of the unix socket.
	Socket string
	// Bridge is the integration bridge.
	Bridge string
	// Reader reads Pods of this node, Namespaces and LocalRouters from watches.
	Reader  client.Reader
	Links   Links
	Vswitch *lazy.Value[Vswitch]
	Log     logr.Logger
	// DirectPath makes new pods' interfaces such that programs can take their packets before Open vSwitch does.
	DirectPath bool
	// Changed is called after a pod was plugged or unplugged, if it is set.
	Changed func()
	// Leave says whether the cluster leaves the fleet: then no pod is plugged any more. Nil: it stays.
	Leave *leave.Reader
	// Patience is how long ADD waits for a pod's annotation; 0 means 20 s.
	Patience time.Duration
}

// NeedLeaderElection is false: every node has its own.
func (s *Server) NeedLeaderElection() bool { return false }

// Start serves until ctx ends.
func (s *Server) Start(ctx context.Context) error {
	listener, err := s.listen()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	s.Log.Info("Answering the CNI plugin", "socket", s.Socket)
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept on %s: %w", s.Socket, err)
		}
		calls.Go(func() { s.answer(ctx, conn) })
	}
}

// listen makes the socket, in place of one that an earlier process left.
func (s *Server) listen() (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(s.Socket), 0o755); err != nil {
		return nil, fmt.Errorf("make directory of --cni-socket: %w", err)
	}
	if err := os.Remove(s.Socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old --cni-socket: %w", err)
	}
	listener, err := net.Listen("unix", s.Socket)
	if err != nil {
		return nil, fmt.Errorf("listen on --cni-socket: %w", err)
	}
	// The path may be a successor's by the time that this one ends. listen removes what is left.
	if unix, ok := listener.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false)
	}
	if err := os.Chmod(s.Socket, 0o600); err != nil {
		listener.Close()
		return nil, fmt.Errorf("restrict --cni-socket: %w", err)
	}
	return listener, nil
}

// answer serves one connection, which is one request.
func (s *Server) answer(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(requestTimeout)); err != nil {
		return
	}
	var request cni.Request
	if err := json.NewDecoder(conn).Decode(&request); err != nil {
		s.Log.Info("Unreadable request", "error", err.Error())
		return
	}
	log := s.Log.WithValues("command", request.Command, "pod", request.PodNamespace+"/"+request.PodName, "sandbox", request.ContainerID)
	started := time.Now()
	response, err := s.handle(ctx, request)
	if err != nil {
		response = cni.Response{Error: err.Error()}
		log.Info("Refused", "error", err.Error(), "took", time.Since(started).String())
	} else {
		log.V(1).Info("Answered", "delegate", response.Delegate, "took", time.Since(started).String())
	}
	if err := json.NewEncoder(conn).Encode(response); err != nil {
		log.Info("The plugin did not wait for the answer", "error", err.Error())
	}
}

func (s *Server) handle(ctx context.Context, request cni.Request) (cni.Response, error) {
	switch request.Command {
	case cni.CommandAdd, cni.CommandPlug:
		if err := s.stays(ctx); err != nil {
			return cni.Response{}, err
		}
		if request.Command == cni.CommandPlug {
			return s.plug(ctx, request)
		}
		return s.add(ctx, request)
	case cni.CommandDel:
		return s.del(ctx, request)
	case cni.CommandCheck:
		return s.check(ctx, request)
	case cni.CommandGC:
		return s.collect(ctx, request)
	case cni.CommandStatus:
		_, err := s.Vswitch.Get(ctx)
		return cni.Response{Delegate: true}, err
	default:
		return cni.Response{}, fmt.Errorf("command %q is unknown: the plugin and the agent must be of one version", request.Command)
	}
}

// stays refuses pods on a node that is being cleaned up: the runtime tries again, and by then asks the cluster's own plugin.
func (s *Server) stays(ctx context.Context) error {
	if s.Leave == nil {
		return nil
	}
	leaving, err := s.Leave.State(ctx)
	if err == nil && leaving.Clean {
		err = errors.New("Tombolo is being removed from this cluster") //nolint:staticcheck // a name begins with a capital
	}
	return err
}
