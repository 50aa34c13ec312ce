// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// anyPrefix draws prefixes from a small space, so that they meet often.
func anyPrefix(shortest int) *rapid.Generator[netip.Prefix] {
	return rapid.Custom(func(t *rapid.T) netip.Prefix {
		addr := 0x0a000000 | rapid.Uint32Range(0, 0xfff).Draw(t, "addr")
		bits := rapid.IntRange(shortest, 32).Draw(t, "bits")
		return netip.PrefixFrom(toAddr(addr), bits).Masked()
	})
}

// fitsBrutally says by definition whether p may answer the request when these prefixes are taken.
func fitsBrutally(p netip.Prefix, r Request, taken []netip.Prefix) bool {
	overlaps := func(all []netip.Prefix) bool { return slices.ContainsFunc(all, p.Overlaps) }
	inside := func(all []netip.Prefix) bool {
		return slices.ContainsFunc(all, func(q netip.Prefix) bool { return contains(q, p) })
	}
	if overlaps(taken) || !inside(r.From) || r.Within.Len() > 0 && !inside(r.Within.Prefixes()) {
		return false
	}
	return !slices.ContainsFunc(r.Avoid, func(s Set) bool { return overlaps(s.Prefixes()) })
}

// findBrutally tries every block of every range in order.
func findBrutally(r Request, taken []netip.Prefix) (netip.Prefix, bool) {
	for _, from := range r.From {
		step := uint64(1) << (32 - r.Bits)
		for a := uint64(toUint(from.Addr())); a <= uint64(toUint(Last(from))); a += step {
			if p := netip.PrefixFrom(toAddr(uint32(a)), r.Bits).Masked(); contains(from, p) && fitsBrutally(p, r, taken) {
				return p, true
			}
		}
	}
	return netip.Prefix{}, false
}

func TestSpaceIsFirstFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewSpace()
		var taken []netip.Prefix
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"reserve", "release", "allocate"}).Draw(t, "step") {
			case "reserve":
				p := anyPrefix(22).Draw(t, "reserve")
				s.Reserve(p)
				taken = append(taken, p)
			case "release":
				if len(taken) > 0 {
					i := rapid.IntRange(0, len(taken)-1).Draw(t, "release")
					s.Release(taken[i])
					taken = slices.Delete(taken, i, i+1)
				}
			case "allocate":
				r := Request{
					Bits:   rapid.IntRange(24, 32).Draw(t, "bits"),
					From:   rapid.SliceOfN(anyPrefix(20), 1, 3).Draw(t, "from"),
					Within: NewSet(rapid.SliceOfN(anyPrefix(20), 0, 2).Draw(t, "within")...),
					Avoid:  []Set{NewSet(rapid.SliceOfN(anyPrefix(22), 0, 12).Draw(t, "avoid")...)},
				}
				want, wantOK := findBrutally(r, taken)
				got, ok := s.Allocate(r)
				if got != want || ok != wantOK {
					t.Fatalf("Allocate(%+v) with %v taken = %v, %v; trying every block gives %v, %v", r, taken, got, ok, want, wantOK)
				}
				if ok {
					taken = append(taken, got)
				}
			}
		}
	})
}

func TestSetFindsWhatScanningFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := NewSet(rapid.SliceOfN(anyPrefix(22), 0, 30).Draw(t, "a")...)
		b := NewSet(rapid.SliceOfN(anyPrefix(22), 0, 30).Draw(t, "b")...)
		overlap := false
		for _, p := range a.Prefixes() {
			want := slices.ContainsFunc(b.Prefixes(), p.Overlaps)
			q, ok := b.Overlap(p)
			if ok != want || ok && !(p.Overlaps(q) && slices.Contains(b.Prefixes(), q)) {
				t.Fatalf("%v.Overlap(%v) = %v, %v; scanning gives %v", b.Prefixes(), p, q, ok, want)
			}
			overlap = overlap || want
		}
		p, q, ok := FirstOverlap(a, b)
		if ok != overlap || ok && !p.Overlaps(q) {
			t.Fatalf("FirstOverlap(%v, %v) = %v, %v, %v; scanning gives %v", a.Prefixes(), b.Prefixes(), p, q, ok, overlap)
		}
	})
}

func TestCoverIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Uint32().Draw(t, "first")
		last := rapid.Uint32Min(first).Draw(t, "last")
		next := uint64(first)
		for _, p := range Cover(first, last) {
			if uint64(toUint(p.Addr())) != next || p != p.Masked() {
				t.Fatalf("Cover(%d, %d) has %v where %d begins", first, last, p, next)
			}
			next += uint64(Size(p))
		}
		if next != uint64(last)+1 {
			t.Fatalf("Cover(%d, %d) ends before %d", first, last, next)
		}
	})
}

// FuzzParse holds that no text makes a parser panic, and that what it accepts means what it says.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"10.0.0.0/16", "10.0.0.1", "10.0.0.2..10.0.0.9", "", "..", "/", "fd00::/8", "::ffff:10.0.0.0/104", "10.0.0.0/016"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePrefix(s); err == nil && (p != p.Masked() || !p.Addr().Is4() || p.String() != s) {
			t.Errorf("ParsePrefix(%q) = %v", s, p)
		}
		if first, last, err := ParseRange(s); err == nil && last.Less(first) {
			t.Errorf("ParseRange(%q) = %v..%v", s, first, last)
		}
	})
}

// FuzzSpace reads the input as reservations and then as a request: the answer overlaps nothing.
func FuzzSpace(f *testing.F) {
	f.Add([]byte{10, 0, 0, 0, 8, 10, 0, 0, 0, 30}, uint8(29))
	f.Fuzz(func(t *testing.T, taken []byte, bits uint8) {
		s, all := NewSpace(), []netip.Prefix(nil)
		for ; len(taken) >= 5; taken = taken[5:] {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte(taken[:4])), int(taken[4])%33).Masked()
			s.Reserve(p)
			all = append(all, p)
		}
		r := Request{Bits: int(bits) % 33, From: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}
		if got, ok := s.Allocate(r); ok && slices.ContainsFunc(all, got.Overlaps) {
			t.Errorf("Allocate gave %v with %v taken", got, all)
		}
		for _, p := range all {
			s.Release(p)
		}
	})
}

func BenchmarkAllocate(b *testing.B) {
	s := NewSpace()
	r := Request{Bits: 29, From: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10")}}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Allocate(r); !ok {
			s = NewSpace()
		}
	}
}
