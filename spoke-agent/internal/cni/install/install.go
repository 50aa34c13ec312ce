// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/cni"
)

// look is how often the directory is looked at: the cluster's own plugin may write another configuration, or write its first one late.
const look = 5 * time.Second

// Installer keeps the plugin installed on its node. It is installed for as long as the node is a member: a restart of the agent, or its
// end, removes nothing, so that pods go on.
type Installer struct {
	// ConfDir and BinDir are the runtime's directories of network configurations and of plugins.
	ConfDir, BinDir string
	// Plugin is the program to install.
	Plugin string
	// Socket of the agent.
	Socket string
	// Leaving says whether the node is to be as if Tombolo had never been there.
	Leaving func(context.Context) (bool, error)
	// Remembers says whether the container runtime tears pods down by the configuration of the time when it set them up. Nil: it does not.
	Remembers func(context.Context) (bool, error)
	// Tell is called once for each new problem and, with an empty text, when there is none any more.
	Tell func(problem string)
	Log  logr.Logger

	told    string
	mu      sync.Mutex
	program program
}

// NeedLeaderElection is false: every node has its own.
func (i *Installer) NeedLeaderElection() bool { return false }

// Start keeps the plugin installed until ctx ends.
func (i *Installer) Start(ctx context.Context) error {
	for {
		problem := ""
		if err := i.sync(ctx); err != nil && ctx.Err() == nil {
			problem = err.Error()
		}
		if problem != i.told {
			i.told = problem
			i.Log.Info("CNI configuration", "problem", problem)
			i.Tell(problem)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(look):
		}
	}
}

// sync installs what is missing or other than it should be, or removes all of it.
func (i *Installer) sync(ctx context.Context) error {
	// Who has asked whether the cluster leaves writes before another one removes, or asks again.
	i.mu.Lock()
	defer i.mu.Unlock()
	leaving, err := i.Leaving(ctx)
	if err != nil {
		return err
	}
	if leaving {
		return i.remove(ctx)
	}
	return i.Install()
}

// Install writes program and configuration. The error says what a person can do.
func (i *Installer) Install() error {
	files, err := readDir(i.ConfDir)
	if err != nil {
		return fmt.Errorf("read directory of CNI configurations: %w: give the directory that the container runtime reads with --cni-conf-dir "+
			"(chart: cni.confDir), and mount it into the agent", err)
	}
	r, err := Generate(files, i.Socket)
	if errors.Is(err, ErrNoConfig) {
		return fmt.Errorf("%w: install the cluster's own CNI plugin, or give the directory that it writes to with --cni-conf-dir (chart: cni.confDir); "+
			"this is %s", err, i.ConfDir)
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(i.Socket); err != nil {
		return fmt.Errorf("wait for the agent to answer the plugin: %w", err)
	}
	plugin, err := os.Open(i.Plugin)
	if err != nil {
		return fmt.Errorf("read the plugin's program: %w", err)
	}
	defer plugin.Close()
	// The program first: whoever reads the configuration calls it.
	if err := i.program.put(plugin, i.BinDir, PluginName, 0o755); err != nil {
		return fmt.Errorf("install plugin: %w: give the container runtime's directory of plugins with --cni-bin-dir (chart: cni.binDir)", err)
	}
	if err := remove(i.BinDir, leftName); err != nil {
		return err
	}
	if err := put(i.ConfDir, ConfigName, r.Config, 0o644); err != nil {
		return fmt.Errorf("write CNI configuration: %w", err)
	}
	if r.Before != "" {
		return fmt.Errorf("%s sorts before %s, so the container runtime takes that: rename it, or let its first plugin be %s",
			filepath.Join(i.ConfDir, r.Before), ConfigName, PluginName)
	}
	return nil
}

// Remove removes what Install has written, the configuration first. Nothing of it need be there. The program stays where the runtime will call it
// for pods that are there now, with a file beside it by which it knows that there is no agent to ask.
func (i *Installer) Remove(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.remove(ctx)
}

func (i *Installer) remove(ctx context.Context) error {
	if i.ConfDir == "" {
		return nil // it installs nothing
	}
	if err := remove(i.ConfDir, ConfigName); err != nil {
		return err
	}
	remembers := false
	if i.Remembers != nil {
		var err error
		if remembers, err = i.Remembers(ctx); err != nil {
			return err
		}
	}
	_, err := os.Stat(filepath.Join(i.BinDir, PluginName))
	switch {
	case errors.Is(err, fs.ErrNotExist) || !remembers:
		return errors.Join(remove(i.BinDir, PluginName), remove(i.BinDir, leftName))
	case err != nil:
		return fmt.Errorf("look for plugin: %w", err)
	}
	if err := put(i.BinDir, leftName, []byte(left), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", leftName, err)
	}
	return nil
}

// leftName is the file beside the program, and left is what a person reads there.
const (
	leftName = PluginName + cni.LeftSuffix
	left     = "Tombolo has left this node. The container runtime calls " + PluginName + " once more for each pod that was made before;\n" +
		"when none of those is left, or after the next reboot, both files can be deleted.\n"
)

// readDir reads all files of a directory. One that goes meanwhile is not there.
func readDir(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, entry := range entries {
		if entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, File{Name: entry.Name(), Data: data})
	}
	return files, nil
}

// put writes a small file at once, unless it is so already.
func put(dir, name string, data []byte, mode fs.FileMode) error {
	path := filepath.Join(dir, name)
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, data) {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm() == mode {
			return nil
		}
	}
	return write(dir, name, bytes.NewReader(data), mode)
}

// remove removes a file, and what an interrupted put has left.
func remove(dir, name string) error {
	temps, err := filepath.Glob(filepath.Join(dir, tempPrefix+"*"+tempSuffix))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range append(temps, filepath.Join(dir, name)) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove CNI file: %w", err))
		}
	}
	return errors.Join(errs...)
}
