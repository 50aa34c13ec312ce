// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package hubidentity

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/herald"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// action is what is to be done about the identity.
type action string

const (
	// stay: nothing, until something changes.
	stay action = "rest"
	// redeem the token for a certificate.
	redeem action = "redeem"
	// renew the certificate with itself.
	renew action = "renew"
)

// Reasons that are told.
const (
	reasonJoined       = "Joined"
	reasonNoIdentity   = "NoHubIdentity"
	reasonInvalid      = "HubIdentityInvalid"
	reasonWrongCluster = "HubIdentityOfOtherCluster"
	reasonExpired      = "HubIdentityExpired"
	reasonBootstrap    = "HubBootstrapInvalid"
)

// course is what to do next.
type course struct {
	// publish is true when the identity is for the mirror to use.
	publish bool
	action  action
	// next is when to look again though nothing has changed; zero: never.
	next time.Time
	// news is what is to be told; an action tells its own.
	news *herald.News
}

// decide what becomes of an identity. boot is nil when there is no token; now is the hub's time as far as it is known.
func decide(have identity, boot *bootstrap, cluster string, now time.Time) course {
	mine := have.certificate != nil && (have.cluster == "" || have.cluster == cluster)
	if have.certificate != nil && !have.own {
		return foreign(have, mine, cluster, now)
	}
	expired := mine && now.After(have.certificate.NotAfter)
	c := course{publish: mine, action: stay}
	switch {
	case boot != nil && (!mine || expired || boot.hash != have.redeemed && !useless(boot, have, now)):
		c.action = redeem
	case !mine:
		c.news = missing(have, cluster)
	case expired:
		c.news = bad(reasonExpired, "The agent's certificate for the hub expired at %s. The cluster goes on with its copies. Cure: join anew (%s --again).", stamp(have.certificate.NotAfter), invite(cluster))
	default:
		if c.next = renewAt(have.certificate); !now.Before(c.next) {
			c.action, c.next = renew, time.Time{}
		}
	}
	return c
}

// useless: a token that nobody takes any more must not keep a good certificate from being renewed.
func useless(boot *bootstrap, have identity, now time.Time) bool {
	spent := !boot.expires.IsZero() && !now.Before(boot.expires)
	return spent && !now.Before(renewAt(have.certificate))
}

// missing is why there is no identity, where nobody has a token either.
func missing(have identity, cluster string) *herald.News {
	switch {
	case have.problem != "":
		return bad(reasonInvalid, "%s. Cure: delete the Secret, and let the cluster join anew (%s --again).", have.problem, invite(cluster))
	case have.certificate != nil:
		return bad(reasonWrongCluster, "Secret %s/%s is the identity of cluster %s, and this is cluster %s. Cure: set clusterName back to %s, or join as %s (%s).",
			local.Namespace, have.secret.Name, have.cluster, cluster, have.cluster, cluster, invite(cluster))
	default:
		return bad(reasonNoIdentity, "The hub does not know this cluster's agent yet: there is neither an identity nor a token. "+
			"Cure: join (%s), or, where Open Cluster Management's agents run, enable the add-on tombolo for the cluster on the hub.", invite(cluster))
	}
}

// foreign is an identity that somebody else writes and renews.
func foreign(have identity, mine bool, cluster string, now time.Time) course {
	c := course{publish: mine, action: stay}
	switch {
	case !mine:
		c.news = bad(reasonWrongCluster, "Secret %s/%s is the identity of cluster %s, and this is cluster %s. Cure: set clusterName of the chart to %s, or remove the Secret.",
			local.Namespace, have.secret.Name, have.cluster, cluster, have.cluster)
	case now.After(have.certificate.NotAfter):
		c.news = bad(reasonExpired, "The agent's certificate for the hub expired at %s, and who wrote it has not renewed it. The cluster goes on with its copies. "+
			"Cure: look at Open Cluster Management's registration agent of this cluster.", stamp(have.certificate.NotAfter))
	default:
		c.next = have.certificate.NotAfter.Add(time.Second)
	}
	return c
}

// renewAt is after 70 to 80 percent of a certificate's life: always at the same moment for one certificate, and at another for
// each cluster.
func renewAt(c *x509.Certificate) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	jitter := time.Duration(sha256.Sum256(c.Raw)[0]) // 0 to 255
	return c.NotBefore.Add(life*7/10 + life/10*jitter/256)
}

func bad(reason, format string, args ...any) *herald.News {
	return &herald.News{Bad: true, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// invite is how the hub's administrator makes a token.
func invite(cluster string) string { return "on the hub: kubectl tombolo join " + cluster }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
