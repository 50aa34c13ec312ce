// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// References of the lab's own images. They never exist in a registry, so pods
// must use imagePullPolicy IfNotPresent or Never.
const (
	PauseRef   = "tombolo.local/pause:1"
	PodtoolRef = "tombolo.local/podtool:1"
)

// Pause is the sandbox image; binary is the built e2e/lab/cmd/pause.
func Pause(binary string) Spec {
	return Spec{
		Ref:        PauseRef,
		Files:      []File{{Path: "/pause", Source: binary}},
		Entrypoint: []string{"/pause"},
		User:       "65535:65535",
	}
}

// Podtool is the image of test pods; binary is the built e2e/lab/cmd/podtool.
// It runs as root: raw ICMP needs NET_RAW, which containers of root have.
func Podtool(binary string) Spec {
	return Spec{
		Ref:        PodtoolRef,
		Files:      []File{{Path: "/podtool", Source: binary}},
		Links:      map[string]string{"/usr/bin/podtool": "/podtool"},
		Entrypoint: []string{"/podtool"},
		Cmd:        []string{"serve"},
	}
}

// Registry is that of Tombolo's images in the lab: the value image.registry of the charts.
const Registry = "tombolo.local"

// Hub is the image of the hub as it is released in a version; binary is the built tombolo-hub.
func Hub(registry, version, binary string) Spec {
	return Spec{
		Ref:        path.Join(registry, "tombolo-io/tombolo-hub:"+version),
		Files:      []File{{Path: "/usr/bin/tombolo-hub", Source: binary}},
		Entrypoint: []string{"/usr/bin/tombolo-hub"},
		User:       "65532:65532",
	}
}

// Agent is the image of the agent in both of its roles, with the CNI plugin that it installs.
func Agent(registry, version, agent, cni string) Spec {
	return Spec{
		Ref: path.Join(registry, "tombolo-io/tombolo-agent:"+version),
		Files: []File{
			{Path: "/usr/bin/tombolo-agent", Source: agent},
			{Path: "/usr/bin/tombolo-cni", Source: cni},
		},
		Entrypoint: []string{"/usr/bin/tombolo-agent"},
		User:       "65532:65532",
	}
}

// Built names the files that Build leaves in its directory.
type Built struct {
	Pause, Podtool       string // Pause and Podtool are static binaries.
	PauseTar, PodtoolTar string // PauseTar and PodtoolTar are their images.
}

// Build compiles pause and podtool for this machine into dir and writes their
// images beside them. The process must run inside the project's module.
func Build(ctx context.Context, dir string) (Built, error) {
	b := Built{
		Pause:      filepath.Join(dir, "pause"),
		Podtool:    filepath.Join(dir, "podtool"),
		PauseTar:   filepath.Join(dir, "pause.tar"),
		PodtoolTar: filepath.Join(dir, "podtool.tar"),
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Built{}, fmt.Errorf("build images: %w", err)
	}
	const tools = "github.com/tombolo-io/tombolo/e2e/lab/cmd/"
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", tools+"pause", tools+"podtool")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return Built{}, fmt.Errorf("build pause and podtool: %w: %s", err, out)
	}
	if err := Write(b.PauseTar, Pause(b.Pause)); err != nil {
		return Built{}, err
	}
	if err := Write(b.PodtoolTar, Podtool(b.Podtool)); err != nil {
		return Built{}, err
	}
	return b, nil
}

// Released are the files of the images of a release.
type Released struct{ Hub, Agent string }

// Release writes both images of a release into dir, from its programs there: tombolo-hub, tombolo-agent and tombolo-cni.
func Release(dir, registry, version string) (Released, error) {
	in := func(name string) string { return filepath.Join(dir, name) }
	r := Released{Hub: in("tombolo-hub.tar"), Agent: in("tombolo-agent.tar")}
	if err := Write(r.Hub, Hub(registry, version, in("tombolo-hub"))); err != nil {
		return Released{}, err
	}
	return r, Write(r.Agent, Agent(registry, version, in("tombolo-agent"), in("tombolo-cni")))
}
