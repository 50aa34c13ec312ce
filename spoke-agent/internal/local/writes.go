// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// catchUp is how long a cache may take to show a write; usual are a few milliseconds. An API server that was restored from a backup has
// forgotten the write, and its cache will never show it.
const catchUp = 10 * time.Second

// Writes remembers which of this process's writes its cache has not shown yet. What is decided from an older object is right for the node, but
// "the status says so already" may be wrong, and nobody would wake the controller again: it has to look once more. Waiting for the cache
// instead would keep the data path waiting for an API server. The zero Writes is empty.
type Writes struct {
	mu   sync.Mutex
	last map[types.UID]write
}

type write struct {
	version string
	at      time.Time
}

// Wrote notes that o is what the API server answered to a write.
func (w *Writes) Wrote(o client.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.last = map[types.UID]write{}
	}
	maps.DeleteFunc(w.last, func(_ types.UID, last write) bool { return time.Since(last.at) > catchUp }) // of objects that are gone
	w.last[o.GetUID()] = write{o.GetResourceVersion(), time.Now()}
}

// Unseen is true when one of objects, as a cache shows it, is older than this process's last write of it.
func Unseen[O any, P interface {
	*O
	client.Object
}](w *Writes, objects []O) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	unseen := false
	for i := range objects {
		o := P(&objects[i])
		last, ok := w.last[o.GetUID()]
		if !ok {
			continue
		}
		order, err := resourceversion.CompareResourceVersion(o.GetResourceVersion(), last.version)
		if err != nil || order >= 0 || time.Since(last.at) > catchUp {
			delete(w.last, o.GetUID())
			continue
		}
		unseen = true
	}
	return unseen
}
