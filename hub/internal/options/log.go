// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package options

import (
	"io"
	"log/slog"

	"github.com/go-logr/logr"
)

var levels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}

// Logger writes what the options let through.
func (o Options) Logger(w io.Writer) logr.Logger {
	settings := &slog.HandlerOptions{Level: levels[o.LogLevel], ReplaceAttr: plainLevel}
	if o.LogFormat == "json" {
		return logr.FromSlogHandler(slog.NewJSONHandler(w, settings))
	}
	return logr.FromSlogHandler(slog.NewTextHandler(w, settings))
}

// plainLevel calls every verbosity of logr DEBUG: slog would write DEBUG+3 and the like.
func plainLevel(_ []string, attr slog.Attr) slog.Attr {
	if level, ok := attr.Value.Any().(slog.Level); ok && attr.Key == slog.LevelKey && level < slog.LevelInfo {
		return slog.Any(slog.LevelKey, slog.LevelDebug)
	}
	return attr
}
