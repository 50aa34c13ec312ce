// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	_ "sigs.k8s.io/controller-runtime/pkg/controller" // registers its metrics
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	ourName    = regexp.MustCompile(`"(tombolo_[a-z_]+)"`)
	metricName = regexp.MustCompile(`\b(?:tombolo|controller_runtime|leader_election|process|workqueue|rest_client|go)_[a-z_]+`)
	descName   = regexp.MustCompile(`fqName: "([^"]+)"`)
)

// TestDashboards: each metric that a dashboard asks for is one that the programs have.
func TestDashboards(t *testing.T) {
	known := slices.Concat(ourMetrics(t), libraryMetrics())
	for _, test := range []struct{ chart, file, values string }{
		{Hub, "tombolo-hub.json", "monitoring: {dashboard: {enabled: true}}"},
		{SpokeAgent, "tombolo-agent.json", "{clusterName: east, monitoring: {dashboard: {enabled: true}}}"},
	} {
		data, err := Files.ReadFile(test.chart + "/dashboards/" + test.file)
		if err != nil {
			t.Fatal(err)
		}
		var dashboard struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(data, &dashboard); err != nil {
			t.Fatalf("parse %s: %v", test.file, err)
		}
		for _, panel := range dashboard.Panels {
			for _, target := range panel.Targets {
				names := metricName.FindAllString(target.Expr, -1)
				if len(names) == 0 {
					t.Errorf("%s: panel %q asks for no metric that this test knows: %s", test.file, panel.Title, target.Expr)
				}
				for _, name := range names {
					if !slices.Contains(known, name) && !slices.Contains(known, strings.TrimSuffix(name, "_bucket")) {
						t.Errorf("%s: panel %q asks for %s, which no program has", test.file, panel.Title, name)
					}
				}
			}
		}
		objects, err := Render(test.chart, values(t, test.values))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, object := range objects {
			content, _, _ := unstructured.NestedString(object.Object, "data", test.file)
			found = found || content == strings.TrimSpace(string(data))
		}
		if !found {
			t.Errorf("no ConfigMap of %s has %s as it is", test.chart, test.file)
		}
	}
}

// ourMetrics are the names in the sources of hub and agent.
func ourMetrics(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, root := range []string{"../hub", "../spoke-agent"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "_bpfe") {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(data), "prometheus.") {
				return err
			}
			for _, match := range ourName.FindAllStringSubmatch(string(data), -1) {
				names = append(names, match[1])
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// libraryMetrics are those that controller-runtime registers in each program.
func libraryMetrics() []string {
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		metrics.Registry.(*prometheus.Registry).Describe(descriptions)
	}()
	var names []string
	for description := range descriptions {
		if match := descName.FindStringSubmatch(description.String()); match != nil {
			names = append(names, match[1])
		}
	}
	return names
}
