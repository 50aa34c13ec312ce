// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package hubidentity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/herald"
)

// Reasons why the hub gives no certificate, beside those that it gives itself.
const (
	reasonWrongCA      = "HubCertificateUntrusted"
	reasonClock        = "ClockSkew"
	reasonWrongName    = "HubCertificateOfOtherName"
	reasonTokenExpired = "HubTokenExpired"
	reasonTokenRefused = "HubTokenRefused"
	reasonRefused      = "HubIdentityRefused"
	reasonForbidden    = "HubForbids"
	reasonUnreachable  = "HubUnreachable"
	reasonUnanswered   = "HubDoesNotAnswer"
)

// denial is the hub's no.
type denial struct{ reason, message string }

// Error implements error.
func (d *denial) Error() string { return d.reason + ": " + d.message }

// attempt is what an error came of.
type attempt struct {
	cluster string
	server  string
	// boot is nil for a renewal.
	boot *bootstrap
	now  time.Time
	// ahead is how far the hub's clock is before this one's, as far as it is known.
	ahead time.Duration
}

// explain says what an error means, and what to do.
func explain(err error, a attempt) *herald.News {
	if n := explainTLS(err, a); n != nil {
		return n
	}
	if d, ok := errors.AsType[*denial](err); ok {
		return bad(d.reason, "The hub %s refuses this agent's request for a certificate: %s", a.server, d.message)
	}
	again := invite(a.cluster) + " --again"
	switch {
	case apierrors.IsUnauthorized(err) && a.boot == nil:
		return bad(reasonRefused, "The hub %s does not take this agent's certificate any more%s. Cure: join anew (%s).", a.server, clock(a.ahead), again)
	case apierrors.IsUnauthorized(err) && !a.boot.expires.IsZero() && !a.now.Before(a.boot.expires):
		return bad(reasonTokenExpired, "The token for the hub %s expired at %s%s. Cure: make a new one (%s), and run the command that it prints.", a.server, stamp(a.boot.expires), clock(a.ahead), again)
	case apierrors.IsUnauthorized(err):
		return bad(reasonTokenRefused, "The hub %s does not know the token (hub.bootstrap.token): it was redeemed and is gone, was cut off, or is of another hub%s. "+
			"Cure: make a new one (%s), and run the command that it prints.", a.server, clock(a.ahead), again)
	case apierrors.IsForbidden(err):
		return bad(reasonForbidden, "The hub %s does not let this agent ask for a certificate: %v. Cure: install or upgrade the chart tombolo-hub on the hub (ClusterRoleBinding tombolo-join).", a.server, err)
	case isStatus(err):
		return bad(reasonUnanswered, "The hub %s can't take the request for a certificate: %v. The agent goes on trying.", a.server, err)
	default:
		return bad(reasonUnreachable, "The hub %s can't be reached: %v. The agent goes on trying. If it should be reachable: check hub.bootstrap.server, routes and firewalls between this cluster and the hub.", a.server, err)
	}
}

// explainTLS is nil for what has nothing to do with the hub's certificate.
func explainTLS(err error, a attempt) *herald.News {
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired && e.Cert != nil {
		return bad(reasonClock, "The certificate of the hub %s is good from %s to %s, and this cluster's clock says %s. Cure: correct the clock of this cluster's nodes, or renew the hub's certificate.",
			a.server, stamp(e.Cert.NotBefore), stamp(e.Cert.NotAfter), stamp(a.now))
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return bad(reasonWrongName, "The certificate of the hub is not for %s: %v. Cure: give a server name that is in the certificate (kubectl tombolo join %s --again --server …).", a.server, err, a.cluster)
	}
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	if unknown || invalid {
		return bad(reasonWrongCA, "The certificate of the hub %s is not signed by the CA that this agent was given (hub.bootstrap.caData): %v. "+
			"Cure: make a new command with the hub's CA (%s --again --ca-file …); if the CA is right, somebody else answers at that address.", a.server, err, invite(a.cluster))
	}
	return nil
}

// clock is the part of a message that says that clocks differ; empty when they do not.
func clock(ahead time.Duration) string {
	if ahead.Abs() < skewTold {
		return ""
	}
	if ahead > 0 {
		return fmt.Sprintf(" (this cluster's clock is %s behind the hub's)", ahead.Round(time.Second))
	}
	return fmt.Sprintf(" (this cluster's clock is %s ahead of the hub's)", (-ahead).Round(time.Second))
}

func isStatus(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status)
}
