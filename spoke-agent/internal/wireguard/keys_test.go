// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
)

// TestPrivateKeyHides prints a key in every way that a log or an error might.
func TestPrivateKeyHides(t *testing.T) {
	key, err := newPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	var printed []string
	type holder struct {
		inside PrivateKey
		Key    *PrivateKey
	}
	for _, v := range []any{key, &key, holder{key, &key}, Config{Key: key}, []PrivateKey{key}, map[string]PrivateKey{"k": key}, state{key: key}, change{key: &key}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			printed = append(printed, fmt.Sprintf(verb, v))
		}
		text, _ := json.Marshal(v)
		printed = append(printed, string(text))
	}
	funcr.New(func(prefix, args string) { printed = append(printed, args) }, funcr.Options{}).Info("m", "key", key, "config", Config{Key: key})
	secret := key.secret()[:]
	for _, text := range printed {
		for _, form := range []string{key.base64(), key.hex(), strings.ToUpper(key.hex()), strings.Trim(fmt.Sprint(secret[:4]), "[]"), strings.TrimSuffix(fmt.Sprintf("%#v", secret[:4]), "}")[7:]} {
			if strings.Contains(text, form) {
				t.Errorf("%q is the key", text)
			}
		}
	}
	if got := fmt.Sprintf("%v %s %x", key, key, key); got != "(hidden) (hidden) (hidden)" {
		t.Errorf("it prints as %q", got)
	}
	if _, err := parsePrivateKey(key.base64() + "x"); err == nil || strings.Contains(err.Error(), key.base64()) {
		t.Errorf("a file that can't be read is an error that tells it: %v", err)
	}
}

func openKeys(t *testing.T, dir string) *Keys {
	t.Helper()
	keys, err := OpenKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// wantModes checks that nobody else may read what is below dir, and returns the names.
func wantModes(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		if !d.IsDir() {
			names = append(names, d.Name())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func TestKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "wireguard")
	keys := openKeys(t, dir)
	first := public(t, keys.Current())
	if got := wantModes(t, dir); got != "private.key" {
		t.Errorf("files are %q", got)
	}
	if public(t, openKeys(t, dir).Current()) != first {
		t.Error("an agent that starts anew has another key")
	}

	for range 2 { // the request stays on the Node: it counts once
		if err := keys.Rotate("please"); err != nil {
			t.Fatal(err)
		}
	}
	next, err := keys.Announced()
	if err != nil || next == first || public(t, keys.Current()) != first {
		t.Errorf("before the approval the new key is announced (%s) and the old one used (%s): %v", next, public(t, keys.Current()), err)
	}
	wantModes(t, dir)
	keys = openKeys(t, dir) // a restart in the middle
	if again, err := keys.Announced(); err != nil || again != next {
		t.Errorf("after a restart %s is announced, before it %s: %v", again, next, err)
	}
	for _, step := range []struct {
		approved, want PublicKey
		reason         string
	}{
		{first, first, "an old approval changes nothing"},
		{next, next, "the approval of the new key takes it into use"},
		{first, next, "there is no way back to the old one"},
	} {
		if err := keys.Approve(step.approved); err != nil || public(t, keys.Current()) != step.want {
			t.Errorf("%s: %v", step.reason, err)
		}
	}
	if got := wantModes(t, dir); got != "former.key private.key rotation" || public(t, openKeys(t, dir).Former()) != first {
		t.Errorf("files are %q: the old key should be there until nobody uses it", got)
	}
	if err := keys.DropFormer(); err != nil {
		t.Fatal(err)
	}
	if got := wantModes(t, dir); got != "private.key rotation" || keys.Former().Valid() || openKeys(t, dir).Former().Valid() {
		t.Errorf("files are %q: the old key should be gone", got)
	}
	keys = openKeys(t, dir)
	if err := keys.Rotate("please"); err != nil {
		t.Fatal(err)
	}
	if got, err := keys.Announced(); err != nil || got != next {
		t.Errorf("the same request made another key: %v", err)
	}
}

func TestKeysRefuse(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		spoil  func(path string) error
		want   string
	}{
		"mode":   {"others may have read it", func(path string) error { return os.Chmod(path, 0o640) }, "mode"},
		"text":   {"it is no key", func(path string) error { return os.WriteFile(path, []byte("AAAA"), 0o600) }, "not 32 octets"},
		"a link": {"the file may be anybody's", func(path string) error { return os.Rename(path, path+"2") }, ""},
	} {
		dir := t.TempDir()
		openKeys(t, dir)
		path := filepath.Join(dir, currentFile)
		if err := tc.spoil(path); err != nil {
			t.Fatal(err)
		}
		if name == "a link" {
			if err := os.Symlink(path+"2", path); err != nil {
				t.Fatal(err)
			}
			tc.want = "mode"
		}
		if _, err := OpenKeys(dir); err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%s: %s: error is %v, want it to say %q and the cure", name, tc.reason, err, tc.want)
		}
	}
}

func TestParsePublicKey(t *testing.T) {
	key := PublicKey{1, 2, 3}
	if got, err := ParsePublicKey(key.String()); err != nil || got != key {
		t.Errorf("%s is read as %s, %v", key, got, err)
	}
	for _, text := range []string{"", "AAAA", key.String() + "\n", strings.TrimRight(key.String(), "="), strings.Repeat("A", 43) + "B="} {
		if _, err := ParsePublicKey(text); err == nil {
			t.Errorf("%q is a key", text)
		}
	}
}
