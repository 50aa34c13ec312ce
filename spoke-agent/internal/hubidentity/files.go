// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package hubidentity

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// Files is a private directory with the identity, for whoever connects to the hub. All files change at once.
type Files struct {
	root    string
	changed chan struct{}
}

// MakeFiles makes the directory, with nothing in it.
func MakeFiles() (*Files, error) {
	root, err := os.MkdirTemp("", "tombolo-hub-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("make directory of the hub's kubeconfig: %w (the pod needs a writable %s)", err, os.TempDir())
	}
	return &Files{root: root, changed: make(chan struct{}, 1)}, nil
}

// Kubeconfig is the path of the hub's kubeconfig. It need not be there yet.
func (f *Files) Kubeconfig() string {
	return filepath.Join(f.root, "current", spokev1alpha1.IdentityKubeconfig)
}

// Changed gives a value after a change. It is for one listener.
func (f *Files) Changed() <-chan struct{} { return f.changed }

// Remove the directory.
func (f *Files) Remove() error { return os.RemoveAll(f.root) }

// publish writes the files, if they are others than before.
func (f *Files) publish(secret *corev1.Secret) error {
	data := map[string][]byte{}
	for _, key := range []string{spokev1alpha1.IdentityKubeconfig, spokev1alpha1.IdentityCertificate, spokev1alpha1.IdentityKey} {
		data[key] = secret.Data[key]
	}
	all, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("tell versions of the identity apart: %w", err)
	}
	version, current := hash(all), filepath.Join(f.root, "current")
	before, err := os.Readlink(current)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look for the identity's files: %w", err)
	}
	if before == version {
		return nil
	}
	if err := f.write(version, data); err != nil {
		return fmt.Errorf("write the identity's files: %w", err)
	}
	if before != "" {
		if err := os.RemoveAll(filepath.Join(f.root, before)); err != nil {
			return fmt.Errorf("remove the former identity's files: %w", err)
		}
	}
	select {
	case f.changed <- struct{}{}:
	default: // told already
	}
	return nil
}

func (f *Files) write(version string, data map[string][]byte) error {
	dir := filepath.Join(f.root, version)
	if err := os.RemoveAll(dir); err != nil { // of an attempt that failed
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for name, content := range data {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	next := filepath.Join(f.root, "next")
	if err := errors.Join(os.RemoveAll(next), os.Symlink(version, next)); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(f.root, "current"))
}
