// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package informer has informers that look again within seconds, however often and however long a server was away.
//
// client-go's wait up to a minute after an outage, and up to a minute after several broken watches, and a shared informer
// can't be told otherwise (kubernetes issue 136943). Its Reflector can. So here a Reflector of our own follows the server,
// and what it sees is fed to a shared informer as one list and one watch that never ends.
package informer

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// calm is how long nothing may fail before the first wait is short again.
const calm = 30 * time.Second

// Backoff is how long to wait before looking again: half a second at first, and never more than six.
func Backoff() *wait.Backoff {
	return &wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 10, Cap: 4 * time.Second}
}

// New makes an informer. It is for cache.Options of controller-runtime.
func New(source cache.ListerWatcher, example runtime.Object, resync time.Duration, indexers cache.Indexers) cache.SharedIndexInformer {
	return newWith(Backoff(), source, example, resync, indexers)
}

func newWith(backoff *wait.Backoff, source cache.ListerWatcher, example runtime.Object, resync time.Duration, indexers cache.Indexers) *informer {
	f := &feed{example: example, ready: make(chan struct{}), events: make(chan watch.Event)}
	fed := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) { return f.list(ctx) },
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
			return watch.NewProxyWatcher(f.events), nil
		},
	}
	return &informer{
		SharedIndexInformer: cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(fed, f), example, resync, indexers),
		reflector:           cache.NewReflectorWithOptions(source, example, f, cache.ReflectorOptions{Backoff: backoff}),
		backoff:             backoff,
		failed:              cache.DefaultWatchErrorHandler,
		feed:                f,
	}
}

type informer struct {
	cache.SharedIndexInformer
	reflector *cache.Reflector
	backoff   *wait.Backoff
	failed    cache.WatchErrorHandlerWithContext
	feed      *feed
}

// Run implements cache.SharedInformer.
func (i *informer) Run(stop <-chan struct{}) { i.RunWithContext(wait.ContextForChannel(stop)) }

// RunWithContext implements cache.SharedInformer.
func (i *informer) RunWithContext(ctx context.Context) {
	i.feed.done = ctx.Done()
	var reflecting sync.WaitGroup
	reflecting.Go(func() { i.reflect(ctx) })
	i.SharedIndexInformer.RunWithContext(ctx)
	reflecting.Wait()
}

// reflect is what Reflector.RunWithContext does, with the handler of this informer.
func (i *informer) reflect(ctx context.Context) {
	delay := i.backoff.DelayWithReset(clock.RealClock{}, calm)
	_ = delay.Until(ctx, true, true, func(ctx context.Context) (bool, error) { // its only error is that ctx has ended
		if err := i.reflector.ListAndWatchWithContext(ctx); err != nil {
			i.failed(ctx, i.reflector, err)
		}
		return false, nil
	})
}

// SetTransform implements cache.SharedInformer. What is fed is transformed already, and nobody changes it any more.
func (i *informer) SetTransform(transform cache.TransformFunc) error {
	i.feed.transform = transform
	return nil
}

// SetWatchErrorHandler implements cache.SharedInformer.
func (i *informer) SetWatchErrorHandler(handler cache.WatchErrorHandler) error {
	return i.SetWatchErrorHandlerWithContext(func(_ context.Context, r *cache.Reflector, err error) { handler(r, err) })
}

// SetWatchErrorHandlerWithContext implements cache.SharedInformer: the informer's own list and watch never fail.
func (i *informer) SetWatchErrorHandlerWithContext(handler cache.WatchErrorHandlerWithContext) error {
	i.failed = handler
	return nil
}
