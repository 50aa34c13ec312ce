// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
)

// stateFile makes a directory the lab's: it is written before anything is
// started, so that whatever a crash leaves can be found and removed.
const stateFile = "lab.json"

type state struct {
	Options  Options
	Binaries binaries.Set
}

// read gives the state of the lab in dir; without one the error is fs.ErrNotExist.
func read(dir string) (*state, error) {
	path := filepath.Join(dir, stateFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &state{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	s.Options.Dir = dir
	return s, nil
}

func (s *state) write() error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	path := s.Options.file(stateFile)
	if err := os.WriteFile(path+".tmp", b, 0o644); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return os.Rename(path+".tmp", path)
}

// claim makes dir a lab's directory. One with other things in it is refused, as
// Down would have to tell them from the lab's.
func (s *state) claim() error {
	if err := os.MkdirAll(s.Options.Dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.Options.Dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("use directory %s: it has other files in it, such as %s; give an empty one", s.Options.Dir, entries[0].Name())
	}
	return s.write()
}

// release removes the lab's files, and the directory if that leaves it empty.
func (s *state) release() error {
	var errs []error
	for _, name := range s.Options.files() {
		errs = append(errs, os.RemoveAll(s.Options.file(name)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove files of the lab: %w", err)
	}
	if entries, err := os.ReadDir(s.Options.Dir); err == nil && len(entries) == 0 {
		if err := os.Remove(s.Options.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove files of the lab: %w", err)
		}
	}
	return nil
}
