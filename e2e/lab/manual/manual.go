// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package manual reads a manual for the commands in it, so that who follows the manual and who tests it run the same.
package manual

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
)

// Block is one code block of a manual that is meant to be run. Its fence says so:
//
//	```sh WHERE WHAT
//
// WHERE names the cluster whose kubeconfig is in use, WHAT the occasion. A page shows the block as shell either way.
type Block struct {
	Where, What string
	// Commands for a POSIX shell.
	Commands string
}

const fence = "```"

// Blocks are those of a page of Markdown, in their order. Other code blocks are not among them.
func Blocks(page []byte) ([]Block, error) {
	var blocks []Block
	var block *Block
	open, line := false, 0
	for lines := bufio.NewScanner(bytes.NewReader(page)); lines.Scan(); {
		line++
		text := lines.Text()
		info, isFence := strings.CutPrefix(strings.TrimSpace(text), fence)
		switch {
		case isFence && open:
			if block != nil {
				blocks = append(blocks, *block)
			}
			open, block = false, nil
		case isFence:
			open = true
			words := strings.Fields(info)
			if len(words) < 2 || words[0] != "sh" {
				continue
			}
			if len(words) != 3 {
				return nil, fmt.Errorf("line %d: fence %q: give sh, the cluster and the occasion, or sh alone", line, text)
			}
			block = &Block{Where: words[1], What: words[2]}
		case block != nil:
			block.Commands += text + "\n"
		}
	}
	if open {
		return nil, fmt.Errorf("line %d: the last code block has no end", line)
	}
	return blocks, nil
}
