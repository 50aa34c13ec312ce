// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package docs_test holds the documents against the tree.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

var (
	quoted  = regexp.MustCompile("`([^`]+)`")
	declare = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
)

// TestSafetyNamesTests: each promise names tests, and each of them exists: a function, with its subtest as a word in the same file, or a story.
func TestSafetyNamesTests(t *testing.T) {
	page, err := os.ReadFile("safety.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := declared(t)
	rows := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 4 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[2]) == "held by" || !strings.Contains(cells[2], "`") || danger(cells[1]) {
			continue
		}
		rows++
		for _, name := range quoted.FindAllStringSubmatch(cells[2], -1) {
			if !exists(name[1], tests) {
				t.Errorf("%s is named for %q and does not exist", name[1], strings.TrimSpace(cells[1]))
			}
		}
	}
	if rows < 20 {
		t.Errorf("%d promises were found: has the table another form?", rows)
	}
	if exists("TestNobodyWroteThis", tests) || exists("TestDecide/NobodyWroteThis", tests) || exists("no-such-story", tests) {
		t.Error("tests are found that do not exist")
	}
}

// danger tells the rows of the table of dangers, which name no tests: they begin with a small letter.
func danger(cell string) bool {
	first, _ := utf8.DecodeRuneInString(strings.TrimSpace(cell))
	return unicode.IsLower(first)
}

// exists looks for a test, Name or Name/Subtest, or for a story.
func exists(name string, tests map[string]string) bool {
	test, sub, hasSub := strings.Cut(name, "/")
	if !strings.HasPrefix(name, "Test") {
		_, err := os.Stat(filepath.Join("..", "federation", "testdata", name+".txtar"))
		return err == nil
	}
	source, found := tests[test]
	return found && (!hasSub || strings.Contains(source, `"`+sub+`"`))
}

// declared are all tests of the tree, with the source that they are in.
func declared(t *testing.T) map[string]string {
	t.Helper()
	tests := map[string]string{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, name := range declare.FindAllStringSubmatch(string(source), -1) {
			tests[name[1]] += string(source)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
