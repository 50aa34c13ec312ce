// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// quiet is the log for addon-framework. Several controllers of the framework and of OCM write the same objects, one is
// refused now and then, and tries again: no error for anybody who reads the log. Nor is it news that a controller starts.
func quiet(log logr.Logger) logr.Logger {
	return log.WithSink(quietSink{log.GetSink()})
}

type quietSink struct{ logr.LogSink }

func (s quietSink) Enabled(level int) bool { return s.LogSink.Enabled(level + 1) }

func (s quietSink) Info(level int, message string, values ...any) {
	s.LogSink.Info(level+1, message, values...)
}

func (s quietSink) Error(err error, message string, values ...any) {
	if !apierrors.IsConflict(err) {
		s.LogSink.Error(err, message, values...)
		return
	}
	if s.LogSink.Enabled(1) {
		s.LogSink.Info(1, message+", trying again", append(values, "err", err)...)
	}
}

func (s quietSink) WithValues(values ...any) logr.LogSink {
	return quietSink{s.LogSink.WithValues(values...)}
}
func (s quietSink) WithName(name string) logr.LogSink { return quietSink{s.LogSink.WithName(name)} }
