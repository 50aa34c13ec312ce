// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gather puts what a bug report needs into one archive: objects, events, logs, and what status and diagnose say, from as many
// clusters as are asked for. Secrets stay out: their data is never collected, and whatever goes into the archive goes through Scrub.
package gather

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
)

// ManifestFile says what is in an archive.
const ManifestFile = "manifest.json"

// Manifest of an archive.
type Manifest struct {
	APIVersion string `json:"apiVersion"`
	// Kind is "Gather".
	Kind string `json:"kind"`
	// Version of the program that made it.
	Version string `json:"version"`
	// Time when it was begun.
	Time time.Time `json:"time"`
	// Clusters that were asked.
	Clusters []Source `json:"clusters"`
	// Files beside this one, in order.
	Files []File `json:"files"`
}

// Source is a cluster that was asked.
type Source struct {
	// Context of the kubeconfig, and the directory of its files.
	Context   string `json:"context"`
	Directory string `json:"directory"`
	// Hub and Cluster say what it is.
	Hub     bool `json:"hub"`
	Cluster bool `json:"cluster"`
	// Unread is what could not be read, and why: no permission, mostly.
	Unread []facts.Unread `json:"unread,omitempty"`
	// Truncated are files that have only the end of what there was.
	Truncated []string `json:"truncated,omitempty"`
}

// File of an archive.
type File struct {
	Path  string `json:"path"`
	Bytes int    `json:"bytes"`
}

// archive writes a compressed tar. Everything goes through Scrub.
type archive struct {
	root     string
	time     time.Time
	gzip     *gzip.Writer
	tar      *tar.Writer
	manifest Manifest
}

func newArchive(out io.Writer, root, version string, at time.Time) *archive {
	a := &archive{root: root, time: at, manifest: Manifest{APIVersion: "cli.tombolo.io/v1", Kind: "Gather", Version: version, Time: at.UTC()}}
	a.gzip = gzip.NewWriter(out)
	a.tar = tar.NewWriter(a.gzip)
	return a
}

// add a file of text.
func (a *archive) add(name, text string) error {
	data := []byte(Scrub(strings.ToValidUTF8(text, "?")))
	if err := a.write(name, data); err != nil {
		return err
	}
	a.manifest.Files = append(a.manifest.Files, File{Path: name, Bytes: len(data)})
	return nil
}

// addObjects as one YAML file of many documents; none makes no file.
func (a *archive) addObjects(name string, objects []map[string]any) error {
	if len(objects) == 0 {
		return nil
	}
	var text bytes.Buffer
	for _, object := range objects {
		ScrubObject(object)
		document, err := yaml.Marshal(object)
		if err != nil {
			return fmt.Errorf("encode %s: %w", name, err)
		}
		text.WriteString("---\n")
		text.Write(document)
	}
	return a.add(name, text.String())
}

// addJSON adds what has a JSON form.
func (a *archive) addJSON(name string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return a.add(name, string(data)+"\n")
}

func (a *archive) write(name string, data []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: path.Join(a.root, name), Mode: 0o600, Size: int64(len(data)), ModTime: a.time}
	if err := a.tar.WriteHeader(header); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if _, err := a.tar.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// close writes the manifest, and ends the archive.
func (a *archive) close() error {
	slices.SortFunc(a.manifest.Files, func(x, y File) int { return strings.Compare(x.Path, y.Path) })
	data, err := json.MarshalIndent(a.manifest, "", "  ")
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	if err := a.write(ManifestFile, []byte(Scrub(string(data)+"\n"))); err != nil {
		return err
	}
	if err := a.tar.Close(); err != nil {
		return fmt.Errorf("end archive: %w", err)
	}
	if err := a.gzip.Close(); err != nil {
		return fmt.Errorf("end archive: %w", err)
	}
	return nil
}
