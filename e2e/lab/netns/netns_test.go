// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fresh gives the names of n new namespaces that end with the test.
func fresh(t *testing.T, n int) []string {
	t.Helper()
	var names []string
	for i := range n {
		name := fmt.Sprintf("tmb-t%d-%d", os.Getpid(), i)
		if err := Create(name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := Delete(name); err != nil {
				t.Error(err)
			}
		})
		names = append(names, name)
	}
	return names
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestLifeOfANamespace(t *testing.T) {
	name := fresh(t, 1)[0]
	if err := Create(name); err == nil {
		t.Error("Create took over a namespace that was there")
	}
	names, err := List("tmb-t")
	must(t, err)
	if !slices.Contains(names, name) {
		t.Errorf("List gives %v without %s", names, name)
	}
	must(t, Delete(name), Delete(name))
	if Exists(name) {
		t.Errorf("%s is there after Delete", name)
	}
	if err := Do(name, func() error { return nil }); err == nil {
		t.Error("Do entered a namespace that is gone")
	}
}

func TestDoComesBack(t *testing.T) {
	name := fresh(t, 1)[0]
	self := func() string {
		link, err := os.Readlink(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		must(t, err)
		return link
	}
	before := self()
	var inside string
	want := errors.New("from inside")
	if err := Do(name, func() error { inside = self(); return want }); !errors.Is(err, want) {
		t.Errorf("Do gives %v, want fn's own error", err)
	}
	if inside == before || self() != before {
		t.Errorf("before %s, inside %s, after %s", before, inside, self())
	}
}

// TestTraffic joins two namespaces over a bridge in a third, with a router
// address on the bridge, and talks over TCP from one to the other.
func TestTraffic(t *testing.T) {
	ns := fresh(t, 3)
	fabric, a, b := ns[0], ns[1], ns[2]
	must(t,
		Bridge(fabric, "br"),
		Veth(fabric, "va", a, "eth0", 1400),
		Veth(fabric, "vb", b, "eth0", 0),
		SetMaster(fabric, "va", "br"),
		SetMaster(fabric, "vb", "br"),
		AddAddr(a, "eth0", netip.MustParsePrefix("10.1.0.1/24")),
		AddAddr(b, "eth0", netip.MustParsePrefix("10.1.0.2/24")),
		AddRoute(a, netip.MustParsePrefix("10.9.0.0/16"), netip.MustParseAddr("10.1.0.2"), ""),
		AddRoute(b, netip.MustParsePrefix("10.8.0.0/16"), netip.Addr{}, "eth0"),
		Sysctl(b, "net.ipv4.ip_forward", "1"),
	)
	for ns, want := range map[string]string{a: "10.9.0.0/16 via 10.1.0.2", b: "10.8.0.0/16 dev eth0"} {
		out, err := Exec(t.Context(), ns, "ip", "route")
		must(t, err)
		if !strings.Contains(string(out), want) {
			t.Errorf("routes of %s have no %q:\n%s", ns, want, out)
		}
	}
	out, err := Exec(t.Context(), a, "cat", "/proc/sys/net/ipv4/conf/eth0/forwarding", "/sys/class/net/lo/mtu")
	must(t, err)
	if !strings.HasPrefix(string(out), "0\n") {
		t.Errorf("forwarding in %s is %q: a setting of one namespace reached another", a, out)
	}

	l, err := Listen(t.Context(), b, "tcp", "10.1.0.2:0")
	must(t, err)
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.WriteString(c, c.RemoteAddr().String()) // the reader below checks it
			_ = c.Close()
		}
	}()
	c, err := DialContext(a)(t.Context(), "tcp", l.Addr().String())
	must(t, err)
	defer c.Close()
	got, err := io.ReadAll(c)
	must(t, err)
	if host, _, _ := net.SplitHostPort(string(got)); host != "10.1.0.1" {
		t.Errorf("the server saw %q, want a connection from 10.1.0.1", got)
	}
}

func TestRefusals(t *testing.T) {
	name := fresh(t, 1)[0]
	cases := map[string]struct {
		reason string
		do     func() error
		want   string
	}{
		"SysctlOfTheMachine": {
			reason: "only net settings belong to a namespace",
			do:     func() error { return Sysctl(name, "vm.overcommit_memory", "1") },
			want:   "must start with net",
		},
		"NameInDial": {
			reason: "a name would be resolved in the machine's own namespace",
			do:     func() error { _, err := DialContext(name)(t.Context(), "tcp", "localhost:80"); return err },
			want:   "want IP:port",
		},
		"NoSuchInterface": {
			reason: "the error names the interface and the namespace",
			do:     func() error { return LinkUp(name, "eth7") },
			want:   "eth7 in " + name,
		},
		"FailingCommand": {
			reason: "the error has what the command wrote",
			do:     func() error { _, err := Exec(t.Context(), name, "sh", "-c", "echo oh no >&2; exit 4"); return err },
			want:   "exit status 4: oh no",
		},
	}
	for n, tc := range cases {
		t.Run(n, func(t *testing.T) {
			if err := tc.do(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want an error with %q", tc.reason, err, tc.want)
			}
		})
	}
}
