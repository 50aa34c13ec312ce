// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package image writes OCI image archives without docker and without a
// registry: one layer, the given files, nothing of the machine that builds it.
// containerd reads them with "ctr images import".
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// File is one regular file of an image.
type File struct {
	Path   string      // Path in the image, absolute.
	Source string      // Source is the file on this machine.
	Mode   os.FileMode // Mode of the file in the image; 0 means 0755.
}

// Spec is what an image holds and runs.
type Spec struct {
	Ref        string            // Ref is the full name, "tombolo.local/podtool:1".
	Files      []File            // Files of the only layer.
	Links      map[string]string // Links are symbolic links, path to target.
	Entrypoint []string          // Entrypoint of the OCI image config.
	Cmd        []string          // Cmd is the default arguments of the entrypoint.
	User       string            // User is "uid:gid"; empty means root.
}

// Write writes the image as an OCI layout tar (image-spec v1.0) to dst. The
// bytes depend on the spec and the files' contents only, never on times.
func Write(dst string, s Spec) error {
	if s.Ref == "" || strings.Count(s.Ref, ":") == 0 {
		return fmt.Errorf("image %q: want a full reference with a tag, such as tombolo.local/podtool:1", s.Ref)
	}
	layer, err := s.layer()
	if err != nil {
		return fmt.Errorf("build layer of %s: %w", s.Ref, err)
	}
	archive, err := s.archive(layer)
	if err != nil {
		return fmt.Errorf("build archive of %s: %w", s.Ref, err)
	}
	// Written beside and renamed: a reader never sees half an image.
	tmp, err := os.CreateTemp(filepath.Dir(dst), filepath.Base(dst)+".*")
	if err != nil {
		return fmt.Errorf("write image %s: %w", s.Ref, err)
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(archive); err != nil {
		tmp.Close()
		return fmt.Errorf("write image %s: %w", s.Ref, err)
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("write image %s: %w", s.Ref, err)
	}
	return os.Rename(tmp.Name(), dst)
}

// layer is the uncompressed layer tar: directories before what lies in them.
func (s Spec) layer() ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	made := map[string]bool{".": true}
	for _, f := range s.Files {
		raw, err := os.ReadFile(f.Source)
		if err != nil {
			return nil, err
		}
		name := inTar(f.Path)
		if err := writeDirs(w, path.Dir(name), made); err != nil {
			return nil, err
		}
		mode := f.Mode
		if mode == 0 {
			mode = 0o755
		}
		if err := writeFile(w, name, int64(mode.Perm()), raw); err != nil {
			return nil, err
		}
	}
	for _, name := range sortedKeys(s.Links) {
		if err := writeDirs(w, path.Dir(inTar(name)), made); err != nil {
			return nil, err
		}
		h := &tar.Header{Name: inTar(name), Linkname: s.Links[name], Typeflag: tar.TypeSymlink, Mode: 0o777}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// Media types of the OCI image specification v1.0.
const (
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    map[string]string `json:"platform,omitempty"`
}

func describe(mediaType string, blob []byte) descriptor {
	return descriptor{MediaType: mediaType, Digest: "sha256:" + digest(blob), Size: len(blob)}
}

// archive wraps the layer with config, manifest and index.
func (s Spec) archive(layer []byte) ([]byte, error) {
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config": map[string]any{
			"Entrypoint": s.Entrypoint, "Cmd": s.Cmd, "User": s.User,
			"Env": []string{"PATH=/usr/local/bin:/usr/bin:/bin:/"},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": mediaManifest,
		"config": describe(mediaConfig, config),
		"layers": []descriptor{describe(mediaLayer, layer)},
	})
	if err != nil {
		return nil, err
	}
	top := describe(mediaManifest, manifest)
	// containerd takes the image's name from its own annotation, other tools from the OCI one.
	top.Annotations = map[string]string{"io.containerd.image.name": s.Ref, "org.opencontainers.image.ref.name": s.Ref}
	top.Platform = map[string]string{"architecture": runtime.GOARCH, "os": "linux"}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []descriptor{top}})
	if err != nil {
		return nil, err
	}

	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	files := []struct {
		name string
		data []byte
	}{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", index},
		{"blobs/sha256/" + digest(layer), layer},
		{"blobs/sha256/" + digest(config), config},
		{"blobs/sha256/" + digest(manifest), manifest},
	}
	for _, f := range files {
		if err := writeFile(w, f.name, 0o644, f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func digest(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
