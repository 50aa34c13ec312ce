// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	flannel = `{"cniVersion":"0.3.1","name":"cbr0","plugins":[{"type":"flannel","delegate":{"isDefaultGateway":true}},{"type":"portmap","capabilities":{"portMappings":true}}]}`
	single  = `{"cniVersion":"1.0.0","name":"k8s","type":"ovn-k8s-cni-overlay","capabilities":{"bandwidth":true}}`
	multus  = `{"cniVersion":"1.0.0","name":"multus","type":"multus"}`
)

func TestGenerate(t *testing.T) {
	cases := map[string]struct {
		reason string
		files  []File
		want   string
		source string
		before string
		fail   string
	}{
		"List": {
			reason: "the first plugin is the delegate, those behind it stay where they are",
			files:  []File{{"10-flannel.conflist", []byte(flannel)}}, source: "10-flannel.conflist",
			want: `{"cniVersion":"0.3.1","name":"cbr0","plugins":[{"delegate":{"delegate":{"isDefaultGateway":true},"type":"flannel"},"socket":"/s","type":"tombolo-cni"},` +
				`{"capabilities":{"portMappings":true},"type":"portmap"}]}`,
		},
		"Single": {
			reason: "one plugin is a list of one; what the runtime tells the delegate it must tell us",
			files:  []File{{"10-ovn.conf", []byte(single)}}, source: "10-ovn.conf",
			want: `{"cniVersion":"1.0.0","name":"k8s","plugins":[{"capabilities":{"bandwidth":true},"delegate":{"capabilities":{"bandwidth":true},` +
				`"cniVersion":"1.0.0","name":"k8s","type":"ovn-k8s-cni-overlay"},"socket":"/s","type":"tombolo-cni"}]}`,
		},
		"FirstByName": {
			reason: "the runtime would take the first by name, and so do we; other files are none of our business",
			files: []File{
				{"20-b.conf", []byte(multus)}, {"10-flannel.conflist", []byte(flannel)}, {"05-old.conf.bak", []byte(single)},
				{ConfigName, []byte(`{"cniVersion":"1.0.0","name":"old","plugins":[{"type":"tombolo-cni"}]}`)}, {"07-broken.conf", []byte(`{`)},
			},
			source: "10-flannel.conflist",
		},
		"NotBehindItself": {
			reason: "a configuration with our plugin in it, which somebody wrote, is no delegate",
			files:  []File{{"05-mine.conflist", []byte(`{"cniVersion":"1.0.0","name":"m","plugins":[{"type":"tombolo-cni"}]}`)}, {"10-flannel.conflist", []byte(flannel)}},
			source: "10-flannel.conflist",
		},
		"Before": {
			reason: "what sorts before ours is what the runtime takes",
			files:  []File{{"00-multus.conf", []byte(multus)}, {"10-flannel.conflist", []byte(flannel)}}, source: "00-multus.conf", before: "00-multus.conf",
		},
		"Empty":   {reason: "no delegate, no network for pods that are in no Vpc", fail: "no CNI network configuration of the cluster's own"},
		"Broken":  {reason: "what keeps a file from being one is told", files: []File{{"10.conf", []byte(`{"name":"x"}`)}}, fail: "10.conf is no CNI network configuration: a plugin has no type"},
		"NoName":  {reason: "a runtime wants a name", files: []File{{"10.conflist", []byte(`{"plugins":[{"type":"x"}]}`)}}, fail: "no name"},
		"Plugins": {reason: "and plugins", files: []File{{"10.conflist", []byte(`{"name":"x"}`)}}, fail: "no plugins"},
		"Old": {
			reason: "a version that our plugin does not speak is said, with those that it does",
			files:  []File{{"10.conf", []byte(`{"cniVersion":"0.2.0","name":"x","type":"y"}`)}}, fail: `cniVersion "0.2.0"`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Generate(tc.files, "/s")
			if tc.fail != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fail) {
					t.Fatalf("error %v, want one with %q: %s", err, tc.fail, tc.reason)
				}
				return
			}
			if err != nil || got.Source != tc.source || got.Before != tc.before {
				t.Fatalf("made of %q, before is %q, error %v: %s", got.Source, got.Before, err, tc.reason)
			}
			if tc.want != "" {
				if diff := cmp.Diff(decoded(t, []byte(tc.want)), decoded(t, got.Config)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
				}
			}
		})
	}
}

func decoded(t *testing.T, data []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func FuzzGenerate(f *testing.F) {
	for _, seed := range []string{flannel, single, multus, `{"plugins":[null]}`, `[]`, `{"plugins":{"type":1}}`} {
		f.Add("10-x.conflist", []byte(seed))
		f.Add("10-x.conf", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		first, err := Generate([]File{{name, data}}, "/s")
		if err != nil {
			return
		}
		n, err := parse(File{ConfigName, first.Config})
		if err != nil || !n.ours() {
			t.Fatalf("made %s of %s, which is no configuration with us in front: %v", first.Config, data, err)
		}
		again, err := Generate([]File{{name, data}, {ConfigName, first.Config}}, "/s")
		if err != nil || string(again.Config) != string(first.Config) {
			t.Fatalf("our own configuration changes what is made: %v", err)
		}
	})
}

// TestInstall goes through a node's life on real directories.
func TestInstall(t *testing.T) {
	dir := t.TempDir()
	conf, bin := filepath.Join(dir, "net.d"), filepath.Join(dir, "bin")
	plugin, socket := filepath.Join(dir, "plugin"), filepath.Join(dir, "cni.sock")
	leaving := false
	i := &Installer{ConfDir: conf, BinDir: bin, Plugin: plugin, Socket: socket, Leaving: func(context.Context) (bool, error) { return leaving, nil }}
	sync := func(reason, problem string) {
		t.Helper()
		err := i.sync(t.Context())
		if (err == nil) != (problem == "") || err != nil && !strings.Contains(err.Error(), problem) {
			t.Fatalf("%s: error %v, want %q", reason, err, problem)
		}
	}
	expect := func(reason string, confs, bins []string) {
		t.Helper()
		if diff := cmp.Diff([][]string{confs, bins}, [][]string{names(t, conf), names(t, bin)}); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", reason, diff)
		}
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sync("a missing directory is told with its cure", "--cni-conf-dir")
	for _, d := range []string{conf, bin} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sync("so is an empty one", "install the cluster's own CNI plugin")
	write(filepath.Join(conf, "10-flannel.conflist"), flannel)
	sync("pods would fail while nobody answers", "wait for the agent")
	write(socket, "")
	write(plugin, "one")
	sync("then it is installed", "")
	expect("beside the cluster's own", []string{ConfigName, "10-flannel.conflist"}, []string{PluginName})
	before := stat(t, filepath.Join(conf, ConfigName))
	sync("again", "")
	if !os.SameFile(before, stat(t, filepath.Join(conf, ConfigName))) {
		t.Error("what is as it should be was written again")
	}
	if mode := stat(t, filepath.Join(bin, PluginName)).Mode().Perm(); mode != 0o755 {
		t.Errorf("the plugin has mode %o", mode)
	}
	write(plugin, "two")
	write(filepath.Join(conf, "05-other.conf"), single)
	sync("a new plugin and a new configuration are taken over", "")
	if data, err := os.ReadFile(filepath.Join(bin, PluginName)); err != nil || string(data) != "two" {
		t.Errorf("the plugin is %q, %v", data, err)
	}
	if data, err := os.ReadFile(filepath.Join(conf, ConfigName)); err != nil || !strings.Contains(string(data), "ovn-k8s-cni-overlay") {
		t.Errorf("the configuration is %s, %v", data, err)
	}
	write(filepath.Join(conf, "00-multus.conf"), multus)
	sync("one that the runtime prefers is told", "sorts before")
	leaving = true
	write(filepath.Join(conf, tempPrefix+"1"+tempSuffix), "")
	sync("in the end ours go", "")
	expect("and nobody else's", []string{"00-multus.conf", "05-other.conf", "10-flannel.conflist"}, nil)
	if data, err := os.ReadFile(filepath.Join(conf, "10-flannel.conflist")); err != nil || string(data) != flannel {
		t.Errorf("the cluster's own is %q, %v", data, err)
	}
	sync("twice", "")

	remembers, unknown := true, error(nil)
	i.Remembers = func(context.Context) (bool, error) { return remembers, unknown }
	sync("a runtime that would call it, but nothing is there", "")
	expect("so nothing comes", []string{"00-multus.conf", "05-other.conf", "10-flannel.conflist"}, nil)
	leaving = false
	sync("installed again", "sorts before")
	leaving, unknown = true, errors.New("no Node")
	sync("who does not know the runtime leaves the program", "no Node")
	expect("there, and takes the configuration", []string{"00-multus.conf", "05-other.conf", "10-flannel.conflist"}, []string{PluginName})
	unknown = nil
	sync("a runtime that tears pods down by what it remembers", "")
	expect("keeps the program, which is told", []string{"00-multus.conf", "05-other.conf", "10-flannel.conflist"}, []string{PluginName, leftName})
	leaving = false
	sync("installed once more", "sorts before")
	expect("it asks the agent again", []string{"00-multus.conf", ConfigName, "05-other.conf", "10-flannel.conflist"}, []string{PluginName})
	leaving, remembers = true, false
	sync("another runtime", "")
	expect("needs none", []string{"00-multus.conf", "05-other.conf", "10-flannel.conflist"}, nil)
}

// TestTell: a problem is told once, and its end.
func TestTell(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var told []string
	i := &Installer{Leaving: func(context.Context) (bool, error) { return false, errors.New("no idea") }, Tell: func(problem string) {
		told = append(told, problem)
		cancel()
	}}
	if err := i.Start(ctx); err != nil || !slices.Equal(told, []string{"no idea"}) {
		t.Errorf("told %q, %v", told, err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}
