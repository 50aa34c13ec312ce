// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
)

// TLS are the files for ssl: endpoints. They are read again for each connection, so that a renewed certificate needs no
// restart.
type TLS struct {
	// CA, Cert and Key are PEM files: whom we believe, and who we are.
	CA, Cert, Key string
	// ServerName that the server's certificate must hold; "" for the host of the endpoint. Certificates made by
	// ovs-pki hold neither: give the name that they have as DNS SAN.
	ServerName string
}

// config reads the files.
func (t TLS) config() (*tls.Config, error) {
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("read CA certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read CA certificate: %s holds no PEM certificate", t.CA)
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("read client certificate: %w", err)
	}
	return &tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{pair}, ServerName: t.ServerName, MinVersion: tls.VersionTLS12,
	}, nil
}

// Option changes how a connection is made.
type Option func(*connection)

// WithTLS gives the files that ssl: endpoints need.
func WithTLS(t TLS) Option { return func(c *connection) { c.tls = &t } }

// splitEndpoints reads "unix:PATH", "tcp:HOST:PORT" or "ssl:HOST:PORT", or several separated by commas (ovsdb(7)).
// libovsdb itself would take a default for an empty one and keep what it does not know for later.
func splitEndpoints(list string) ([]string, error) {
	var endpoints []string
	for e := range strings.SplitSeq(list, ",") {
		e = strings.TrimSpace(e)
		scheme, rest, _ := strings.Cut(e, ":")
		ok := false
		switch scheme {
		case "unix":
			ok = strings.HasPrefix(rest, "/")
		case "tcp", "ssl":
			host, port, err := net.SplitHostPort(rest)
			ok = err == nil && host != "" && port != ""
		}
		if !ok {
			return nil, fmt.Errorf("parse endpoint %q: give unix:/PATH, tcp:HOST:PORT or ssl:HOST:PORT, or several with commas", e)
		}
		endpoints = append(endpoints, e)
	}
	return endpoints, nil
}
