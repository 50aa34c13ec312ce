// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// keySize is the length of a Curve25519 key in octets (RFC 7748).
const keySize = 32

// PublicKey is the half of a gateway's key that everybody may know.
type PublicKey [keySize]byte

// String is the key as `wg` writes it: base64 (RFC 4648).
func (k PublicKey) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// ParsePublicKey reads what String writes.
func ParsePublicKey(s string) (PublicKey, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != keySize || len(s) != base64.StdEncoding.EncodedLen(keySize) { // the decoder passes line ends over
		return PublicKey{}, fmt.Errorf("public key %q: give %d octets in base64, as `wg pubkey` writes them", s, keySize)
	}
	return PublicKey(raw), nil
}

// hidden is all that a private key says of itself.
const hidden = "(hidden)"

// PrivateKey is the half that does not leave the node. However it is printed or encoded, it reads "(hidden)".
type PrivateKey struct {
	// A function, because package fmt looks through pointers where it can't call Format: in an unexported field.
	secret func() *[keySize]byte
}

func privateKey(secret *[keySize]byte) PrivateKey {
	return PrivateKey{func() *[keySize]byte { return secret }}
}

// Format prints "(hidden)" for every verb.
func (PrivateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// String is "(hidden)".
func (PrivateKey) String() string { return hidden }

// MarshalText is "(hidden)", and so is JSON.
func (PrivateKey) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// newPrivateKey makes a key of the system's randomness.
func newPrivateKey() (PrivateKey, error) {
	var secret [keySize]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return PrivateKey{}, fmt.Errorf("make private key: %w", err)
	}
	// RFC 7748 section 5. Everybody who uses the key does this again; stored so, the file reads the same to all tools.
	secret[0] &= 248
	secret[31] = secret[31]&127 | 64
	return privateKey(&secret), nil
}

// parsePrivateKey reads base64. Its errors say nothing of s.
func parsePrivateKey(s string) (PrivateKey, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != keySize {
		return PrivateKey{}, fmt.Errorf("private key is not %d octets in base64", keySize)
	}
	return privateKey((*[keySize]byte)(raw)), nil
}

// Valid is false for the zero PrivateKey.
func (k PrivateKey) Valid() bool { return k.secret != nil }

// Public is the other half.
func (k PrivateKey) Public() (PublicKey, error) {
	if !k.Valid() {
		return PublicKey{}, errors.New("there is no private key")
	}
	key, err := ecdh.X25519().NewPrivateKey(k.secret()[:])
	if err != nil {
		return PublicKey{}, errors.New("private key is no Curve25519 key")
	}
	return PublicKey(key.PublicKey().Bytes()), nil
}

// equal compares without telling by its time where the keys differ.
func (k PrivateKey) equal(other PrivateKey) bool {
	if !k.Valid() || !other.Valid() {
		return k.Valid() == other.Valid()
	}
	return subtle.ConstantTimeCompare(k.secret()[:], other.secret()[:]) == 1
}

// base64 and hex are for the key's file and for the interface.
func (k PrivateKey) base64() string { return base64.StdEncoding.EncodeToString(k.secret()[:]) }
func (k PrivateKey) hex() string    { return hex.EncodeToString(k.secret()[:]) }
