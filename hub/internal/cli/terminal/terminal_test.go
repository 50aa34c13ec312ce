// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"bytes"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

func TestTable(t *testing.T) {
	rows := func() [][]Cell {
		return [][]Cell{{{Text: "é"}, {Text: "✓ Ready", Level: Well}, {}}, Text("long", "", "end")}
	}
	tests := map[string]struct {
		reason string
		writer func(*bytes.Buffer) *Writer
		want   string
	}{
		"plain":   {"no terminal: no colours", func(b *bytes.Buffer) *Writer { return NewWriter(b) }, "A      B         C\né      ✓ Ready   -\nlong   -         end\n"},
		"colours": {"a colour takes no room", func(b *bytes.Buffer) *Writer { return NewColourWriter(b) }, "A      B         C\né      \x1b[32m✓ Ready\x1b[0m   -\nlong   -         end\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var text bytes.Buffer
			w := test.writer(&text)
			w.Table([]string{"A", "B", "C"}, rows())
			w.Table([]string{"NOTHING"}, nil)
			if got := text.String(); got != test.want || w.Err() != nil {
				t.Errorf("%s: %v\n%q, want\n%q", test.reason, w.Err(), got, test.want)
			}
		})
	}
}

func TestAskNobody(t *testing.T) {
	streams := genericiooptions.IOStreams{In: strings.NewReader("y\n"), ErrOut: &bytes.Buffer{}}
	if _, err := Ask(streams, "Sure?", "say --yes"); err == nil || !strings.HasSuffix(err.Error(), "say --yes") {
		t.Errorf("a pipe is no person: %v", err)
	}
}

func TestWorse(t *testing.T) {
	for _, pair := range [][2]Level{{Well, Waiting}, {Waiting, Failed}, {Well, Failed}, {"Unknown", Well}} {
		if Worse(pair[0], pair[1]) != pair[1] || Worse(pair[1], pair[0]) != pair[1] {
			t.Errorf("%s is worse than %s, whichever comes first", pair[1], pair[0])
		}
	}
}
