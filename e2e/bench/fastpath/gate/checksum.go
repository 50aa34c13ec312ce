// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/topology"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// checksums sends TCP and UDP from pods that compute their checksums themselves, as pods of OVS's userspace datapath
// do, and looks for errors on all hosts of the path.
func checksums(p *topology.Path, _ int) (_ string, err error) {
	if err := p.SetPodChecksums(false); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, p.SetPodChecksums(true)) }()
	before, err := errorsOf(p)
	if err != nil {
		return "", err
	}
	const size, datagrams = 32 << 20, 1000
	if err := copyTCP(p, size); err != nil {
		return "", err
	}
	if err := sendUDP(p, datagrams); err != nil {
		return "", err
	}
	after, err := errorsOf(p)
	if err != nil {
		return "", err
	}
	if after != before {
		return "", fmt.Errorf("%d checksum errors", after-before)
	}
	return fmt.Sprintf("%d MB of TCP and %d datagrams without one", size>>20, datagrams), nil
}

func copyTCP(p *topology.Path, size int64) error {
	var l net.Listener
	address := netip.AddrPortFrom(p.Server.Address, 7104).String()
	err := netns.Do(p.Server.Namespace, func() (err error) { l, err = net.Listen("tcp4", address); return err })
	if err != nil {
		return err
	}
	defer l.Close()
	arrived := make(chan int64, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		n, _ := io.Copy(io.Discard, conn)
		arrived <- n
	}()
	var conn net.Conn
	err = netns.Do(p.Client.Namespace, func() (err error) { conn, err = net.DialTimeout("tcp4", address, time.Second); return err })
	if err != nil {
		return err
	}
	// Not sendfile, whose pages have no checksum to compute.
	if _, err := io.CopyN(conn, io.LimitReader(zeros{}, size), size); err != nil {
		return errors.Join(err, conn.Close())
	}
	if err := conn.Close(); err != nil {
		return err
	}
	select {
	case n := <-arrived:
		if n != size {
			return fmt.Errorf("%d of %d bytes of TCP arrived", n, size)
		}
		return nil
	case <-time.After(20 * time.Second):
		return fmt.Errorf("%d bytes of TCP have not arrived after 20 s", size)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func sendUDP(p *topology.Path, n int64) error {
	r, err := receive(p, 7104, 500)
	if err != nil {
		return err
	}
	defer r.conn.Close()
	conn, err := dial(p, 7104)
	if err != nil {
		return err
	}
	defer conn.Close()
	for range n {
		if _, err := conn.Write(make([]byte, 500)); err != nil {
			return err
		}
	}
	if got := r.total(n); got != n {
		return fmt.Errorf("%d of %d datagrams arrived", got, n)
	}
	return nil
}

// errorsOf adds up the checksum errors of all hosts of p.
func errorsOf(p *topology.Path) (int64, error) {
	total := int64(0)
	for _, ns := range p.Namespaces() {
		err := netns.Do(ns, func() error {
			for _, file := range []string{"snmp", "netstat"} {
				n, err := checksumErrors("/proc/thread-self/net/" + file)
				if err != nil {
					return err
				}
				total += n
			}
			return nil
		})
		if err != nil {
			return 0, fmt.Errorf("read counters of %s: %w", ns, err)
		}
	}
	return total, nil
}

// checksumErrors adds up the columns InCsumErrors of a file whose lines are pairs of names and numbers.
func checksumErrors(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	total, lines := int64(0), strings.Split(strings.TrimSpace(string(text)), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		values := strings.Fields(lines[i+1])
		for column, name := range strings.Fields(lines[i]) {
			if name != "InCsumErrors" {
				continue
			}
			n, err := strconv.ParseInt(values[column], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read %s of %s: %w", name, path, err)
			}
			total += n
		}
	}
	return total, nil
}
