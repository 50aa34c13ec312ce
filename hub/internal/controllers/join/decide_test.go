// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package join

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/invitation"
)

var at = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// redemption is a good request of east's token; modify makes another of it.
func redemption(t *testing.T, modify func(*facts, *x509.CertificateRequest)) facts {
	t.Helper()
	account := invitation.New("east", at.Add(15*time.Minute))
	account.UID = "account"
	f := facts{
		account: account,
		cluster: &clusterv1.ManagedCluster{
			ObjectMeta: metav1.ObjectMeta{Name: "east", Annotations: map[string]string{invitation.AnnotationJoinedBy: invitation.JoinedByToken}},
			Spec:       clusterv1.ManagedClusterSpec{HubAcceptsClient: true},
		},
		request: &certificatesv1.CertificateSigningRequest{
			ObjectMeta: metav1.ObjectMeta{Name: "r", UID: "request", CreationTimestamp: metav1.NewTime(at)},
			Spec: certificatesv1.CertificateSigningRequestSpec{
				SignerName: spokev1alpha1.AgentSigner, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature},
				Username: invitation.User(account.Name), UID: "account",
				Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + invitation.Namespace, "system:authenticated"},
			},
		},
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{
		CommonName: spokev1alpha1.AgentUser("east"), Organization: []string{spokev1alpha1.AgentGroup("east"), spokev1alpha1.AgentsGroup},
	}}
	if modify != nil {
		modify(&f, template)
	}
	if f.request.Spec.Request == nil {
		f.request.Spec.Request = encode(t, template)
	}
	return f
}

// renewal is a good request of east's agent.
func renewal(t *testing.T, modify func(*facts, *x509.CertificateRequest)) facts {
	t.Helper()
	return redemption(t, func(f *facts, r *x509.CertificateRequest) {
		f.account = nil
		f.request.Spec.Username, f.request.Spec.UID = spokev1alpha1.AgentUser("east"), ""
		f.request.Spec.Groups = []string{spokev1alpha1.AgentGroup("east"), spokev1alpha1.AgentsGroup, "system:authenticated"}
		if modify != nil {
			modify(f, r)
		}
	})
}

func encode(t *testing.T, template *x509.CertificateRequest) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func subject(cluster string) pkix.Name {
	return pkix.Name{CommonName: spokev1alpha1.AgentUser(cluster), Organization: []string{spokev1alpha1.AgentGroup(cluster), spokev1alpha1.AgentsGroup}}
}

func TestDecideToken(t *testing.T) {
	type modify = func(*facts, *x509.CertificateRequest)
	for name, tc := range map[string]struct {
		reason string
		modify modify
		want   answer
		why    string
	}{
		"Fresh":        {"the first request redeems", nil, redeem, ""},
		"Redeemed":     {"its own mark is found again after a crash", func(f *facts, _ *x509.CertificateRequest) { mark(f, "request") }, approve, reasonRedeemed},
		"RedeemedLate": {"a hub that was down meanwhile finishes what it began", func(f *facts, _ *x509.CertificateRequest) { mark(f, "request"); late(f) }, approve, reasonRedeemed},
		"Twice":        {"one token, one certificate", func(f *facts, _ *x509.CertificateRequest) { mark(f, "other") }, deny, reasonAlready},
		"Late":         {"15 minutes", func(f *facts, _ *x509.CertificateRequest) { late(f) }, deny, reasonExpired},
		"NoAccount":    {"it was taken back", func(f *facts, _ *x509.CertificateRequest) { f.account = nil; f.cluster = nil }, deny, reasonNoAccount},
		"OtherUID":     {"an account of the same name is another", func(f *facts, _ *x509.CertificateRequest) { f.account.UID = "later" }, deny, reasonNoAccount},
		"NoUID":        {"a requester without a UID is not the account", func(f *facts, _ *x509.CertificateRequest) { f.request.Spec.UID = "" }, deny, reasonNoAccount},
		"OtherName":    {"an account that was made for another purpose invites nobody", func(f *facts, _ *x509.CertificateRequest) { f.account.Name = "default" }, deny, reasonNoAccount},
		"TwinName":     {"an account of east-1 does not invite east", func(f *facts, _ *x509.CertificateRequest) { f.account.Name = "join-east-1-abcde" }, deny, reasonNoAccount},
		"NoExpiry": {"an account that never expires invites nobody", func(f *facts, _ *x509.CertificateRequest) {
			delete(f.account.Annotations, invitation.AnnotationExpires)
		}, deny, reasonNoAccount},
		"Twin": {"a name that begins like another is another", func(_ *facts, r *x509.CertificateRequest) { r.Subject = subject("east-1") }, deny, reasonSubject},
		"OtherGroup": {"the group is what rights are bound to", func(_ *facts, r *x509.CertificateRequest) {
			r.Subject.Organization = []string{spokev1alpha1.AgentGroup("west"), spokev1alpha1.AgentsGroup}
		}, deny, reasonSubject},
		"MoreGroups": {"no group beside", func(_ *facts, r *x509.CertificateRequest) {
			r.Subject.Organization = append(r.Subject.Organization, "system:masters")
		}, deny, reasonSubject},
		"FewerGroups":    {"exactly the identity", func(_ *facts, r *x509.CertificateRequest) { r.Subject.Organization = r.Subject.Organization[:1] }, deny, reasonSubject},
		"TwiceTheGroup":  {"exactly the identity", func(_ *facts, r *x509.CertificateRequest) { r.Subject.Organization[1] = r.Subject.Organization[0] }, deny, reasonSubject},
		"MoreAttributes": {"nothing else in the subject", func(_ *facts, r *x509.CertificateRequest) { r.Subject.OrganizationalUnit = []string{"x"} }, deny, reasonSubject},
		"SAN":            {"no alternative names", func(_ *facts, r *x509.CertificateRequest) { r.DNSNames = []string{"hub"} }, deny, reasonRequest},
		"Email":          {"of no kind", func(_ *facts, r *x509.CertificateRequest) { r.EmailAddresses = []string{"a@example.com"} }, deny, reasonRequest},
		"ServerUsage": {"an agent serves nothing", func(f *facts, _ *x509.CertificateRequest) {
			f.request.Spec.Usages = append(f.request.Spec.Usages, certificatesv1.UsageServerAuth)
		}, deny, reasonRequest},
		"NoUsage":     {"a certificate for nothing", func(f *facts, _ *x509.CertificateRequest) { f.request.Spec.Usages = f.request.Spec.Usages[1:] }, deny, reasonRequest},
		"Garbage":     {"what can't be read is refused", func(f *facts, _ *x509.CertificateRequest) { f.request.Spec.Request = []byte("x") }, deny, reasonRequest},
		"NoCluster":   {"somebody deleted it", func(f *facts, _ *x509.CertificateRequest) { f.cluster = nil }, deny, reasonNoCluster},
		"NotAccepted": {"the fleet's admin has the last word", func(f *facts, _ *x509.CertificateRequest) { f.cluster.Spec.HubAcceptsClient = false }, deny, reasonNotAccepted},
		"Leaving":     {"nobody joins what is being deleted", func(f *facts, _ *x509.CertificateRequest) { f.cluster.DeletionTimestamp = new(metav1.NewTime(at)) }, deny, reasonLeaving},
		"OtherSigner": {"not ours", func(f *facts, _ *x509.CertificateRequest) { f.request.Spec.SignerName = "example.com/x" }, ignore, ""},
		"Somebody":    {"not ours", func(f *facts, _ *x509.CertificateRequest) { f.request.Spec.Username = "jane" }, ignore, ""},
		"OtherNamespace": {"accounts of other namespaces are no invitations", func(f *facts, _ *x509.CertificateRequest) {
			f.request.Spec.Username = "system:serviceaccount:tombolo-join-2:join-east-abcde"
		}, ignore, ""},
		"Answered": {"once", func(f *facts, _ *x509.CertificateRequest) {
			f.request.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied}}
		}, ignore, ""},
	} {
		t.Run(name, func(t *testing.T) { check(t, tc.reason, decide(redemption(t, tc.modify)), tc.want, tc.why) })
	}
}

func TestDecideRenewal(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		modify func(*facts, *x509.CertificateRequest)
		want   answer
		why    string
	}{
		"Own":        {"an agent renews its own", nil, approve, reasonRenewed},
		"Twin":       {"and nobody else's", func(_ *facts, r *x509.CertificateRequest) { r.Subject = subject("east-1") }, deny, reasonSubject},
		"NotInGroup": {"a user of that name without the group is not the agent", func(f *facts, _ *x509.CertificateRequest) { f.request.Spec.Groups = []string{"system:authenticated"} }, deny, reasonForeignMember},
		"ByOCM":      {"OCM's agents register those", func(f *facts, _ *x509.CertificateRequest) { f.cluster.Annotations = nil }, deny, reasonNotByToken},
		"OCMsRequest": {"and answers their requests", func(f *facts, _ *x509.CertificateRequest) {
			f.request.Labels = map[string]string{"open-cluster-management.io/cluster-name": "east"}
		}, ignore, ""},
		"OtherAgent":  {"another add-on's agent is none of ours", func(f *facts, _ *x509.CertificateRequest) { f.request.Spec.Username += "2" }, ignore, ""},
		"NotAccepted": {"a cluster that was let out stays out", func(f *facts, _ *x509.CertificateRequest) { f.cluster.Spec.HubAcceptsClient = false }, deny, reasonNotAccepted},
		"Gone":        {"there is nothing to be an agent of", func(f *facts, _ *x509.CertificateRequest) { f.cluster = nil }, deny, reasonNoCluster},
		"Leaving":     {"to leave takes an agent", func(f *facts, _ *x509.CertificateRequest) { f.cluster.DeletionTimestamp = new(metav1.NewTime(at)) }, approve, reasonRenewed},
	} {
		t.Run(name, func(t *testing.T) { check(t, tc.reason, decide(renewal(t, tc.modify)), tc.want, tc.why) })
	}
}

func check(t *testing.T, reason string, got verdict, want answer, why string) {
	t.Helper()
	if got.answer != want || got.reason != why {
		t.Errorf("%s: got %s %s (%s), want %s %s", reason, got.answer, got.reason, got.message, want, why)
	}
	if got.answer == deny && !strings.Contains(got.message, "Cure: ") {
		t.Errorf("%s: %q tells no cure", reason, got.message)
	}
}

func mark(f *facts, uid types.UID) {
	f.account.Annotations[invitation.AnnotationRedeemedBy] = string(uid)
}

func late(f *facts) {
	f.account.Annotations[invitation.AnnotationExpires] = at.Add(-time.Minute).Format(time.RFC3339)
}

func TestExpired(t *testing.T) {
	account := invitation.New("east", at)
	request := certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{SignerName: spokev1alpha1.AgentSigner, Username: invitation.User(account.Name)}}
	answered := *request.DeepCopy()
	answered.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved}}
	other := *request.DeepCopy()
	other.Spec.Username += "x"
	for name, tc := range map[string]struct {
		reason   string
		account  *corev1.ServiceAccount
		requests []certificatesv1.CertificateSigningRequest
		now      time.Time
		want     bool
		again    time.Duration
	}{
		"Fresh":    {"it may still be redeemed", account, nil, at.Add(-time.Minute), false, time.Minute},
		"Over":     {"nobody can use it", account, nil, at, true, 0},
		"Waiting":  {"who asked in time has a right to an answer", account, []certificatesv1.CertificateSigningRequest{request}, at, false, time.Minute},
		"Answered": {"who has it needs the account no more", account, []certificatesv1.CertificateSigningRequest{answered, other}, at, true, 0},
		"Foreign":  {"nothing is deleted on doubt", &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: invitation.Namespace, Name: "default"}}, nil, at, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if gone, again := expired(tc.account, tc.requests, tc.now); gone != tc.want || again != tc.again {
				t.Errorf("%s: got %v, %s", tc.reason, gone, again)
			}
		})
	}
}
