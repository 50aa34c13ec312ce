// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var question = echo{
	srcMAC: [6]byte{0x0a, 0x58, 169, 254, 0, 2}, dstMAC: [6]byte{0x0a, 0x58, 169, 254, 0, 1},
	src: netip.MustParseAddr("169.254.0.2"), dst: netip.MustParseAddr("10.1.2.1"),
	id: 0x1234, seq: 7, cookie: 0x0102030405060708,
}

// reply is what a router makes of a request: addresses exchanged, type 0 (RFC 792).
func reply(request []byte) []byte {
	b := bytes.Clone(request)
	copy(b, request[6:12])
	copy(b[6:], request[:6])
	copy(b[26:], request[30:34])
	copy(b[30:], request[26:30])
	b[34], b[36], b[37] = 0, 0, 0
	sum := checksum(b[34:])
	b[36], b[37] = byte(sum>>8), byte(sum)
	return b
}

func TestRequest(t *testing.T) {
	want := "0a58a9fe0001" + "0a58a9fe0002" + "0800" +
		"4500002400004000400184cb" + "a9fe0002" + "0a010201" +
		"0800" + "cdb0" + "1234" + "0007" + "0102030405060708"
	got := question.request()
	if checksum(got[14:34]) != 0 || checksum(got[34:]) != 0 {
		t.Error("a checksum is wrong (RFC 1071)")
	}
	// The checksums are compared by the line above; here they are whatever they are.
	text := []byte(hex.EncodeToString(got))
	copy(text[48:], want[48:52])
	copy(text[72:], want[72:76])
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("Ethernet, IPv4, ICMP echo (-want +got):\n%s", diff)
	}
}

func TestParseReply(t *testing.T) {
	good := reply(question.request())
	answer := question
	answer.srcMAC, answer.dstMAC = question.dstMAC, question.srcMAC
	answer.src, answer.dst = question.dst, question.src
	changed := func(offset int, to byte) []byte {
		b := bytes.Clone(good)
		b[offset] = to
		return b
	}
	options := append(bytes.Clone(good[:34]), append([]byte{1, 1, 1, 0}, good[34:]...)...)
	options[14], options[17], options[24], options[25] = 0x46, 40, 0, 0
	sum := checksum(options[14:38])
	options[24], options[25] = byte(sum>>8), byte(sum)

	for name, tc := range map[string]struct {
		reason string
		frame  []byte
		ok     bool
	}{
		"reply":           {reason: "the answer to the question", frame: good, ok: true},
		"padded":          {reason: "Ethernet frames have at least 60 octets", frame: append(bytes.Clone(good), make([]byte, 10)...), ok: true},
		"options":         {reason: "the ICMP header is where the IPv4 header ends", frame: options, ok: true},
		"request":         {reason: "our own question, reflected", frame: question.request()},
		"ARP":             {reason: "not IPv4", frame: changed(13, 6)},
		"version 6":       {reason: "the header does not say 4", frame: changed(14, 0x65)},
		"short header":    {reason: "no header is shorter than 20", frame: changed(14, 0x44)},
		"long header":     {reason: "the header would end after the packet", frame: changed(14, 0x4f)},
		"total too long":  {reason: "the packet would end after the frame", frame: changed(17, 200)},
		"total too short": {reason: "no room for the cookie", frame: changed(17, 28)},
		"fragment":        {reason: "replies as short as these are whole", frame: changed(20, 0x20)},
		"UDP":             {reason: "not ICMP", frame: changed(23, 17)},
		"code":            {reason: "an echo reply has code 0", frame: changed(35, 1)},
		"header checksum": {reason: "a bit has changed on the way", frame: changed(22, good[22]^1)},
		"ICMP checksum":   {reason: "a bit has changed on the way", frame: changed(44, good[44]^1)},
		"truncated":       {reason: "it ends in the cookie", frame: good[:len(good)-1]},
		"empty":           {reason: "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseReply(tc.frame)
			if (err == nil) != tc.ok {
				t.Fatalf("%s: error %v", tc.reason, err)
			}
			if diff := cmp.Diff(answer, got, cmp.AllowUnexported(echo{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); tc.ok && diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// FuzzParseReply: whatever parses was a reply, so that its request, answered, parses to the same.
func FuzzParseReply(f *testing.F) {
	f.Add(reply(question.request()))
	f.Add(question.request())
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseReply(b)
		if err != nil {
			return
		}
		q := e
		q.src, q.dst, q.srcMAC, q.dstMAC = e.dst, e.src, e.dstMAC, e.srcMAC
		again, err := parseReply(reply(q.request()))
		if err != nil || again != e {
			t.Errorf("%+v again is %+v, %v", e, again, err)
		}
	})
}
