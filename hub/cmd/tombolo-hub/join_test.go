// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/apis/version"
	"github.com/tombolo-io/tombolo/hub/internal/cli/join"
	"github.com/tombolo-io/tombolo/hub/internal/invitation"
)

// ticket is what `kubectl tombolo join -o json` prints.
type ticket struct {
	Command string
	Values  struct {
		ClusterName string
		Hub         struct {
			Bootstrap struct {
				Server, Token string
				CAData        []byte
			}
		}
	}
}

// invite runs `kubectl tombolo join`.
func invite(t *testing.T, args ...string) (ticket, error) {
	t.Helper()
	streams, _, out, _ := genericiooptions.NewTestIOStreams()
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig = new(adminKubeconfig(t))
	cmd := join.Command(streams, flags)
	cmd.SetArgs(append(args, "-o", "json"))
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		return ticket{}, err
	}
	var got ticket
	return got, json.Unmarshal(out.Bytes(), &got)
}

func mustInvite(t *testing.T, args ...string) ticket {
	t.Helper()
	if err := admin.DeleteAllOf(t.Context(), &corev1.ServiceAccount{}, client.InNamespace(invitation.Namespace)); err != nil { // of earlier tests
		t.Fatal(err)
	}
	got, err := invite(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// holder is a client with nothing but a token.
func (b ticket) holder(t *testing.T) client.Client {
	t.Helper()
	return connect(t, &rest.Config{Host: b.Values.Hub.Bootstrap.Server, BearerToken: b.Values.Hub.Bootstrap.Token, TLSClientConfig: rest.TLSClientConfig{CAData: b.Values.Hub.Bootstrap.CAData}})
}

func connect(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	config.QPS = -1
	c, err := client.New(config, client.Options{Scheme: admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ask for the certificate of a cluster's agent.
func ask(t *testing.T, c client.Client, requestName, cluster string) (*certificatesv1.CertificateSigningRequest, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := certutil.MakeCSR(key, &pkix.Name{
		CommonName: spokev1alpha1.AgentUser(cluster), Organization: []string{spokev1alpha1.AgentGroup(cluster), spokev1alpha1.AgentsGroup},
	}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	request := &certificatesv1.CertificateSigningRequest{ObjectMeta: name("", requestName), Spec: certificatesv1.CertificateSigningRequestSpec{
		Request: raw, SignerName: spokev1alpha1.AgentSigner, ExpirationSeconds: new(int32(600)), Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
	}}
	if err := c.Create(t.Context(), request); err != nil {
		t.Fatalf("ask for a certificate: %v", err)
	}
	t.Cleanup(func() { _ = admin.Delete(context.WithoutCancel(t.Context()), request) })
	return request, key
}

// answered waits for the hub's answer: Approved with a certificate, or Denied.
func answered(t *testing.T, request *certificatesv1.CertificateSigningRequest, want certificatesv1.RequestConditionType, reason string) {
	t.Helper()
	eventually(t, fmt.Sprintf("request %s is %s, %s", request.Name, want, reason), func() error {
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(request), request); err != nil {
			return err
		}
		if len(request.Status.Conditions) == 0 {
			return errors.New("no answer")
		}
		if c := request.Status.Conditions[0]; c.Type != want || c.Reason != reason {
			return fmt.Errorf("it is %s, %s: %s", c.Type, c.Reason, c.Message)
		}
		if want == certificatesv1.CertificateApproved && len(request.Status.Certificate) == 0 {
			return errors.New("it is not signed")
		}
		return nil
	})
}

// withCertificate connects by a certificate.
func withCertificate(t *testing.T, request *certificatesv1.CertificateSigningRequest, key *ecdsa.PrivateKey) client.Client {
	t.Helper()
	config := rest.AnonymousClientConfig(apiServer.Config)
	config.CertData, config.KeyData = request.Status.Certificate, keyPEM(t, key)
	return connect(t, config)
}

// TestJoinByToken is the way of a token: from the command that makes it, through real signing, to what its certificate may do.
func TestJoinByToken(t *testing.T) {
	newFleet(t, "west")
	startSigner(t)
	h := startHub(t)
	b := mustInvite(t, "east", "--label", "region=north")

	t.Run("Furnished", func(t *testing.T) {
		cluster, err := get(t, &clusterv1.ManagedCluster{}, "", "east")
		if err != nil || !cluster.Spec.HubAcceptsClient || cluster.Labels["region"] != "north" || cluster.Annotations[invitation.AnnotationJoinedBy] != invitation.JoinedByToken {
			t.Errorf("ManagedCluster is %+v, %v", cluster, err)
		}
		if !strings.Contains(b.Command, "clusterName=east") || !strings.Contains(b.Command, b.Values.Hub.Bootstrap.Token) {
			t.Errorf("command is %s", b.Command)
		}
	})
	holder := b.holder(t)
	t.Run("TokenMayDoNothingElse", func(t *testing.T) {
		for what, err := range map[string]error{
			"list requests":    holder.List(t.Context(), &certificatesv1.CertificateSigningRequestList{}),
			"read accounts":    holder.List(t.Context(), &corev1.ServiceAccountList{}, client.InNamespace(invitation.Namespace)),
			"read the fleet":   holder.List(t.Context(), &clusterv1.ManagedClusterList{}),
			"read directories": holder.List(t.Context(), &spokev1alpha1.InterconnectGatewayList{}),
			"ask another signer": holder.Create(t.Context(), &certificatesv1.CertificateSigningRequest{ObjectMeta: name("", "kubelet"), Spec: certificatesv1.CertificateSigningRequestSpec{
				Request: []byte("x"), SignerName: certificatesv1.KubeAPIServerClientKubeletSignerName, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
			}}),
		} {
			if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
				t.Errorf("a token may %s: %v", what, err)
			}
		}
	})
	t.Run("Twin", func(t *testing.T) {
		request, _ := ask(t, holder, "twin", "east-1")
		answered(t, request, certificatesv1.CertificateDenied, "WrongSubject")
	})
	var agent client.Client
	t.Run("Redeemed", func(t *testing.T) {
		request, key := ask(t, holder, "first", "east")
		answered(t, request, certificatesv1.CertificateApproved, "TokenRedeemed")
		agent = withCertificate(t, request, key)
		eventually(t, "the agent reads its namespace", func() error {
			return agent.List(t.Context(), &spokev1alpha1.LocalRouterList{}, client.InNamespace("east"))
		})
		if err := agent.List(t.Context(), &spokev1alpha1.LocalRouterList{}, client.InNamespace("west")); !apierrors.IsForbidden(err) {
			t.Errorf("and another's: %v", err)
		}
	})
	t.Run("Twice", func(t *testing.T) {
		request, _ := ask(t, holder, "second", "east")
		answered(t, request, certificatesv1.CertificateDenied, "TokenAlreadyRedeemed")
	})
	t.Run("Renewed", func(t *testing.T) {
		request, key := ask(t, agent, "renewal", "east")
		answered(t, request, certificatesv1.CertificateApproved, "Renewed")
		if err := withCertificate(t, request, key).List(t.Context(), &spokev1alpha1.LocalRouterList{}, client.InNamespace("east")); err != nil {
			t.Errorf("by the renewed certificate: %v", err)
		}
	})
	t.Run("RenewedAsTwin", func(t *testing.T) {
		request, _ := ask(t, agent, "renewal-twin", "east-1")
		answered(t, request, certificatesv1.CertificateDenied, "WrongSubject")
	})
	t.Run("OCMsAreLeftAlone", func(t *testing.T) {
		request, _ := ask(t, newAgent(t, "west").client, "ocm", "west")
		answered(t, request, certificatesv1.CertificateDenied, "NotJoinedByToken")
	})
	if got := h.count("tombolo_hub_join_requests_total", `answer="Approved"`); got != 2 {
		t.Errorf("the hub counts %v approvals, want 2", got)
	}
}

// TestTokenExpires: what the account says counts, and the account goes.
func TestTokenExpires(t *testing.T) {
	newFleet(t)
	b := mustInvite(t, "east")
	account := onlyAccount(t, "east")
	account.Annotations[invitation.AnnotationExpires] = time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	if err := admin.Update(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	request, _ := ask(t, b.holder(t), "late", "east")
	startHub(t)
	answered(t, request, certificatesv1.CertificateDenied, "TokenExpired")
	eventually(t, "the account goes", func() error {
		return isGone(admin.Get(t.Context(), client.ObjectKeyFromObject(account), account))
	})
}

// TestHubDiesBetweenRedeemingAndApproving: the next one finishes, and the token is still good for one certificate only.
func TestHubDiesBetweenRedeemingAndApproving(t *testing.T) {
	newFleet(t)
	startSigner(t)
	b := mustInvite(t, "east")
	request, _ := ask(t, b.holder(t), "begun", "east")
	other, _ := ask(t, b.holder(t), "beside", "east")
	account := onlyAccount(t, "east")
	account.Annotations[invitation.AnnotationRedeemedBy] = string(request.UID)
	if err := admin.Update(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	startHub(t)
	answered(t, request, certificatesv1.CertificateApproved, "TokenRedeemed")
	answered(t, other, certificatesv1.CertificateDenied, "TokenAlreadyRedeemed")
}

// TestTwoRequestsAtOnce: whichever the hub takes first, it is one.
func TestTwoRequestsAtOnce(t *testing.T) {
	newFleet(t)
	b := mustInvite(t, "east")
	var requests []*certificatesv1.CertificateSigningRequest
	for i := range 6 {
		request, _ := ask(t, b.holder(t), fmt.Sprintf("race-%d", i), "east")
		requests = append(requests, request)
	}
	startHub(t, "--leader-elect=false")
	startHub(t, "--leader-elect=false") // and a second leader that does not know that it is none any more
	approved := 0
	for _, request := range requests {
		eventually(t, "an answer", func() error {
			if err := admin.Get(t.Context(), client.ObjectKeyFromObject(request), request); err != nil || len(request.Status.Conditions) == 0 {
				return fmt.Errorf("none yet, %w", err)
			}
			return nil
		})
		if request.Status.Conditions[0].Type == certificatesv1.CertificateApproved {
			approved++
		}
	}
	if approved != 1 {
		t.Errorf("%d requests were approved", approved)
	}
}

// TestInviteRefuses what would come to nothing.
func TestInviteRefuses(t *testing.T) {
	newFleet(t, "east", "ocm")
	gateway := &spokev1alpha1.InterconnectGateway{ObjectMeta: name("east", "east"), Spec: spokev1alpha1.InterconnectGatewaySpec{Cluster: "east", Encapsulation: "VXLAN", Port: 4789}}
	create(t, gateway)
	gateway.Status = spokev1alpha1.InterconnectGatewayStatus{ClusterID: "first", AgentVersion: version.Version}
	registered, err := get(t, &clusterv1.ManagedCluster{}, "", "ocm")
	if err != nil {
		t.Fatal(err)
	}
	registered.Status.Conditions = []metav1.Condition{{Type: clusterv1.ManagedClusterConditionJoined, Status: metav1.ConditionTrue, Reason: "Joined", LastTransitionTime: metav1.Now()}}
	if err := errors.Join(admin.Status().Update(t.Context(), gateway), admin.Status().Update(t.Context(), registered)); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason, want string
		args         []string
	}{
		"Name":   {"it becomes a namespace", `NAME "East_1"`, []string{"East_1"}},
		"NoName": {"one is needed", "got 0 names", nil},
		"Short":  {"the apiserver makes none so short", "--ttl 1m0s", []string{"north", "--ttl", "1m"}},
		"Long":   {"a token is not an identity", "--ttl 2h0m0s", []string{"north", "--ttl", "2h"}},
		"Label":  {"a typo must not select", `--label "x"`, []string{"north", "--label", "x"}},
		"Server": {"it would be reached in the clear", `--server "http://hub"`, []string{"north", "--server", "http://hub"}},
		"Joined": {"a name is one cluster's", "give --again", []string{"east"}},
		"ByOCM":  {"two ways in would fight for one Secret", "enable the add-on", []string{"ocm"}},
		"Again":  {"the same cluster", "", []string{"east", "--again"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := invite(t, tc.args...); (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
	if _, err := invite(t, "east", "--replace"); err != nil { // last, as the name is free then
		t.Errorf("another one in its place: %v", err)
	}
	if g, err := get(t, gateway, "east", "east"); err != nil || g.Status.ClusterID != "" {
		t.Errorf("the name is still that of %q, %v", g.Status.ClusterID, err)
	}
}

func onlyAccount(t *testing.T, cluster string) *corev1.ServiceAccount {
	t.Helper()
	var list corev1.ServiceAccountList
	if err := admin.List(t.Context(), &list, client.InNamespace(invitation.Namespace)); err != nil {
		t.Fatal(err)
	}
	var found *corev1.ServiceAccount
	for i := range list.Items {
		if list.Items[i].Annotations[invitation.AnnotationCluster] == cluster {
			if found != nil {
				t.Fatalf("two accounts invite %s", cluster)
			}
			found = &list.Items[i]
		}
	}
	if found == nil {
		t.Fatalf("no account invites %s", cluster)
	}
	return found
}

// adminKubeconfig is a file.
func adminKubeconfig(t *testing.T) string {
	t.Helper()
	return writeKubeconfig(t, apiServer.KubeConfig)
}
