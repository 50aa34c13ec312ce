// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package hubidentity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	from   = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	middle = from.Add(50 * time.Hour)
	old    = from.Add(85 * time.Hour)
	end    = from.Add(100 * time.Hour)
)

func certificate() *x509.Certificate { return &x509.Certificate{NotBefore: from, NotAfter: end} }

func TestDecide(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "tombolo-hub-kubeconfig"}}
	own := identity{secret: secret, certificate: certificate(), cluster: "east", own: true, redeemed: "a"}
	ocms := identity{secret: secret, certificate: certificate(), cluster: "east"}
	west := func(i identity) identity { i.cluster = "west"; return i }
	for name, tc := range map[string]struct {
		reason  string
		have    identity
		boot    *bootstrap
		now     time.Time
		publish bool
		want    action
		news    string
	}{
		"Nothing":      {"nobody has invited the cluster", identity{}, nil, middle, false, stay, reasonNoIdentity},
		"Token":        {"which is what it is for", identity{}, &bootstrap{hash: "a"}, middle, false, redeem, ""},
		"Pending":      {"a request that was begun is finished", identity{secret: secret, pending: []byte("k")}, &bootstrap{hash: "a"}, middle, false, redeem, ""},
		"Joined":       {"a token that was redeemed stays where it is and means nothing", own, &bootstrap{hash: "a"}, middle, true, stay, ""},
		"NoMoreToken":  {"nor does one that is gone", own, nil, middle, true, stay, ""},
		"NewToken":     {"somebody wants the cluster to join anew", own, &bootstrap{hash: "b"}, middle, true, redeem, ""},
		"SpentToken":   {"a token that came too late keeps nothing from being renewed", own, &bootstrap{hash: "b", expires: old}, old, true, renew, ""},
		"Old":          {"before it ends", own, nil, old, true, renew, ""},
		"Expired":      {"what is expired renews nothing", own, &bootstrap{hash: "a"}, end.Add(time.Hour), true, redeem, ""},
		"ExpiredAlone": {"then only people can help", own, nil, end.Add(time.Hour), true, stay, reasonExpired},
		"Renamed":      {"the identity of another name is none", west(own), nil, middle, false, stay, reasonWrongCluster},
		"RenamedToken": {"a token for the new name is the cure", west(own), &bootstrap{hash: "b"}, middle, false, redeem, ""},
		"OCM":          {"OCM's registration has written it", ocms, nil, middle, true, stay, ""},
		"OCMAndToken":  {"and is not interfered with", ocms, &bootstrap{hash: "b"}, middle, true, stay, ""},
		"OCMOld":       {"it renews itself", ocms, nil, old, true, stay, ""},
		"OCMExpired":   {"or should have", ocms, nil, end.Add(time.Hour), true, stay, reasonExpired},
		"OCMOther":     {"the chart has another name than the add-on", west(ocms), &bootstrap{hash: "b"}, middle, false, stay, reasonWrongCluster},
		"Broken":       {"what can't be read is said", identity{secret: secret, problem: "no pair"}, nil, middle, false, stay, reasonInvalid},
		"BrokenToken":  {"and made anew if there is a token", identity{secret: secret, problem: "no pair"}, &bootstrap{hash: "b"}, middle, false, redeem, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := decide(tc.have, tc.boot, "east", tc.now)
			news := ""
			if got.news != nil {
				news = got.news.Reason
				if !strings.Contains(got.news.Message, "Cure: ") {
					t.Errorf("%s: %q tells no cure", tc.reason, got.news.Message)
				}
			}
			if got.publish != tc.publish || got.action != tc.want || news != tc.news {
				t.Errorf("%s: got publish %v, %s, news %q", tc.reason, got.publish, got.action, news)
			}
		})
	}
}

func TestRenewAt(t *testing.T) {
	moments := map[time.Time]bool{}
	for i := range 64 {
		c := certificate()
		c.Raw = []byte{byte(i)}
		at := renewAt(c)
		if at.Before(from.Add(70*time.Hour)) || at.After(from.Add(80*time.Hour)) || !at.Equal(renewAt(c)) {
			t.Fatalf("a certificate of 100 h is renewed after %s, then after %s", at.Sub(from), renewAt(c).Sub(from))
		}
		moments[at] = true
	}
	if len(moments) < 32 {
		t.Errorf("64 clusters renew at %d moments: they would come at once", len(moments))
	}
}

func TestExplain(t *testing.T) {
	wrap := func(err error) error {
		return fmt.Errorf("create: %w", &url.Error{Op: "Post", URL: "https://hub", Err: err})
	}
	boot := &bootstrap{expires: middle}
	csrs := schema.GroupResource{Group: "certificates.k8s.io", Resource: "certificatesigningrequests"}
	for name, tc := range map[string]struct {
		reason string
		err    error
		boot   *bootstrap
		now    time.Time
		ahead  time.Duration
		want   string
		says   []string
	}{
		"WrongCA":      {"a CA of another hub", wrap(x509.UnknownAuthorityError{}), boot, from, 0, reasonWrongCA, []string{"hub.bootstrap.caData", "--ca-file"}},
		"ClockBehind":  {"the hub's certificate is not valid yet", wrap(x509.CertificateInvalidError{Cert: certificate(), Reason: x509.Expired}), boot, from.Add(-time.Hour), 0, reasonClock, []string{"this cluster's clock says 2025-12-31T23:00:00Z", "correct the clock"}},
		"WrongName":    {"reached by a name that is not in the certificate", wrap(x509.HostnameError{Certificate: certificate(), Host: "hub"}), boot, from, 0, reasonWrongName, []string{"--server"}},
		"Expired":      {"too late", apierrors.NewUnauthorized("x"), boot, end, 0, reasonTokenExpired, []string{"expired at 2026-01-03T02:00:00Z", "kubectl tombolo join east --again"}},
		"Gone":         {"taken back", apierrors.NewUnauthorized("x"), boot, from, 0, reasonTokenRefused, []string{"hub.bootstrap.token"}},
		"Skewed":       {"by the hub's clock it is over", apierrors.NewUnauthorized("x"), boot, from, 2 * time.Hour, reasonTokenRefused, []string{"2h0m0s behind the hub's"}},
		"SkewedAhead":  {"the other way", apierrors.NewUnauthorized("x"), boot, end, -2 * time.Hour, reasonTokenExpired, []string{"2h0m0s ahead of the hub's"}},
		"RefusedOwn":   {"the hub has a new CA", apierrors.NewUnauthorized("x"), nil, from, 0, reasonRefused, []string{"join anew"}},
		"NoPermission": {"a hub without its chart", apierrors.NewForbidden(csrs, "", errors.New("no")), boot, from, 0, reasonForbidden, []string{"chart tombolo-hub"}},
		"Denied":       {"the hub's own words", &denial{"TokenAlreadyRedeemed", "The token was redeemed before. Cure: x."}, boot, from, 0, "TokenAlreadyRedeemed", []string{"redeemed before"}},
		"Away":         {"nobody there", wrap(&net.OpError{Op: "dial", Err: errors.New("connection refused")}), boot, from, 0, reasonUnreachable, []string{"goes on trying", "connection refused"}},
		"Busy":         {"the hub has trouble of its own", apierrors.NewInternalError(errors.New("etcd")), boot, from, 0, reasonUnanswered, []string{"goes on trying"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := explain(tc.err, attempt{cluster: "east", server: "https://hub", boot: tc.boot, now: tc.now, ahead: tc.ahead})
			if got.Reason != tc.want || !got.Bad {
				t.Errorf("%s: got %s: %s", tc.reason, got.Reason, got.Message)
			}
			for _, text := range tc.says {
				if !strings.Contains(got.Message, text) {
					t.Errorf("%s: %q lacks %q", tc.reason, got.Message, text)
				}
			}
		})
	}
}
