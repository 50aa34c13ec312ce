// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/testr"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/ovntest"
)

// TestSilentServer: the server holds the connection and says nothing, as after a power cut. A call ends at its
// deadline, the watchdog drops the client, and when the server speaks again, so does Set.
func TestSilentServer(t *testing.T) {
	central := ovntest.StartCentral(t)
	n, err := DialNorthbound(t.Context(), central.NB.Endpoint, testr.New(t), func(c *connection) { c.probe = 100 * time.Millisecond })
	must(t, err)
	t.Cleanup(n.Close)
	one := vpc("vpc-1", "10.0.0.0/16", "p1")
	mustSet(t, n, one)

	central.NB.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = n.Set(ctx, Desired{Routers: []Router{one, vpc("vpc-2", "172.31.0.0/16")}})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 20*time.Second {
		t.Errorf("Set returned after %v with error %v, want the deadline's after 500ms", time.Since(start), err)
	}
	ovntest.Eventually(t, "the watchdog to drop the client", func() bool {
		n.conn.mu.Lock()
		defer n.conn.mu.Unlock()
		return n.conn.current == nil
	})
	central.NB.Thaw()
	// The server may still take the transaction of before; then it refuses ours, and the next Set finds nothing to do.
	ovntest.Eventually(t, "Set to work again", func() bool {
		_, err := n.Set(t.Context(), Desired{Routers: []Router{one, vpc("vpc-2", "172.31.0.0/16")}})
		return err == nil
	})
}

// TestClusterMemberDies: of a clustered database one server goes, the leader and the one that we use. The rest takes
// over, and nothing is lost or made twice.
func TestClusterMemberDies(t *testing.T) {
	members := ovntest.StartCluster(t, "/usr/share/ovn/ovn-nb.ovsschema", "OVN_Northbound", 3)
	var endpoints []string
	for _, m := range members {
		endpoints = append(endpoints, m.Endpoint)
	}
	ovntest.Run(t, "ovn-nbctl", "--db="+members[0].Endpoint, "init")
	n := dialNorthbound(t, strings.Join(endpoints, ","))
	one, two := vpc("vpc-1", "10.0.0.0/16", "p1"), vpc("vpc-2", "172.31.0.0/16")
	mustSet(t, n, one)
	before := mustDump(t, n)

	members[0].Stop()
	start := time.Now()
	desired := Desired{Routers: []Router{one, two}}
	ovntest.Eventually(t, "the other members to take a write", func() bool {
		_, err := n.Set(t.Context(), desired)
		return err == nil
	})
	t.Logf("written %v after the leader went", time.Since(start).Round(time.Millisecond))
	_, err := n.Set(t.Context(), Desired{Removed: []string{"uid-vpc-2"}})
	must(t, err)
	if after := mustDump(t, n); after != before {
		t.Errorf("rows before:\n%s\nafter:\n%s", before, after)
	}
}

// TestFirstEndpointDead: of several endpoints, the first one that answers is taken.
func TestFirstEndpointDead(t *testing.T) {
	db := ovntest.StartDatabase(t, "/usr/share/ovn/ovn-nb.ovsschema")
	dialNorthbound(t, "unix:/nonexistent/sock, "+db.Endpoint)
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	writePair(t, file("ca"), file("server"), "nb.example")
	writePair(t, file("ca"), file("client"), "agent.example")
	db := ovntest.StartDatabase(t, "/usr/share/ovn/ovn-nb.ovsschema",
		"--remote=pssl:0:127.0.0.1", "--private-key="+file("server.key"), "--certificate="+file("server.pem"), "--ca-cert="+file("ca.pem"))
	var port []string
	ovntest.Eventually(t, "the server to tell its port", func() bool {
		port = regexp.MustCompile(`listening on port (\d+)\n`).FindStringSubmatch(db.Log(t))
		return port != nil
	})
	endpoint := "ssl:127.0.0.1:" + port[1]

	files := TLS{CA: file("ca.pem"), Cert: file("client.pem"), Key: file("client.key")}
	named := files
	named.ServerName = "nb.example"
	n, err := DialNorthbound(t.Context(), endpoint, logr.Discard(), WithTLS(named))
	must(t, err)
	n.Close()

	if _, err := DialNorthbound(t.Context(), endpoint, logr.Discard(), WithTLS(files)); err == nil || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("a certificate for another host was believed (error %v)", err)
	}
	if _, err := DialNorthbound(t.Context(), endpoint, logr.Discard()); err == nil {
		t.Error("a certificate of nobody we know was believed")
	}
}

// writePair writes NAME.key and NAME.pem for a host, signed by CA.key, which is made when it is not there.
func writePair(t *testing.T, ca, name, host string) {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	issuer := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if text, err := os.ReadFile(ca + ".key"); err == nil {
		block, _ := pem.Decode(text)
		caKey, err = x509.ParseECPrivateKey(block.Bytes)
		must(t, err)
	} else {
		writePEM(t, ca, issuer, issuer, caKey, caKey)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	writePEM(t, name, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, issuer, key, caKey)
}

func writePEM(t *testing.T, name string, cert, issuer *x509.Certificate, key, signer *ecdsa.PrivateKey) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, issuer, &key.PublicKey, signer)
	must(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(name+".key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
}
