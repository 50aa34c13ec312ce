// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package terminal writes for eyes: tables, marks and colours, and questions. Colours are for terminals only.
package terminal

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"
)

// ErrNotWell is the error of a command that worked and found something that is not well: exit code 2, and nothing more to say.
var ErrNotWell = errors.New("something is not well")

// Level is how well something is.
type Level string

const (
	// Well is as it should be.
	Well Level = "Well"
	// Waiting is not there yet, or works with a restriction: it may pass by itself, or wait for a person.
	Waiting Level = "Waiting"
	// Failed is not as it should be, and somebody has to do something.
	Failed Level = "Failed"
)

// Worse is the worse one of two levels.
func Worse(a, b Level) Level {
	order := map[Level]int{Well: 1, Waiting: 2, Failed: 3}
	if order[b] > order[a] {
		return b
	}
	return a
}

// Mark of a level, for the begin of a line.
func (l Level) Mark() string {
	return map[Level]string{Well: "✓", Waiting: "!", Failed: "✗"}[l]
}

// Writer writes text, in colours when it may.
type Writer struct {
	out    io.Writer
	colour bool
	err    error
}

// NewWriter writes to out: in colours when that is a terminal and nobody asked for none (https://no-color.org).
func NewWriter(out io.Writer) *Writer { return NewWriterAs(out, out) }

// NewWriterAs writes to out what another end will show.
func NewWriterAs(out, end io.Writer) *Writer {
	return &Writer{out: out, colour: IsTerminal(end) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// NewColourWriter writes in colours, terminal or not.
func NewColourWriter(out io.Writer) *Writer { return &Writer{out: out, colour: true} }

// IsTerminal is true when a person sits at the other end.
func IsTerminal(end any) bool {
	file, ok := end.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Printf writes formatted text. The first error is kept for Err.
func (w *Writer) Printf(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.out, format, args...)
	}
}

// Err is the first error of writing.
func (w *Writer) Err() error { return w.err }

// Escape sequences (ECMA-48, SGR).
const (
	reset  = "\x1b[0m"
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
)

// Paint gives text the colour of a level.
func (w *Writer) Paint(level Level, text string) string {
	if !w.colour || text == "" {
		return text
	}
	return map[Level]string{Well: green, Waiting: yellow, Failed: red}[level] + text + reset
}

// Title writes a heading.
func (w *Writer) Title(text string) {
	if w.colour {
		text = bold + text + reset
	}
	w.Printf("%s\n", text)
}

// Cell is one cell of a table. A Level of "" has no colour.
type Cell struct {
	Text  string
	Level Level
}

// Text makes cells without colour.
func Text(texts ...string) []Cell {
	cells := make([]Cell, len(texts))
	for i, text := range texts {
		cells[i] = Cell{Text: text}
	}
	return cells
}

// Table writes rows under a head, columns apart by three spaces as kubectl's. What is empty becomes "-"; nothing is written without rows.
func (w *Writer) Table(head []string, rows [][]Cell) {
	if len(rows) == 0 {
		return
	}
	widths := make([]int, len(head))
	all := append([][]Cell{Text(head...)}, rows...)
	for _, row := range all {
		for i := range row {
			if row[i].Text == "" {
				row[i].Text = "-"
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].Text))
		}
	}
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			text := cell.Text
			if cell.Level != "" {
				text = w.Paint(cell.Level, text)
			}
			line.WriteString(text)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell.Text)+3))
			}
		}
		w.Printf("%s\n", strings.TrimRight(line.String(), " "))
	}
}

// Encode writes value as "json" or "yaml".
func Encode(out io.Writer, format string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	data = append(data, '\n')
	if format == "yaml" {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return fmt.Errorf("encode: %w", err)
		}
	}
	_, err = out.Write(data)
	return err
}

// CheckFormat refuses values of --output that Encode does not know. Empty is a table.
func CheckFormat(format string) error {
	switch format {
	case "", "json", "yaml":
		return nil
	}
	return fmt.Errorf("--output %q is not known: use json or yaml, or leave it away for a table", format)
}

// Ask asks a person and gives the answer's line. Without a person it is an error that names the cure.
func Ask(streams genericiooptions.IOStreams, question, cure string) (string, error) {
	if !IsTerminal(streams.In) {
		return "", fmt.Errorf("nobody is there to confirm: standard input is no terminal: %s", cure)
	}
	return Answer(streams, question)
}

// Answer asks and gives the answer's line, whoever sits there.
func Answer(streams genericiooptions.IOStreams, question string) (string, error) {
	fmt.Fprint(streams.ErrOut, question)
	line, err := bufio.NewReader(streams.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read answer: %w", err)
	}
	return strings.TrimSpace(line), nil
}
