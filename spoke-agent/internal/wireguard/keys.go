// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Below the directory of Keys, all of mode 0600:
//
//	private.key       the key in use
//	next.key          while the key is being replaced: the one that is announced and not yet approved
//	former.key        after that, until nobody uses it: the one that was replaced
//	rotation          the last request for a new key that was carried out
const (
	currentFile  = "private.key"
	nextFile     = "next.key"
	formerFile   = "former.key"
	rotationFile = "rotation"
)

// Keys are this node's keys, and where they are stored.
type Keys struct {
	dir                   string
	current, next, former PrivateKey
}

// OpenKeys reads the keys below dir, and makes the first one. The directory must be of this node alone and outlive
// the agent: a key that is lost is replaced by another, which the hub must approve before anybody listens to it.
func OpenKeys(dir string) (*Keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make key directory: %w", err)
	}
	k := &Keys{dir: dir}
	var err error
	if k.current, err = k.read(currentFile); err != nil {
		return nil, err
	}
	if k.next, err = k.read(nextFile); err != nil {
		return nil, err
	}
	if k.former, err = k.read(formerFile); err != nil {
		return nil, err
	}
	if k.former.equal(k.current) { // a crash in the middle of Approve
		k.former = PrivateKey{}
	}
	if k.current.Valid() {
		return k, nil
	}
	if k.current, err = k.make(currentFile); err != nil {
		return nil, err
	}
	return k, nil
}

// Current is the key in use.
func (k *Keys) Current() PrivateKey { return k.current }

// Next is the key that will be in use; not valid when none is being replaced. Others may know it before this node hears that it is
// approved.
func (k *Keys) Next() PrivateKey { return k.next }

// Former is the key that was in use before; not valid when it is gone.
func (k *Keys) Former() PrivateKey { return k.former }

// DropFormer deletes the former key.
func (k *Keys) DropFormer() error {
	if !k.former.Valid() {
		return nil
	}
	if err := os.Remove(filepath.Join(k.dir, formerFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete former private key: %w", err)
	}
	k.former = PrivateKey{}
	return nil
}

// Announced is the public half that the hub should approve: of the next key while there is one.
func (k *Keys) Announced() (PublicKey, error) {
	if k.next.Valid() {
		return k.next.Public()
	}
	return k.current.Public()
}

// Rotate makes the next key, once for each request (any text that differs from the last one). The key in use stays
// until the next one is approved.
func (k *Keys) Rotate(request string) error {
	done, err := os.ReadFile(filepath.Join(k.dir, rotationFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read last rotation: %w", err)
	}
	if request == "" || string(done) == request {
		return nil
	}
	if !k.next.Valid() {
		if k.next, err = k.make(nextFile); err != nil {
			return err
		}
	}
	if err := k.write(rotationFile, request); err != nil {
		return fmt.Errorf("note rotation: %w", err)
	}
	return nil
}

// Approve takes the key whose public half the hub has approved into use. The key before it is the former one then. An approved
// key that is neither changes nothing: it is an older one, whose announcement is still on its way.
func (k *Keys) Approve(approved PublicKey) error {
	if !k.next.Valid() {
		return nil
	}
	next, err := k.next.Public()
	if err != nil || next != approved {
		return err
	}
	if err := k.write(formerFile, k.current.base64()+"\n"); err != nil {
		return fmt.Errorf("keep former private key: %w", err)
	}
	if err := os.Rename(filepath.Join(k.dir, nextFile), filepath.Join(k.dir, currentFile)); err != nil {
		return fmt.Errorf("take next private key into use: %w", err)
	}
	k.former, k.current, k.next = k.current, k.next, PrivateKey{}
	return nil
}

// read returns the zero key when there is no file.
func (k *Keys) read(name string) (PrivateKey, error) {
	path := filepath.Join(k.dir, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return PrivateKey{}, nil
	}
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read private key: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return PrivateKey{}, fmt.Errorf("read private key %s: its mode is %s, others may have read it; remove it, and the agent makes another", path, info.Mode())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read private key: %w", err)
	}
	key, err := parsePrivateKey(strings.TrimSpace(string(text)))
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read %s: %w; remove it, and the agent makes another", path, err)
	}
	return key, nil
}

func (k *Keys) make(name string) (PrivateKey, error) {
	key, err := newPrivateKey()
	if err != nil {
		return PrivateKey{}, err
	}
	if err := k.write(name, key.base64()+"\n"); err != nil {
		return PrivateKey{}, fmt.Errorf("store private key: %w", err)
	}
	return key, nil
}

// write replaces a file at once: after a crash it is the old one or the new one. os.CreateTemp makes files of mode 0600.
func (k *Keys) write(name, text string) error {
	f, err := os.CreateTemp(k.dir, "."+name+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is none
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(k.dir, name))
}
