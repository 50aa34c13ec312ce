// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"context"
	"errors"

	"github.com/go-logr/logr"
)

// errUnfinished is what every call says until the client is written.
var errUnfinished = errors.New("not written yet")

// Northbound is a connection to OVN_Northbound.
type Northbound struct {
	changed chan struct{}
}

// DialNorthbound connects to endpoint: unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT, or several separated by commas.
func DialNorthbound(ctx context.Context, endpoint string, log logr.Logger) (*Northbound, error) {
	return nil, errUnfinished
}

// Set makes the rows of the desired owners what desired says, in one transaction or none.
func (n *Northbound) Set(ctx context.Context, desired Desired) (Report, error) {
	return Report{}, errUnfinished
}

// Changed receives when a row of ours changed, or the client was rebuilt. It is coalesced: list again, then act.
func (n *Northbound) Changed() <-chan struct{} { return n.changed }

// Close ends the connection.
func (n *Northbound) Close() {}
