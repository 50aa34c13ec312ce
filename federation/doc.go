// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package federation decides everything that Tombolo decides, and does nothing.
//
//	Snapshot ──▶ admit ──▶ allocate ──▶ route ──▶ report ──▶ Result
//
// It is pure: no client, no context, no clock, no goroutine, no logger. The same
// Snapshot gives the same Result, in whatever order its objects are listed.
// Planner.Plan is the table of contents: each pass is one line there.
//
// Who wins when two objects can't both be: what the hub had accepted before goes
// before what is new (the statuses in the Snapshot say so), then the older object,
// then the lower key. So nothing that works is ever displaced by what is written
// later. What can't be is a condition that names field, value and cure, never an
// error; all else of the Result is as if the object were not there.
//
// A Result is handed on in this order: ledgers first (Pools), because a value that
// a cluster was told and no ledger has may be handed out twice; then Routers,
// Gateways and Deletions; then statuses; Released last.
package federation
