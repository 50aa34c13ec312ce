// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package federation decides everything that Tombolo decides, and does nothing.
//
//	Snapshot ──▶ admit ──▶ allocate ──▶ route ──▶ report ──▶ Result
//
// It is pure: no client, no context, no clock, no goroutine, no logger. The same
// Snapshot gives the same Result, in whatever order its objects are listed.
package federation
