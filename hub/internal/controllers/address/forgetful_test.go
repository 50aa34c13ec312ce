// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package address

import (
	"context"
	"errors"
	"sync/atomic"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"
)

var (
	errLost = errors.New("the answer was lost")
	asked   atomic.Int64
)

// forgetful makes a client that loses one answer in four after the write was done.
func forgetful(c *rest.Config, o client.Options) (client.Client, error) {
	direct, err := client.NewWithWatch(c, o)
	if err != nil {
		return nil, err
	}
	lost := func(err error) error {
		if err == nil && asked.Add(1)%4 == 0 {
			return errLost
		}
		return err
	}
	return interceptor.NewClient(direct, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return lost(c.Create(ctx, o, opts...))
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return lost(c.Delete(ctx, o, opts...))
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return lost(c.Patch(ctx, o, p, opts...))
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return lost(c.SubResource(sub).Patch(ctx, o, p, opts...))
		},
	}), nil
}

// unnamed lets one process have two controllers of one name.
func unnamed() config.Controller { return config.Controller{SkipNameValidation: new(true)} }
