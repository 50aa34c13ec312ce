// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package result writes what a benchmark, or a long test, has measured.
package result

import (
	"encoding/json"
	"os"
)

// Write writes a report as JSON to a file, or to standard output when its name is empty.
func Write(report any, file string) error {
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if file == "" {
		_, err = os.Stdout.Write(text)
		return err
	}
	return os.WriteFile(file, text, 0o644)
}
