// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// TestProgramPut: whatever is at the target, in the end it is the source.
func TestProgramPut(t *testing.T) {
	large := bytes.Repeat([]byte("tombolo "), chunk/4) // two chunks
	changed := bytes.Clone(large)
	changed[len(changed)-1]++
	cases := map[string]struct {
		reason string
		there  []byte // nil: no file
		mode   os.FileMode
		keep   bool
	}{
		"Nothing":     {reason: "a first installation"},
		"Same":        {reason: "what is there is left there", there: large, mode: 0o755, keep: true},
		"Mode":        {reason: "nobody could run it", there: large, mode: 0o644},
		"LastByte":    {reason: "all of it is looked at", there: changed, mode: 0o755},
		"Shorter":     {reason: "an interrupted copy of somebody else", there: large[:chunk], mode: 0o755},
		"ShorterByte": {reason: "the same, in the middle of a chunk", there: large[:len(large)-1], mode: 0o755},
		"Longer":      {reason: "a larger version", there: append(bytes.Clone(large), 'x'), mode: 0o755},
		"Empty":       {reason: "a full disk leaves this", there: []byte{}, mode: 0o755},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			source, target := filepath.Join(dir, "source"), filepath.Join(dir, "target")
			writeFile(t, source, large, 0o600)
			var before os.FileInfo
			if c.there != nil {
				writeFile(t, target, c.there, c.mode)
				before = stat(t, target)
			}
			var p program
			putFile(t, &p, source)
			after := stat(t, target)
			if data, err := os.ReadFile(target); err != nil || !bytes.Equal(data, large) || after.Mode().Perm() != 0o755 {
				t.Errorf("%s: %d bytes, mode %v, %v", c.reason, len(data), after.Mode(), err)
			}
			if kept := before != nil && os.SameFile(before, after); kept != c.keep {
				t.Errorf("%s: kept %t, want %t", c.reason, kept, c.keep)
			}
		})
	}
}

// TestProgramUntouched: what is known to be the same is not read again, until one of the files has another time.
func TestProgramUntouched(t *testing.T) {
	dir := t.TempDir()
	source, target := filepath.Join(dir, "source"), filepath.Join(dir, "target")
	old := time.Now().Add(-time.Hour)
	for _, path := range []string{source, target} {
		writeFile(t, path, []byte("one"), 0o755)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	var p program
	putFile(t, &p, source)
	writeFile(t, target, []byte("two"), 0o755)
	if err := os.Chtimes(target, old, old); err != nil {
		t.Fatal(err)
	}
	putFile(t, &p, source)
	if data, _ := os.ReadFile(target); string(data) != "two" {
		t.Errorf("files with the times that they had were read: target is %q", data)
	}
	if err := os.Chtimes(target, old, old.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	putFile(t, &p, source)
	if data, _ := os.ReadFile(target); string(data) != "one" {
		t.Errorf("after a change the target is %q", data)
	}
}

// TestProgramMemory: a node's agent would be twice as large, and for the program's length at each look.
func TestProgramMemory(t *testing.T) {
	const size = 16 << 20
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	writeFile(t, source, make([]byte, size), 0o755)
	var p program
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	putFile(t, &p, source) // writes
	putFile(t, &p, source) // compares
	runtime.ReadMemStats(&after)
	if held := after.TotalAlloc - before.TotalAlloc; held > size/8 {
		t.Errorf("to install %d bytes took %d of memory", size, held)
	}
}

func putFile(t *testing.T, p *program, source string) {
	t.Helper()
	from, err := os.Open(source)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if err := p.put(from, filepath.Dir(source), "target", 0o755); err != nil {
		t.Fatal(err)
	}
}

// writeFile writes into the file that is there, if there is one.
func writeFile(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
