// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/hub/internal/cli/diagnose"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/status"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

const (
	// pageSize is how many objects one request asks for.
	pageSize = 500
	// maxObjects of one kind.
	maxObjects = 10000
)

// collector asks one cluster.
type collector struct {
	options
	connection *facts.Connection
	pods       *corev1client.CoreV1Client
	archive    *archive
	source     Source
	progress   func(string)
}

func newCollector(o options, c *facts.Connection, a *archive, directory string, progress func(string)) (*collector, error) {
	config := rest.CopyConfig(c.Config)
	config.Timeout = streamTimeout // logs and dumps may be long
	pods, err := corev1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.Config.Host, err)
	}
	return &collector{options: o, connection: c, pods: pods, archive: a, progress: progress, source: Source{Context: c.Context, Directory: directory}}, nil
}

// collect everything of the cluster. What can't be read is noted; only what can't be written is an error.
func (c *collector) collect(ctx context.Context) error {
	c.progress("looking")
	f, err := facts.Read(ctx, c.connection, facts.Full)
	if err != nil {
		return err
	}
	c.source.Hub, c.source.Cluster = f.Hub, f.Cluster
	if err := c.reports(f); err != nil {
		return err
	}
	for _, k := range kinds {
		c.progress(k.what())
		if err := c.objects(ctx, k); err != nil {
			return err
		}
	}
	c.progress("secrets' names, releases, CRDs")
	if err := c.inventory(ctx, f); err != nil {
		return err
	}
	return c.logs(ctx, f.Pods)
}

func (c *collector) file(name string) string { return path.Join(c.source.Directory, name) }

func (c *collector) unread(what string, err error) {
	c.source.Unread = append(c.source.Unread, facts.Unread{What: what, Why: Scrub(err.Error())})
}

// reports are what status and diagnose say, for eyes and for programs.
func (c *collector) reports(f *facts.Facts) error {
	var text bytes.Buffer
	w := terminal.NewWriter(&text)
	state := status.Of(f, "")
	state.Print(w, f.Now)
	if err := c.archive.add(c.file("status.txt"), text.String()); err != nil {
		return err
	}
	if err := c.archive.addJSON(c.file("status.json"), state); err != nil {
		return err
	}
	text.Reset()
	diagnosis := diagnose.Of(f, "")
	diagnosis.Print(w, false)
	if err := c.archive.add(c.file("diagnose.txt"), text.String()); err != nil {
		return err
	}
	return c.archive.addJSON(c.file("diagnose.json"), diagnosis)
}

// objects of one kind.
func (c *collector) objects(ctx context.Context, k kind) error {
	var found []map[string]any
	next := ""
	for {
		page := &unstructured.UnstructuredList{}
		page.SetGroupVersionKind(k.GroupVersion().WithKind(k.Kind + "List"))
		options := []client.ListOption{client.Limit(pageSize), client.Continue(next)}
		if k.system {
			options = append(options, client.InNamespace(facts.Namespace))
		}
		err := c.connection.Client.List(ctx, page, options...)
		if meta.IsNoMatchError(err) {
			return nil
		}
		if err != nil {
			c.unread(k.what(), err)
			break
		}
		for i := range page.Items {
			if k.keep == nil || k.keep(&page.Items[i]) {
				found = append(found, page.Items[i].Object)
			}
		}
		if next = page.GetContinue(); next == "" {
			break
		}
		if len(found) >= maxObjects {
			c.source.Truncated = append(c.source.Truncated, c.file(k.file()))
			break
		}
	}
	return c.archive.addObjects(c.file(k.file()), found)
}

// logs of all containers of tombolo-system, of their lives before the last restart too, and what the agents' own dumps say.
func (c *collector) logs(ctx context.Context, pods []corev1.Pod) error {
	for i := range pods {
		pod := &pods[i]
		for _, container := range containersOf(pod) {
			c.progress("logs of " + pod.Name)
			if err := c.log(ctx, pod, container.Name, false); err != nil {
				return err
			}
			if container.RestartCount > 0 {
				if err := c.log(ctx, pod, container.Name, true); err != nil {
					return err
				}
			}
		}
		if err := c.dumps(ctx, pod); err != nil {
			return err
		}
	}
	return nil
}

// containersOf a pod that have been started at least once, or may have been.
func containersOf(pod *corev1.Pod) []corev1.ContainerStatus {
	statuses := append(append([]corev1.ContainerStatus{}, pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...)
	if len(statuses) > 0 || pod.Spec.NodeName == "" {
		return statuses
	}
	for _, container := range pod.Spec.Containers {
		statuses = append(statuses, corev1.ContainerStatus{Name: container.Name})
	}
	return statuses
}

func (c *collector) log(ctx context.Context, pod *corev1.Pod, container string, previous bool) error {
	name, what := "logs/"+pod.Name+"/"+container, "log of "+pod.Name+"/"+container
	if previous {
		name, what = name+".previous", what+" before its restart"
	}
	options := &corev1.PodLogOptions{Container: container, Previous: previous, Timestamps: true, TailLines: new(c.lines)}
	stream, err := c.pods.Pods(pod.Namespace).GetLogs(pod.Name, options).Stream(ctx)
	if err != nil {
		c.unread(what, err)
		return nil
	}
	defer stream.Close()
	text, cut, err := tail(stream, c.bytes)
	if err != nil {
		c.unread(what, err) // and what has come is kept
	}
	if cut || int64(strings.Count(text, "\n")) >= c.lines {
		c.source.Truncated = append(c.source.Truncated, c.file(name+".log"))
	}
	return c.archive.add(c.file(name+".log"), text)
}

// tail reads to the end and keeps whole lines of the last limit bytes.
func tail(stream io.Reader, limit int) (text string, cut bool, err error) {
	var kept []byte
	buffer := make([]byte, 64<<10)
	for {
		n, err := stream.Read(buffer)
		kept = append(kept, buffer[:n]...)
		if len(kept) > 2*limit {
			kept, cut = append([]byte{}, kept[len(kept)-limit:]...), true
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return string(kept), cut, err
		}
	}
	if len(kept) > limit {
		kept, cut = kept[len(kept)-limit:], true
	}
	if cut { // what began before the cut may be the end of a secret: it goes
		_, rest, _ := bytes.Cut(kept, []byte("\n"))
		kept = rest
	}
	return string(kept), cut, nil
}

// streamTimeout bounds one log or dump.
const streamTimeout = 2 * time.Minute
