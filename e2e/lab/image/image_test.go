// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func read(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name+map[byte]string{tar.TypeSymlink: " -> " + h.Linkname}[h.Typeflag]] = b
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "tool")
	if err := os.WriteFile(source, []byte("binary"), 0o755); err != nil {
		t.Fatal(err)
	}
	spec := Spec{
		Ref:        "tombolo.local/tool:1",
		Files:      []File{{Path: "/usr/bin/tool", Source: source}, {Path: "/usr/bin/again", Source: source}},
		Links:      map[string]string{"/bin": "usr/bin"},
		Entrypoint: []string{"/usr/bin/tool"},
		Cmd:        []string{"serve"},
		User:       "1:1",
	}
	var archives [2][]byte
	for i := range archives {
		dst := filepath.Join(dir, "image.tar")
		if err := Write(dst, spec); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(dst)
		if err != nil {
			t.Fatal(err)
		}
		archives[i] = b
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("the same spec gave different bytes")
	}

	blobs := read(t, archives[0])
	blob := func(d string) []byte { return blobs["blobs/sha256/"+d[len("sha256:"):]] }
	var index struct{ Manifests []descriptor }
	decode(t, blobs["index.json"], &index)
	if got := index.Manifests[0].Annotations["io.containerd.image.name"]; got != spec.Ref {
		t.Errorf("image name %q, want %q", got, spec.Ref)
	}
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	decode(t, blob(index.Manifests[0].Digest), &manifest)
	var config struct {
		Config struct {
			Entrypoint, Cmd []string
			User            string
		}
		Rootfs struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	decode(t, blob(manifest.Config.Digest), &config)
	if diff := cmp.Diff(spec.Entrypoint, config.Config.Entrypoint); diff != "" {
		t.Errorf("entrypoint -want +got:\n%s", diff)
	}
	if config.Config.User != "1:1" || !cmp.Equal(config.Config.Cmd, spec.Cmd) {
		t.Errorf("config is %+v", config.Config)
	}
	if config.Rootfs.DiffIDs[0] != manifest.Layers[0].Digest {
		t.Error("an uncompressed layer must have its digest as its diff id")
	}
	want := map[string][]byte{
		"usr/": {}, "usr/bin/": {}, "usr/bin/tool": []byte("binary"), "usr/bin/again": []byte("binary"), "bin -> usr/bin": {},
	}
	if diff := cmp.Diff(want, read(t, blob(manifest.Layers[0].Digest))); diff != "" {
		t.Errorf("layer -want +got:\n%s", diff)
	}
}

func TestWriteRefusesAName(t *testing.T) {
	if err := Write(filepath.Join(t.TempDir(), "x"), Spec{Ref: "tool"}); err == nil {
		t.Error("a reference without a tag was taken; containerd would not find the image again")
	}
}

func decode(t *testing.T, raw []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
}
