// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"testing"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
)

// testSessionsLeaveNothing: each change of the hub's kubeconfig is a new session, and after many of them there are as many handlers of informers
// as after the first.
func (f *fleet) testSessionsLeaveNothing(t *testing.T, kubeconfig string) {
	raw, err := os.ReadFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	path, changed := filepath.Join(t.TempDir(), "kubeconfig"), make(chan struct{})
	write := func(n int) {
		if err := os.WriteFile(path, append(bytes.Clone(raw), fmt.Sprintf("# %d\n", n)...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	stop := f.agentThatIsTold(t, path, changed)
	defer stop()
	change := func(n int) {
		name := fmt.Sprintf("session-%d", n)
		write(n)
		changed <- struct{}{}
		f.mustCreate(t, hubRouter(name))
		f.eventuallyLink(t, "demo."+name, "169.254.128.0/29") // the new session works, or the old one still did
	}
	change(1)
	settled := handlers(t)
	for n := range 3 {
		change(n + 2)
	}
	clustertest.Eventually(t, "old sessions to take their handlers out of the cache", func(context.Context) error {
		if now := handlers(t); now > settled {
			return fmt.Errorf("there are %d handlers, after one session there were %d", now, settled)
		}
		return nil
	})
}

// handlers counts what runs for the handlers of all informers of this process.
func handlers(t *testing.T) int {
	t.Helper()
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		t.Fatal(err)
	}
	return bytes.Count(stacks.Bytes(), []byte("processorListener).run("))
}
